"""Where noise may enter a picture: everywhere but on strong edges, which one step makes best and noise makes boil.

    M = mean around a place of (g_x^2, g_y^2, g_x g_y) of the luma                the structure tensor (Bigün 1987)
    slope = sqrt(tr M)     coherence = (l_1 - l_2) / (l_1 + l_2)                  l_1 >= l_2 its eigenvalues
    gate = 1 - ramp(slope) ramp(coherence)

An edge is strong where the slope is steep and has one direction; texture is as steep, in all directions. Means are of
20 x 20 pixels, those in the middle count nine times as much as those in the corners; there is one every 4 pixels, and
the gate goes over from one to the next in a line.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["noise_gate"]

Image = NDArray[np.float32]

CELL: Final = 4
"""Side in pixels of the cells that means are made of, 5 x 5 of them."""
SLOPES: Final = (4.0, 9.0)
"""Levels a pixel where the gate begins to close, and where it is shut."""
COHERENCES: Final = (0.5, 0.7)
LUMA: Final = (0.299, 0.587, 0.114)


def noise_gate(picture: Image) -> Image:
    """How much noise enters (3, H, W) in [-1, 1], H and W multiples of 4: (1, H, W) in [0, 1].

    >>> step = np.zeros((3, 32, 32), np.float32)
    >>> step[:, :, 16:] = 1
    >>> gate = noise_gate(step)[0]
    >>> float(gate[16, 16]), float(gate[16, 0])
    (0.0, 1.0)
    """
    luma = np.tensordot(np.array(LUMA, np.float32) * np.float32(127.5), picture, 1)
    down, across = np.gradient(luma)
    a, b, c = (_means(product) for product in (across * across, down * down, across * down))
    total = a + b
    coherence = np.sqrt((a - b) ** 2 + 4 * c * c) / np.maximum(total, np.float32(1e-12))
    closed = _ramp(np.sqrt(total), SLOPES) * _ramp(coherence, COHERENCES)
    return (1 - _enlarged(_enlarged(closed).T).T)[None].astype(np.float32)


def _means(values: Image) -> Image:
    """Means (H/4, W/4) around every cell; a cell at the rim stands for those beyond it."""
    rows, columns = (size // CELL for size in values.shape)
    means: Image = values.reshape(rows, CELL, columns, CELL).mean((1, 3))
    for axis in (0, 0, 1, 1):  # three cells, twice: weights of 1, 2, 3, 2, 1
        ends = np.take(means, [0], axis), np.take(means, [-1], axis)
        padded = np.concatenate([ends[0], means, ends[1]], axis)
        before, middle, after = (np.take(padded, np.arange(means.shape[axis]) + shift, axis) for shift in range(3))
        means = (before + middle + after) / 3
    return means


def _ramp(values: Image, ends: tuple[float, float]) -> Image:
    """From 0 at the first of the ends to 1 at the second."""
    low, high = ends
    ramp: Image = ((values - low) / (high - low)).clip(0, 1)
    return ramp


def _enlarged(values: Image) -> Image:
    """(H, W) -> (4 H, W): lines between the middles of cells, level beyond the outermost."""
    at = ((np.arange(CELL * len(values)) + 0.5) / CELL - 0.5).clip(0, len(values) - 1)
    first = at.astype(int)
    second, weight = np.minimum(first + 1, len(values) - 1), (at - first).astype(np.float32)[:, None]
    enlarged: Image = (1 - weight) * values[first] + weight * values[second]
    return enlarged
