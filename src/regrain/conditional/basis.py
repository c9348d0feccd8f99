"""The fixed ground beneath the learned transforms: a 16 x 16 DCT of opponent colours, whitened.

    y_c = <b_c, x> / spread_c        sketch = sum_c spread_c y_c b_c        <b_c, b_d> = 1 if c = d else 0

Natural pictures have spectra that fall with frequency by a power law, so the coefficients of the largest expected
standard deviation `spread` are kept (Ahmed et al. 1974 for the DCT; Field 1987 for the law). An untrained codec is
then already a block transform codec, and the networks learn only what they add to it.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

__all__ = ["BLOCK", "project", "sketch", "spread"]

BLOCK = 16
"""Side of a block in pixels: the stride of the latents."""
COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Opponent colours: light, red against blue, magenta against green; orthogonal, made unit below."""
LEVEL, KNEE, FALL = (3.9, 1.5, 0.75), 0.2, -0.75
"""spread = level (u^2 + v^2 + knee)^fall at frequency (u, v): fitted to photos in [-1, 1], within 0.25 nats."""


@lru_cache(maxsize=4)
def _kept(channels: int) -> tuple[Tensor, Tensor]:
    """The basis (channels, 3 * 256), orthonormal rows in `pixel_unshuffle` order, and the spread, falling."""
    place = torch.arange(BLOCK, dtype=torch.float64, device="cpu")
    cosines = torch.cos(torch.pi * (place + 0.5) * place[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    cosines[0] *= 0.5**0.5
    colours = nn.functional.normalize(torch.tensor(COLOURS, dtype=torch.float64, device="cpu"), dim=1)
    basis = torch.einsum("kc,ui,vj->kuvcij", colours, cosines, cosines).reshape(3 * BLOCK**2, -1)
    radius = place[:, None].square() + place.square()
    expected = torch.tensor(LEVEL, dtype=torch.float64, device="cpu")[:, None, None] * (radius + KNEE) ** FALL
    values, order = expected.flatten().sort(descending=True, stable=True)
    return basis[order[:channels]].float(), values[:channels].float()


def spread(channels: int) -> Tensor:
    """Expected standard deviations of the kept coefficients for x in [-1, 1], (channels,), falling. At most 768."""
    return _kept(channels)[1].clone()


def project(x: Tensor, channels: int) -> Tensor:
    """x (B, 3, H, W) in [-1, 1], H and W multiples of 16 -> whitened coefficients (B, channels, H/16, W/16)."""
    basis, scale = _kept(channels)
    return _mix(nn.functional.pixel_unshuffle(x, BLOCK), basis / scale[:, None])


def sketch(y: Tensor) -> Tensor:
    """The inverse of `project` on its range: y (B, C, H, W) -> a blocky picture (B, 3, 16H, 16W), about in [-1, 1]."""
    basis, scale = _kept(y.shape[1])
    return nn.functional.pixel_shuffle(_mix(y, (basis * scale[:, None]).T), BLOCK)


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix times the channels of every place, never under autocast: 8 bits would show."""
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.conv2d(x, matrix[:, :, None, None].to(x))
