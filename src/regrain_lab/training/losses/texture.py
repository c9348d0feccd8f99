"""Perception on the features of VGG16: what a texture is, and where it is.

    LPIPS        sum_l mean_hw w_l . (f_l(a) / |f_l(a)| - f_l(b) / |f_l(b)|)^2                (Zhang et al. 2018, eq. 1)
    Wasserstein  sum_l mean ((mu(a) - mu(b))^2 + (s(a) - s(b))^2) / mean f_l(b)^2             (Ballé et al. 2025)

mu and s are means and standard deviations of the features f_l over squares of about 16 pixels of the picture. The
second is small for another sample of the same texture, which the first and a squared error are not: it gives noise a
purpose. So do a third, the texture term of DISTS (Ding et al. 2020) with equal weights, and a fourth, which asks no
network:

    means        mean_lc (m_lc(a) - m_lc(b))^2 / (m_lc(a)^2 + m_lc(b)^2)             m a channel's mean over the picture
    bands        mean (ln (s_b(a)^2 + e) - ln (s_b(b)^2 + e))^2          b the bands of an 8 x 8 DCT, e = (3 levels)^2

It hears the finest grain, to which VGG16's later stages are deaf. The first three come from one pass; the first stage
of VGG16, at full size, costs most and says least, and is left out of them.
Where they are in a loss, DISTS and distances on VGG16 are judges no more.
"""

import math
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn

from regrain_lab.metrics.backbones import VGG_CHANNELS
from regrain_lab.metrics.lpips import Lpips, unit

__all__ = ["STAGES", "BandDistance", "TextureDistances"]

STAGES: Final = VGG_CHANNELS[1:]
"""Channels of the stages but the first."""
_POOLS: Final = (8, 4, 2, 2)
"""Sides of the squares, in feature pixels of each stage."""
_EPS: Final = 1e-6
_FLOOR: Final = (3 * 2 / 255) ** 2


class TextureDistances(nn.Module):
    """The distances on features as a frozen module. Build it with `load`."""

    def __init__(self, lpips: Lpips) -> None:
        """Take LPIPS of VGG16."""
        super().__init__()
        self.lpips = lpips

    @classmethod
    def load(cls, vgg: Path, heads: Path) -> Self:
        """Read VGG16's convolutions and LPIPS' heads for it, safetensors files. Raises ModelError."""
        return cls(Lpips.load(heads, vgg)).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def forward(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """LPIPS, Wasserstein and the distance of means, (B,) each; (B, 3, H, W) in [-1, 1], sides multiples of 32."""
        return self.distances(*self.features_of_pair(x_hat, x))

    def features_of_pair(self, x_hat: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The features of both, stage by stage, those of x without gradients."""
        with torch.no_grad():
            originals = self.lpips.stages(x)[1:]
        return self.lpips.stages(x_hat)[1:], originals

    def distances(self, decoded: list[Tensor], originals: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The distances as `forward` gives them, from features."""
        lpips = self.lpips.distance([unit(stage) for stage in decoded], [unit(stage) for stage in originals], first=1)
        wasserstein = torch.zeros_like(lpips)
        for a, b, side in zip(decoded, originals, _POOLS, strict=True):
            (mean_a, std_a), (mean_b, std_b) = _moments(a.float(), side), _moments(b.float(), side)
            distance = (mean_a - mean_b).square() + (std_a - std_b).square()
            wasserstein = wasserstein + distance.mean((1, 2, 3)) / (b.float().square().mean((1, 2, 3)) + _EPS)
        means = torch.cat([_relative(a, b) for a, b in zip(decoded, originals, strict=True)], 1).mean(1)
        return lpips, wasserstein, means


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
        return self.distance(self.energies(x_hat), self.energies(x))

    @staticmethod
    def distance(decoded: Tensor, originals: Tensor) -> Tensor:
        """The same of energies."""
        return ((decoded + _FLOOR).log() - (originals + _FLOOR).log()).square().mean((1, 2, 3))

    def energies(self, x: Tensor) -> Tensor:
        """Energies (B, 3 x 63, h, w) of squares of about 32 pixels, which overlap by half."""
        with torch.autocast(x.device.type, enabled=False):
            coefficients = nn.functional.conv2d(x.float().reshape(-1, 1, *x.shape[2:]), self.basis, stride=4)
            energy = nn.functional.avg_pool2d(coefficients.square(), 7, 4)
            return energy.reshape(len(x), -1, *energy.shape[2:])


def _moments(features: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means and standard deviations over squares of `side`, which overlap by half."""
    pooled = nn.functional.avg_pool2d(torch.cat([features, features.square()], 1), side, max(1, side // 2))
    mean, square = pooled.chunk(2, 1)
    return mean, ((square - mean.square()).clamp(min=0) + 1e-4).sqrt()


def _relative(a: Tensor, b: Tensor) -> Tensor:
    """How far the means of the channels are apart, for their size: (B, C)."""
    a, b = a.float().mean((2, 3)), b.float().mean((2, 3))
    return (a - b).square() / (a.square() + b.square() + _EPS)
