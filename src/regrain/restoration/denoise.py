"""A worn picture -> the repaired one: the picture is x_t where its own error is the noise.

    x = x_0 + r eps    x_t = x / sqrt(1 + r^2),  log_snr = -2 ln r    x_0 = descend(denoise, x_t)    r = strength error

What wore it is no white noise, so that the strength has a best value of its own: tests of held-out pictures say which
(experiments/repair). Of a JPEG every estimate is moved to the nearest picture that the file may be of, block by block.

A tile is repaired alone, with its surroundings, from the first step to the last: only tiles are held as floats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.diffusion.sampler import descend
from regrain.diffusion.schedule import REACH
from regrain.diffusion.unconditional_config import STRIDE
from regrain.image import pad_edge, to_bytes, to_signed
from regrain.progressive.codec import ProgressiveModel
from regrain.progressive.reverse_process import for_steps
from regrain.restoration import jpeg
from regrain.tiles import Place, places

__all__ = ["Repair", "repair"]

Image = NDArray[np.float32]
Pixels = NDArray[np.uint8]
SIDE: Final = 512
"""Of a tile, a multiple of a JPEG's blocks."""
HALO: Final = 128
"""Pixels around it that it sees, likewise; beyond half of them nothing comes in through one step."""


@dataclass(frozen=True)
class Repair:
    """How much and in how many steps: strength >= 0, steps >= 1, eta in [0, 1], the seed of the noise that eta adds."""

    strength: float = 1.0
    steps: int = 1
    eta: float = 0.0
    seed: int = 0


def repair(
    model: ProgressiveModel,
    pixels: Pixels,
    error: float,
    how: Repair,
    luma_steps: Image | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Pixels (h, w, 1 or 3) repaired, whose error has this deviation in [-1, 1]; the same where it is below a level.

    `luma_steps` (8, 8) are those of the JPEG that they come from, whose blocks begin at the corner. `progress` hears
    after each tile how many are done, and of how many.
    """
    r = how.strength * error
    if r <= math.exp(-REACH / 2):
        return pixels
    height, width = pixels.shape[:2]
    repaired, tiles = np.empty_like(pixels), places(height, width, SIDE)
    for number, tile in enumerate(tiles, 1):
        repaired[tile] = _repair_tile(model, pixels, tile, r, how, luma_steps)
        if progress is not None:
            progress(number, len(tiles))
    return repaired


def _repair_tile(
    model: ProgressiveModel, pixels: Pixels, tile: Place, r: float, how: Repair, luma_steps: Image | None
) -> Pixels:
    """The pixels of one tile, which sees HALO around it."""
    top, left = (max(0, side.start - HALO) for side in tile)
    window = pixels[top : tile[0].stop + HALO, left : tile[1].stop + HALO]
    whole, (height, width) = to_signed(window), window.shape[:2]
    x = pad_edge(whole, STRIDE)
    way = -2 * math.log(r), max(REACH, -2 * math.log(r))
    network = for_steps(model.denoiser, model.student, way, how.steps) if how.eta == 0 else model.denoiser

    def estimate(x_t: Image, log_snr: float) -> Image:
        x_0 = network.denoise(x_t, log_snr).clip(-1, 1)
        if luma_steps is not None:
            x_0[:, :height, :width] = jpeg.keep_to_steps(x_0[:, :height, :width], whole, luma_steps)
        return x_0

    def fresh(step: int) -> Image:
        return noise.normal(how.seed, step, top, left, *x.shape[1:])

    x_t = x / np.float32(math.sqrt(1 + r * r))
    x_0 = descend(estimate, x_t, way, steps=how.steps, eta=how.eta, noise=fresh)
    inner = tuple(slice(side.start - first, side.stop - first) for side, first in zip(tile, (top, left), strict=True))
    return to_bytes(x_0[:, *inner], pixels.shape[2] == 1)
