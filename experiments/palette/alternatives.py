"""What was measured beside the palette codec's own ways: other dithering, and repair of the whole picture.

    nearest:     the nearest colour, without dithering
    serpentine:  as `regrain.palette.colours.dither`, but rows go to the right and to the left by turns
    of_picture:  x_t = alpha x + sigma eps,  log_snr = ln(alpha^2 / sigma^2),  x_0 = descend(denoise, x_t)

A picture is first noised to a level (SDEdit, Meng et al. 2022): what decoding has left in it is not noise until it is
drowned in some. Neither is part of the file format or of the package; results/0.1/PALETTE.md has their figures.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.diffusion import noise
from regrain.diffusion.sampler import descend
from regrain.options import DecodeOptions
from regrain.palette.colours import UNIT
from regrain.palette.decode import LOG_SNR_LAST
from regrain.tiles import apply_in_windows

SIDE, HALO = 512, 64
"""Of the squares in which pictures are denoised, and how much of their surroundings is seen."""


def nearest(latents: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Latents (H, W, C) -> indices of the palette (K, C), uint8 (H, W), each on its own."""
    distances = (np.square(row[:, None] - palette.astype(float)).sum(2) for row in latents)
    return np.stack([row.argmin(1) for row in distances]).astype(np.uint8)


def serpentine(latents: NDArray[Any], palette: NDArray[np.uint8], strength: float = 1.0) -> NDArray[np.uint8]:
    """Latents (H, W, C) -> indices of the palette (K, C), uint8 (H, W): against worms of dots."""
    values, colours = np.rint(latents * float(UNIT)) / UNIT, palette.astype(np.float64)
    height, width, channels = values.shape
    indices = np.empty((height, width), np.uint8)
    error = np.zeros((width + 2, channels))
    for row in range(height):
        way = slice(None, None, -1 if row % 2 else 1)
        up = error[::-1]
        base = values[row, way] + (3 * up[:-2] + 5 * up[1:-1] + up[2:]) / 16
        error = np.zeros((width + 2, channels))
        for place in range(width):
            target = np.rint((base[place] + 7 * error[place] / 16) * UNIT) / UNIT
            indices[row, way][place] = index = np.square(colours - target).sum(1).argmin()
            error[place + 1] = strength * (target - colours[index])
    return indices


def of_picture(
    denoise: Callable[[Tensor, float], Tensor], x: Tensor, log_snr: float, how: DecodeOptions, *, noised: bool = True
) -> Tensor:
    """x (3, H, W) in [-1, 1], multiples of 8, repaired from a noise level on: `noised` to it, or taken to have it.

    `denoise(x_t (3, h, w), log_snr)` is the estimate of x_0, as that of `diffusion.prior`. `how.steps` is a number,
    and realism 0 is not at all.
    """
    assert isinstance(how.steps, int)
    alpha, sigma = math.sqrt(1 / (1 + math.exp(-log_snr))), math.sqrt(1 / (1 + math.exp(log_snr)))

    def noise_at(step: int) -> Tensor:
        """The noise of a step."""
        return torch.from_numpy(noise.normal(how.seed, step, 0, 0, *x.shape[1:]))

    x_t = alpha * x + sigma * noise_at(0) if noised else alpha * x

    def estimate(x_t: torch.Tensor, level: float) -> Tensor:
        """The prior's estimate of x_0, window by window."""

        def part(x: NDArray[np.float32]) -> NDArray[np.float32]:
            """Of one window."""
            return denoise(torch.from_numpy(x), level).numpy()

        return torch.from_numpy(apply_in_windows(part, x_t.numpy(), side=SIDE, halo=HALO))

    levels = log_snr, LOG_SNR_LAST
    repaired = descend(estimate, x_t, levels, steps=how.steps, eta=how.eta, noise=noise_at)
    return x + how.realism * (repaired - x)
