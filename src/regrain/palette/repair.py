"""What quantisation has done to a picture, undone by denoising its latents.

    told = gain (z + r eps) = gain sqrt(1 + r^2) z_t,    log_snr = -2 ln r,    z_0 = descend(denoise, z_t)

The sender tells gain and r, so the noise level is matched and not guessed; `strength` in [0, 1] takes a part of r.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.diffusion.budget import Budget, choose_steps
from regrain.diffusion.sampler import descend
from regrain.palette.model import Image, LatentDenoiser
from regrain.palette.sections import Channel
from regrain.tiles import apply_in_windows

__all__ = ["Repair", "of_latents"]

LOG_SNR_LAST: Final = 7.0
"""Where there is nothing to repair, and where steps lead to."""
SIDE: Final = 128
"""Of the squares in which latents are denoised, and how much of their surroundings is seen."""
HALO: Final = 32


@dataclass(frozen=True)
class Repair:
    """In `steps` >= 1 steps, each with `eta` in [0, 1] of fresh noise that `seed` names; `strength` 0 is not at all."""

    strength: float = 1.0
    steps: int | Budget = 1
    eta: float = 0.0
    seed: int = 0

    def noise(self, shape: tuple[int, ...]) -> Callable[[int], NDArray[np.float32]]:
        """Standard normal noise (C, H, W) for each step."""
        channels, height, width = shape
        return lambda step: noise.normal(self.seed, step, 0, 0, height, width, channels)


def of_latents(denoiser: LatentDenoiser, latents: Image, channel: Channel, how: Repair) -> Image:
    """Latents (C, h, w) as they came through `channel`, repaired; one step is the estimate of least square error."""
    r = how.strength * channel.error
    if r <= math.exp(-LOG_SNR_LAST / 2):
        return latents

    def seen(z_t: Image, log_snr: float) -> Image:
        """The denoiser's estimate, window by window."""
        return apply_in_windows(lambda part: denoiser.denoise(part, log_snr), z_t, side=SIDE, halo=HALO)

    z_t: Image = latents / (channel.gain * math.sqrt(1 + r * r))
    levels = -2 * math.log(r), LOG_SNR_LAST
    steps, see = choose_steps(how.steps, seen, z_t, levels[0])
    return descend(see, z_t, levels, steps=steps, eta=how.eta, noise=how.noise(latents.shape))
