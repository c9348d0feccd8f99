"""Perception on the features of VGG16: what a texture is, and where it is.

    LPIPS        sum_l mean_hw w_l . (f_l(a) / |f_l(a)| - f_l(b) / |f_l(b)|)^2                (Zhang et al. 2018, eq. 1)
    Wasserstein  sum_l mean ((mu(a) - mu(b))^2 + (s(a) - s(b))^2) / mean f_l(b)^2             (Ballé et al. 2025)

mu and s are means and standard deviations of the features f_l over squares of about 16 pixels of the picture. The
second is small for another sample of the same texture, which the first and a squared error are not: it gives noise a
purpose. Both come from one pass; the first stage, at full size, costs most and says least, and is left out of both.
Where they are in a loss, DISTS and distances on VGG16 are judges no more.
"""

from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn

from regrain.errors import ModelError
from regrain_lab.metrics.backbones import VGG_CHANNELS, vgg16
from regrain_lab.metrics.pretrained import read

__all__ = ["STAGES", "TextureDistances"]

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_TAPS: Final = (8, 15, 22, 29)
"""Index in `vgg16` of the last ReLU of each stage but the first."""
STAGES: Final = VGG_CHANNELS[1:]
"""Channels of these stages."""
_POOLS: Final = (8, 4, 2, 2)
"""Sides of the squares, in feature pixels of each stage."""
_EPS: Final = 1e-6


class TextureDistances(nn.Module):
    """Both distances as a frozen module. Build it with `load`."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        """Without weights."""
        super().__init__()
        self.features = vgg16()
        for index, channels in enumerate(VGG_CHANNELS):
            self.register_buffer(f"lin{index}", torch.empty(channels))

    @classmethod
    def load(cls, vgg: Path, heads: Path) -> Self:
        """Read VGG16's convolutions and LPIPS' heads for it, safetensors files. Raises ModelError."""
        model, tensors = cls(), read(vgg)
        try:
            model.features.load_state_dict({n.removeprefix("features."): t.float() for n, t in tensors.items()})
            for name, tensor in read(heads).items():
                model.get_buffer(name.partition(".")[0]).copy_(tensor.flatten())
        except (AttributeError, RuntimeError) as error:
            raise ModelError(f"{vgg}, {heads}: not VGG16 with LPIPS' heads: {str(error).splitlines()[0]}") from None
        model.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        model.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def forward(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """LPIPS and Wasserstein distance, (B,) each, of (B, 3, H, W) in [-1, 1], sides multiples of 32."""
        return self.distances(*self.features_of_pair(x_hat, x))

    def features_of_pair(self, x_hat: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The features of both, stage by stage, those of x without gradients."""
        with torch.no_grad():
            originals = self._stages(x)
        return self._stages(x_hat), originals

    def distances(self, decoded: list[Tensor], originals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Both distances as `forward` gives them, from features."""
        lpips = wasserstein = decoded[0].new_zeros(len(decoded[0]), dtype=torch.float32)
        for index, (a, b) in enumerate(zip(decoded, originals, strict=True)):
            a, b = a.float(), b.float()
            difference = (_unit(a) - _unit(b)).square().mean((2, 3))
            lpips = lpips + difference @ self.get_buffer(f"lin{index + 1}")
            (mean_a, std_a), (mean_b, std_b) = _moments(a, _POOLS[index]), _moments(b, _POOLS[index])
            distance = (mean_a - mean_b).square() + (std_a - std_b).square()
            wasserstein = wasserstein + distance.mean((1, 2, 3)) / (b.square().mean((1, 2, 3)) + _EPS)
        return lpips, wasserstein

    def _stages(self, x: Tensor) -> list[Tensor]:
        x, stages = ((x + 1) / 2 - self.mean) / self.std, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                stages.append(x)
        return stages


def _unit(features: Tensor) -> Tensor:
    """Features over their norm along the channels; smooth where all are 0."""
    norm: Tensor = (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
    return features / norm


def _moments(features: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means and standard deviations over squares of `side`, which overlap by half."""
    pooled = nn.functional.avg_pool2d(torch.cat([features, features.square()], 1), side, max(1, side // 2))
    mean, square = pooled.chunk(2, 1)
    return mean, ((square - mean.square()).clamp(min=0) + 1e-4).sqrt()
