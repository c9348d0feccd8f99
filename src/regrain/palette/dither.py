"""Error diffusion of vectors: each position takes the colour nearest to its latent and to what its neighbours lack.

    v = latent + (1 e(up, behind) + 5 e(up) + 3 e(up, ahead) + 7 e(behind)) / 16
    index = argmin |palette - v|^2        e = strength (v - palette[index])

(Floyd and Steinberg 1976, in C dimensions.) A row goes ahead from behind; up, the words are meant as the row above
goes. v is rounded to 1 / 1024, so that float64 holds all distances exactly: no order of addition changes an index.
Invariants: at strength 1, what leaves a position arrives, so that over an area the mean colour is the mean latent but
for its border; `raster`, which takes whole diagonals at once, equals a plain loop.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regrain.errors import UsageError

__all__ = ["nearest", "raster"]

Latents = NDArray[np.floating[Any]] | NDArray[np.uint8]
_Nearest = Callable[[NDArray[np.float64]], NDArray[np.int64]]
UNIT: Final = 1024
LARGEST: Final = 2**16
_TOGETHER: Final = 2**13
"""Positions whose distances are held at once."""


def nearest(latents: Latents, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The index of the nearest colour, undithered: latents (H, W, C), palette (K, C) -> uint8 (H, W).

    Latents are in the palette's units; of colours equally near the first is taken. Raises UsageError for shapes that
    do not agree, K outside 1 .. 256, and latents that are not finite or beyond 2^16.
    """
    values, find = _prepare(latents, palette)
    flat = values.reshape(-1, values.shape[2])
    chunks = np.split(flat, range(_TOGETHER, len(flat), _TOGETHER))
    return np.concatenate([find(chunk) for chunk in chunks]).reshape(values.shape[:2]).astype(np.uint8)


def raster(latents: Latents, palette: NDArray[np.uint8], strength: float = 1.0) -> NDArray[np.uint8]:
    """Every row from left to right. `strength` is 0 (`nearest`) to 1; shapes and errors are those of `nearest`.

    A row may be at column c when the row above is two further: all positions with c + 2 r = t are done at once.
    """
    values, find = _prepare(latents, palette, strength)
    height, width, channels = values.shape
    colours = palette.astype(np.float64)
    indices = np.empty((height, width), np.uint8)
    before, two, three = (np.zeros((height + 1, channels)) for _ in range(3))
    for t in range(width + 2 * (height - 1)):
        first, last = max(0, (t - width + 2) // 2), min(height, t // 2 + 1)
        up, here = slice(first, last), slice(first + 1, last + 1)
        rows = np.arange(first, last)
        gained = three[up] + 5 * two[up] + 3 * before[up] + 7 * before[here]
        wanted = _round(values[rows, t - 2 * rows] + gained / 16)
        indices[rows, t - 2 * rows] = chosen = find(wanted)
        error = np.zeros((height + 1, channels))
        error[here] = strength * (wanted - colours[chosen])
        before, two, three = error, before, two
    return indices


def _prepare(
    latents: Latents, palette: NDArray[np.uint8], strength: float = 0.0
) -> tuple[NDArray[np.float64], _Nearest]:
    """Latents as float64, and the search for the colour nearest to each of (..., C)."""
    values = np.asarray(latents, dtype=np.float64)
    if values.ndim != 3 or not values.size or palette.ndim != 2 or palette.shape[1] != values.shape[2]:
        raise UsageError(f"latents {values.shape} and palette {palette.shape}: (H, W, C) and (K, C) are allowed")
    if palette.dtype != np.uint8 or not 1 <= len(palette) <= 256 or not 0 <= strength <= 1:
        raise UsageError(
            f"{len(palette)} colours of {palette.dtype} at strength {strength}: 1 to 256 of uint8 at 0 to 1 are allowed"
        )
    if not (np.abs(values) <= LARGEST).all():
        raise UsageError(f"latents: finite values up to {LARGEST} are allowed")
    colours = palette.astype(np.float64)
    squares, twice = np.square(colours).sum(1), 2 * colours.T
    return _round(values), lambda wanted: (squares - wanted @ twice).argmin(-1)


def _round(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint(values * UNIT) / UNIT
