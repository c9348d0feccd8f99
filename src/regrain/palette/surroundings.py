"""A side of a single latent: what it shows, and what stands around it while networks run.

    x -> its mean along that side -> repeated on both sides -> encode -> the latent in the middle
    latent -> repeated on both sides -> repair, decode -> the pixels in the middle

The networks were trained on crops of many latents and give other colours to one that has zeros on both sides. A single
latent repeated has one colour along that side, so the mean is all that it can say. Invariant: whatever has two latents
or more on both sides stays as it is.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["flatten_short_sides", "margins", "repeat_edges"]

MARGIN: Final = 4
"""Latents on each side; 8 give the same colours."""


def margins(rows: int, columns: int) -> tuple[int, int]:
    """Latents to repeat above and below, and left and right, of so many rows and columns of them."""
    return MARGIN * (rows == 1), MARGIN * (columns == 1)


def flatten_short_sides(x: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """x (C, H, W) with its mean along each side that one latent covers, in place of what varies there."""
    short = tuple(axis for axis in (1, 2) if x.shape[axis] <= stride)
    return np.broadcast_to(x.mean(short, keepdims=True), x.shape) if short else x


def repeat_edges(x: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """x (C, H, W) with its first and last rows and columns repeated so many times beyond its edges."""
    return np.pad(x, ((0, 0), (rows, rows), (columns, columns)), mode="edge") if rows or columns else x
