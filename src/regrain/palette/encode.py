"""Picture -> latents -> colours -> bytes, one line a station.

    levels = 8 bit(encode(x))    palette = k-means(levels)    indices = dither(levels, palette)    bytes = code(indices)

Each tile has a palette of its own; what is heavy is done once for all qualities.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from regrain.image import pad_edge, to_signed
from regrain.palette import colours, dither, sections
from regrain.palette.levels import colours_at, step_at, to_levels
from regrain.palette.model import Image, LatentSpace
from regrain.palette.surroundings import flatten_short_sides, margins, repeat_edges
from regrain.tiles import apply_in_windows, places

__all__ = ["Levels", "analyse", "tile_coder", "tile_coders"]

Levels = NDArray[np.uint8]
SIDE = 512
"""Of the squares of pixels that are encoded at once."""


def analyse(space: LatentSpace, pixels: NDArray[np.uint8]) -> Image:
    """The latents of a picture, float32 (C, ceil(H / stride), ceil(W / stride)). pixels (H, W, 1 or 3)."""

    def part(window: NDArray[np.uint8]) -> Image:
        """Of a window (1 or 3, h, w)."""
        x = pad_edge(flatten_short_sides(to_signed(window.transpose(1, 2, 0)), space.stride), space.stride)
        rows, columns = (side // space.stride for side in x.shape[1:])
        up, left = margins(rows, columns)
        latents = space.encode(repeat_edges(x, up * space.stride, left * space.stride))
        return latents[:, up : up + rows, left : left + columns]

    return apply_in_windows(
        part, pixels.transpose(2, 0, 1), side=SIDE, halo=space.halo * space.stride, scale=1 / space.stride
    )


def tile_coder(levels: Levels, tile: int) -> Callable[[int], bytes]:
    """Quality q times 256 -> the payload of tile number `tile`, levels (h, w, C)."""

    @lru_cache(maxsize=4)
    def at(count: int, step: int) -> bytes:
        """With `count` colours, or without a palette."""
        if not count:
            return sections.pack_levels(levels, step, tile)
        palette = colours.choose(levels.reshape(-1, levels.shape[2]), count)
        return sections.pack_palette(levels, palette, dither.raster(levels, palette), tile)

    def of(quality: int) -> bytes:
        """The form that a quality takes."""
        count = colours_at(quality)
        return at(count, 0 if count else step_at(quality))

    return of


def tile_coders(space: LatentSpace, pixels: NDArray[np.uint8], tile: int) -> tuple[Callable[[int], bytes], ...]:
    """pixels (H, W, 1 or 3) -> for each tile, quality q times 256 -> its payload."""
    levels = to_levels(analyse(space, pixels))
    regions = places(levels.shape[0], levels.shape[1], tile // space.stride)
    return tuple(tile_coder(levels[region], index) for index, region in enumerate(regions))
