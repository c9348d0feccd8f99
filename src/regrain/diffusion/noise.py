"""Portable Gaussian noise: each value is a function of (seed, step, row, column, channel), on every machine the same.

    word(row, column) = Philox4x64-10(counter = (column // 4, row, step, 0), key = (seed, 0))[column % 4]
    lane(channel)     = bits 16 channel .. 16 channel + 15 of that word, as an integer k
    value             = round(2^16 Phi^-1((k + 1/2) / 2^16)) / 2^16

Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): any window equals the same
window cut from a larger one. The quantiles Phi^-1 are rounded to a grid of 2^-16, and none of them lies near a rounding
border, so another libm gives the same table; every value is exact in float32. They are antisymmetric in k, so that the
table's mean is zero exactly; its largest value is 4.325 and its variance 0.99998.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.errors import UsageError

__all__ = ["CHANNELS_MAX", "SIDE_MAX", "normal"]

CHANNELS_MAX: Final = 4
SIDE_MAX: Final = 2**31

_BLOCK: Final = 4
_LEVELS: Final = 2**16
_GRID: Final = 2**16
_WORD: Final = 2**64


def _upper_quantiles() -> list[float]:
    """Phi^-1((k + 1/2) / 2^16) in units of the grid, unrounded, for k = 2^15 .. 2^16 - 1: positive, increasing."""
    inverse = NormalDist().inv_cdf
    return [inverse((k + 0.5) / _LEVELS) * _GRID for k in range(_LEVELS // 2, _LEVELS)]


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float32]:
    """The table k -> value, (65536,) float32, read-only; built once, in some 20 ms."""
    upper = np.rint(np.array(_upper_quantiles())) / _GRID
    table = np.concatenate([-upper[::-1], upper]).astype(np.float32)
    table.flags.writeable = False
    return table


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"noise {name} {value} is out of range: {low} to {high} is allowed")


def _row_words(seed: int, step: int, row: int, block: int, count: int) -> Iterator[NDArray[np.uint64]]:
    """For row, row + 1, ... without end: the `count` words of that row from pixel 4 `block` on.

    NumPy raises the counter before it makes a block, hence the - 1.
    """
    counter = (block + row * _WORD + step * _WORD**2 - 1) % _WORD**4
    generator = np.random.Philox(key=seed, counter=counter)
    while True:
        yield generator.random_raw(count)
        generator.advance(_WORD - math.ceil(count / _BLOCK))


def normal(
    seed: int, step: int, row: int, column: int, height: int, width: int, channels: int = 3
) -> NDArray[np.float32]:
    """Standard normal noise for the window of `height` x `width` pixels at absolute (row, column).

    Args:
        seed: 0 to 2^64 - 1; other seeds give unrelated noise.
        step: 0 to 2^64 - 1; which noise image of the seed, such as the sampling step.
        row: Absolute row of the window's upper edge, from 0.
        column: Absolute column of the window's left edge, from 0.
        height: Rows, at least 1, within an image of at most 2^31 rows.
        width: Columns, at least 1, within an image of at most 2^31 columns.
        channels: 1 to 4; the first c channels are the same whatever their number.

    Returns:
        float32 (channels, height, width), C-contiguous, multiples of 2^-16 within +-4.33.

    Raises:
        UsageError: An argument is out of its range.

    Any window equals the same window cut from a larger one:

    >>> whole = normal(seed=7, step=0, row=0, column=0, height=8, width=8)
    >>> bool((normal(seed=7, step=0, row=2, column=3, height=4, width=4) == whole[:, 2:6, 3:7]).all())
    True
    """
    _check("seed", seed, 0, _WORD - 1)
    _check("step", step, 0, _WORD - 1)
    _check("channels", channels, 1, CHANNELS_MAX)
    _check("row", row, 0, SIDE_MAX - 1)
    _check("column", column, 0, SIDE_MAX - 1)
    _check("height", height, 1, SIDE_MAX - row)
    _check("width", width, 1, SIDE_MAX - column)
    block, skip = divmod(column, _BLOCK)
    table = _quantiles()
    values = np.empty((channels, height, width), np.float32)
    rows = _row_words(seed, step, row, block, skip + width)
    for i, words in zip(range(height), rows, strict=False):
        lanes = words[skip:].astype("<u8", copy=False).view("<u2").reshape(width, CHANNELS_MAX)
        values[:, i] = table.take(lanes[:, :channels].T)
    return values
