"""Latents <-> 8-bit levels, and which form of them a quality takes.

    level = round(127.5 + 255 latent / 8), 0 to 255        latent = 8 (level - 127.5) / 255

so that latents of about N(0, 1) are kept to four deviations (as Stable Diffusion's are in unsigned 8 bit). From quality
0 on a tile is a picture of few colours, at BEST_PALETTE it has 256; above, every channel is coded by itself, in steps
that are the finer the higher the quality.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.palette.colours import COLOURS_MOST

__all__ = ["BEST_PALETTE", "colours_at", "from_levels", "step_at", "to_levels"]

RANGE: Final = 8.0
BEST_PALETTE: Final = 60 * 256
"""Quality, times 256, of the largest palette."""
BEST: Final = 100 * 256
COLOURS_LEAST: Final = 8
STEPS: Final = (12, 4)
"""Steps of a channel just above the best palette and at quality 100."""


def to_levels(latents: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Latents float32 (C, h, w) -> uint8 (h, w, C); what is no number is 128."""
    levels = np.rint(latents * (255 / RANGE) + 127.5).clip(0, 255)
    whole: NDArray[np.uint8] = np.nan_to_num(levels, nan=128).astype(np.uint8)
    return whole.transpose(1, 2, 0)


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The inverse: uint8 (h, w, C) -> float32 (C, h, w)."""
    latents: NDArray[np.float32] = (levels.transpose(2, 0, 1).astype(np.float32) - 127.5) * (RANGE / 255)
    return latents


def colours_at(quality: int) -> int:
    """Colours of a tile at quality q times 256, 8 to 256; 0 above BEST_PALETTE, where there is no palette."""
    if quality > BEST_PALETTE:
        return 0
    return int(COLOURS_LEAST * (COLOURS_MOST / COLOURS_LEAST) ** (quality / BEST_PALETTE) + 0.5)


def step_at(quality: int) -> int:
    """The step of every channel at quality q times 256, above BEST_PALETTE."""
    part = (quality - BEST_PALETTE) / (BEST - BEST_PALETTE)
    return int(STEPS[0] * (STEPS[1] / STEPS[0]) ** part + 0.5)
