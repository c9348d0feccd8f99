"""The fixed ground beneath the learned transforms: a 16 x 16 DCT of opponent colours, whitened.

    y_c = <b_c, x> / spread_c        sketch = sum_c spread_c y_c b_c        <b_c, b_d> = 1 if c = d else 0

The waves that are kept are those of `dct`. An untrained codec is then already a block transform codec, and the networks
learn only what they add to it.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from regrain.conditional.dct import BLOCK, dct_basis

__all__ = ["BLOCK", "project", "sketch", "spread"]


@lru_cache(maxsize=4)
def _basis_tensors(channels: int) -> tuple[Tensor, Tensor]:
    """As `dct.dct_basis`, on the CPU."""
    basis, expected = dct_basis(channels)
    return torch.from_numpy(basis), torch.from_numpy(expected)


@lru_cache(maxsize=8)
def _matrices(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What `project` and `sketch` multiply with, on a device, so that nothing travels there again."""
    with torch.inference_mode(False):
        basis, scale = _basis_tensors(channels)
        return (basis / scale[:, None]).to(device), (basis * scale[:, None]).T.to(device)


def spread(channels: int) -> Tensor:
    """Expected standard deviations of the kept coefficients for x in [-1, 1], (channels,), falling. At most 768."""
    return _basis_tensors(channels)[1].clone()


def project(x: Tensor, channels: int) -> Tensor:
    """x (B, 3, H, W) in [-1, 1], H and W multiples of 16 -> whitened coefficients (B, channels, H/16, W/16)."""
    return _mix(nn.functional.pixel_unshuffle(x, BLOCK), _matrices(channels, x.device)[0])


def sketch(y: Tensor) -> Tensor:
    """The inverse of `project` on its range: y (B, C, H, W) -> a blocky picture (B, 3, 16H, 16W), about in [-1, 1]."""
    return nn.functional.pixel_shuffle(_mix(y, _matrices(y.shape[1], y.device)[1]), BLOCK)


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix times the channels of every place, never under autocast: 8 bits would show."""
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.conv2d(x, matrix[:, :, None, None].to(x))
