"""The fixed ground beneath the learned transforms: a 16 x 16 DCT of opponent colours, whitened.

    y_c = <b_c, x> / spread_c        sketch = sum_c spread_c y_c b_c        <b_c, b_d> = 1 if c = d else 0

The waves that are kept are those of `dct`. An untrained codec is then already a block transform codec, and the networks
learn only what they add to it.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from regrain.conditional.dct import BLOCK, kept

__all__ = ["BLOCK", "match_means", "project", "residual_rms", "sketch", "spread"]

MEAN_STEPS, LEAST_UNCLIPPED = 4, 0.25
"""Newton steps of `match_means`, and the least slope of a block's mean that they divide by."""


@lru_cache(maxsize=4)
def _kept(channels: int) -> tuple[Tensor, Tensor]:
    """As `dct.kept`, on the CPU."""
    basis, expected = kept(channels)
    return torch.from_numpy(basis), torch.from_numpy(expected)


@lru_cache(maxsize=8)
def _matrices(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What `project` and `sketch` multiply with, on a device, so that nothing travels there again."""
    with torch.inference_mode(False):
        basis, scale = _kept(channels)
        return (basis / scale[:, None]).to(device), (basis * scale[:, None]).T.to(device)


def spread(channels: int) -> Tensor:
    """Expected standard deviations of the kept coefficients for x in [-1, 1], (channels,), falling. At most 768."""
    return _kept(channels)[1].clone()


def project(x: Tensor, channels: int) -> Tensor:
    """x (B, 3, H, W) in [-1, 1], H and W multiples of 16 -> whitened coefficients (B, channels, H/16, W/16)."""
    return _mix(nn.functional.pixel_unshuffle(x, BLOCK), _matrices(channels, x.device)[0])


def sketch(y: Tensor) -> Tensor:
    """The inverse of `project` on its range: y (B, C, H, W) -> a blocky picture (B, 3, 16H, 16W), about in [-1, 1]."""
    return nn.functional.pixel_shuffle(_mix(y, _matrices(y.shape[1], y.device)[1]), BLOCK)


def residual_rms(x: Tensor, channels: int) -> Tensor:
    """Root mean square of what the kept waves miss of each block: x (B, 3, H, W) -> (B, H/16, W/16), in units of x.

    The waves are orthonormal, so it is the square root of the difference of two energies (Parseval).
    """
    waves = project(x, channels) * spread(channels).to(x)[:, None, None]
    energy = nn.functional.pixel_unshuffle(x, BLOCK).square().sum(1) - waves.square().sum(1)
    return (energy.clamp(min=0) / (x.shape[1] * BLOCK**2)).sqrt()


def match_means(y: Tensor, x: Tensor, blocks: Tensor) -> Tensor:
    """y (B, C, H, W) whose sketch, clipped to [-1, 1], has the means of x (B, 3, 16H, 16W) in the masked blocks.

    The waves that are kept overshoot where a block has finer detail. A decoder clips the overshoot, which moves the
    block's mean. blocks: bool (B, H, W); all other blocks keep their latents to the bit.
    """
    target, channels = nn.functional.avg_pool2d(x, BLOCK), y.shape[1]
    for _ in range(MEAN_STEPS):
        sketched = sketch(y)
        error = target - nn.functional.avg_pool2d(sketched.clamp(-1, 1), BLOCK)
        unclipped = nn.functional.avg_pool2d((sketched.abs() < 1).to(x), BLOCK).clamp(min=LEAST_UNCLIPPED)
        constant = nn.functional.interpolate(error / unclipped, scale_factor=BLOCK, mode="nearest")
        y = torch.where(blocks[:, None], y + project(constant, channels), y)
    return y


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix times the channels of every place, never under autocast: 8 bits would show."""
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.conv2d(x, matrix[:, :, None, None].to(x))
