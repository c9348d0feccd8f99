"""Picture -> latents -> colours -> bytes, one line a station.

    levels = 8 bit(encode(x))    palette = k-means(levels)    indices = dither(levels, palette)    bytes = code(indices)

Each tile has a palette of its own; what is heavy is done once for all qualities. From quality 0 on a tile is a picture
of few colours, at BEST_PALETTE it has 256; above, every channel is coded by itself, in steps that are the finer the
higher the quality.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.image import pad_edge, to_signed
from regrain.palette import colours, sections
from regrain.palette.model import MARGIN, Image, LatentSpace
from regrain.palette.sections import Levels
from regrain.tiles import apply_in_windows

__all__ = ["BEST_PALETTE", "Prepared", "analyse", "form_at"]

SIDE = 512
"""Of the squares of pixels that are encoded at once."""
BEST_PALETTE: Final = 60 * 256
"""Quality, times 256, of the largest palette."""
BEST: Final = 100 * 256
COLOURS_LEAST: Final = 8
STEPS: Final = (20, 7)
"""Steps of a channel just above the best palette and at quality 100."""
FEW, FINE = 16, 4
"""A tile of so few latents takes fine steps: a handful of bytes, and its colours are what there is to see."""


class Prepared:
    """A picture's tiles, levels (h, w, C) each: what is heavy is done, and the latest payloads are kept."""

    def __init__(self, tiles: Sequence[Levels]) -> None:
        """Take the levels."""
        self._encode = lru_cache(maxsize=4)(
            lambda count, step: [_payload(levels, count, step, number) for number, levels in enumerate(tiles)]
        )

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile at quality q times 256."""
        return list(self._encode(*form_at(quality)))


def analyse(space: LatentSpace, pixels: NDArray[np.uint8]) -> Image:
    """The latents of a picture, float32 (C, ceil(H / stride), ceil(W / stride)). pixels (H, W, 1 or 3)."""

    def part(window: NDArray[np.uint8]) -> Image:
        """Of a window (1 or 3, h, w), flat along each side that one latent covers."""
        x = to_signed(window.transpose(1, 2, 0))
        short = tuple(axis for axis in (1, 2) if x.shape[axis] <= space.stride)
        x = x.mean(short, keepdims=True) if short else x
        for axis in short:
            x = x.repeat((2 * MARGIN + 1) * space.stride, axis)
        latents = space.encode(pad_edge(x, space.stride))
        for axis in short:
            latents = latents.take([MARGIN], axis)
        return latents

    halo, scale = space.halo * space.stride, 1 / space.stride
    return apply_in_windows(part, pixels.transpose(2, 0, 1), side=SIDE, halo=halo, scale=scale)


def _payload(levels: Levels, count: int, step: int, tile: int) -> bytes:
    """The payload of tile number `tile`, levels (h, w, C), with `count` colours, or in steps where there are none."""
    if not count:
        step = min(step, FINE) if levels[..., 0].size <= FEW else step
        return sections.pack_levels(levels, step, tile)
    palette = colours.choose(levels.reshape(-1, levels.shape[2]), count)
    return sections.pack_palette(levels, palette, colours.dither(levels, palette), tile)


def form_at(quality: int) -> tuple[int, int]:
    """Colours of a tile, 8 to 256, at quality q times 256, and 0; or 0 and the step of every channel without them."""
    if quality <= BEST_PALETTE:
        return int(COLOURS_LEAST * (colours.COLOURS_MOST / COLOURS_LEAST) ** (quality / BEST_PALETTE) + 0.5), 0
    part = (quality - BEST_PALETTE) / (BEST - BEST_PALETTE)
    return 0, int(STEPS[0] * (STEPS[1] / STEPS[0]) ** part + 0.5)
