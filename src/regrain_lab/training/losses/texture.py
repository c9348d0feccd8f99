"""Perception on the features of VGG16: what a texture is, and where it is.

    LPIPS        sum_l mean_hw w_l . (f_l(a) / |f_l(a)| - f_l(b) / |f_l(b)|)^2                (Zhang et al. 2018, eq. 1)
    Wasserstein  sum_l mean ((mu(a) - mu(b))^2 + (s(a) - s(b))^2) / mean f_l(b)^2             (Ballé et al. 2025)

mu and s are means and standard deviations of the features f_l over squares of about 16 pixels of the picture. The
second is small for another sample of the same texture, which the first and a squared error are not: it gives noise a
purpose. So does a third, which asks no network:

    bands        mean (ln (s_b(a)^2 + e) - ln (s_b(b)^2 + e))^2          b the bands of an 8 x 8 DCT, e = (3 levels)^2

It hears the finest grain, to which VGG16's later stages are deaf. The first two come from one pass; the first stage of
VGG16, at full size, costs most and says least, and is left out of both.
Where they are in a loss, DISTS and distances on VGG16 are judges no more.
"""

import math
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn

from regrain_lab.metrics.backbones import VGG_CHANNELS
from regrain_lab.metrics.lpips import Lpips, unit

__all__ = ["STAGES", "BandDistance", "StrongEdges", "TextureDistances"]

STAGES: Final = VGG_CHANNELS[1:]
"""Channels of the stages but the first."""
_POOLS: Final = (8, 4, 2, 2)
"""Sides of the squares, in feature pixels of each stage."""
_EPS: Final = 1e-6
_FLOOR: Final = (3 * 2 / 255) ** 2


class TextureDistances(nn.Module):
    """Both distances as a frozen module. Build it with `load`."""

    def __init__(self, lpips: Lpips) -> None:
        """Take LPIPS of VGG16."""
        super().__init__()
        self.lpips = lpips

    @classmethod
    def load(cls, vgg: Path, heads: Path) -> Self:
        """Read VGG16's convolutions and LPIPS' heads for it, safetensors files. Raises ModelError."""
        return cls(Lpips.load(heads, vgg)).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def forward(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """LPIPS and Wasserstein distance, (B,) each, of (B, 3, H, W) in [-1, 1], sides multiples of 32."""
        return self.distances(*self.features_of_pair(x_hat, x))

    def features_of_pair(self, x_hat: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The features of both, stage by stage, those of x without gradients."""
        with torch.no_grad():
            originals = self.lpips.stages(x)[1:]
        return self.lpips.stages(x_hat)[1:], originals

    def distances(self, decoded: list[Tensor], originals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Both distances as `forward` gives them, from features."""
        lpips = self.lpips.distance([unit(stage) for stage in decoded], [unit(stage) for stage in originals], first=1)
        wasserstein = torch.zeros_like(lpips)
        for a, b, side in zip(decoded, originals, _POOLS, strict=True):
            (mean_a, std_a), (mean_b, std_b) = _moments(a.float(), side), _moments(b.float(), side)
            distance = (mean_a - mean_b).square() + (std_a - std_b).square()
            wasserstein = wasserstein + distance.mean((1, 2, 3)) / (b.float().square().mean((1, 2, 3)) + _EPS)
        return lpips, wasserstein


class BandDistance(nn.Module):
    """How far local energies of an 8 x 8 DCT's bands are from the original's, by colour and the mean left out."""

    def __init__(self) -> None:
        """Make the basis."""
        super().__init__()
        place, frequency = torch.arange(8) + 0.5, torch.arange(8)[:, None]
        basis = torch.cos(math.pi / 8 * frequency * place) * torch.where(frequency == 0, 0.125, 0.25).sqrt()
        self.register_buffer("basis", torch.einsum("ui,vj->uvij", basis, basis).reshape(64, 1, 8, 8)[1:].clone())
        self.basis: Tensor

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """(B,) of (B, 3, H, W) in [-1, 1], sides of 40 or more."""
        return (self._logarithms(x_hat) - self._logarithms(x)).square().mean((1, 2, 3))

    def _logarithms(self, x: Tensor) -> Tensor:
        """Logarithms of the energies of squares of about 32 pixels, which overlap by half."""
        with torch.autocast(x.device.type, enabled=False):
            coefficients = nn.functional.conv2d(x.float().reshape(-1, 1, *x.shape[2:]), self.basis, stride=4)
            energy = nn.functional.avg_pool2d(coefficients.square(), 7, 4)
            return (energy + _FLOOR).log().reshape(len(x), -1, *energy.shape[2:])


class StrongEdges(nn.Module):
    """Where the structure tensor of the luma, over squares about a pixel, says that there is one (`metrics.spread`)."""

    SIDE, SLOPE, COHERENCE = 15, 16.0, 0.8

    def __init__(self) -> None:
        """Make the weights of luma, in levels."""
        super().__init__()
        self.register_buffer("weights", 127.5 * torch.tensor([0.299, 0.587, 0.114])[:, None, None])
        self.weights: Tensor

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, H, W) of 0 and 1."""
        luma = (x.float() * self.weights).sum(1, keepdim=True)
        down, across = torch.gradient(luma, dim=(2, 3))
        products = torch.cat([across.square(), down.square(), across * down], 1)
        means = nn.functional.avg_pool2d(products, self.SIDE, 1, self.SIDE // 2, count_include_pad=False)
        a, b, c = means[:, :1], means[:, 1:2], means[:, 2:]
        edges: Tensor = (torch.hypot(a - b, 2 * c) >= self.COHERENCE * (a + b)) & (a + b >= self.SLOPE**2)
        return edges.float()


def _moments(features: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means and standard deviations over squares of `side`, which overlap by half."""
    pooled = nn.functional.avg_pool2d(torch.cat([features, features.square()], 1), side, max(1, side // 2))
    mean, square = pooled.chunk(2, 1)
    return mean, ((square - mean.square()).clamp(min=0) + 1e-4).sqrt()
