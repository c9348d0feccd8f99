"""Which colours a palette has, which of them each position takes, and how they are told.

    k-means:  colour = mean of the latents nearest to it, from a start spread out by k-means++
    dither:   v = latent + (1 e(up, behind) + 5 e(up) + 3 e(up, ahead) + 7 e(behind)) / 16
              index = argmin |palette - v|^2        e = v - palette[index]
    told:     the box around all colours is halved channel by channel; symbol = colours in the lower half, 0 .. n

(Lloyd 1982; Arthur and Vassilvitskii 2007; Floyd and Steinberg 1976, in C dimensions.) A row goes ahead from behind;
up, the words are meant as the row above goes. v is rounded to 1 / 1024, so that float64 holds all distances exactly: no
order of addition changes an index. A count of n has n + 1 equally likely values, so the order of the colours, which is
free, costs nothing: sorted is how they come back.
Invariants: colours are multiples of `step`, distinct and sorted; no Lloyd iteration makes the error greater; what is
told comes back. What leaves a position arrives, so that over an area the mean colour is the mean latent but for its
border; `dither`, which takes whole diagonals at once, equals a plain loop.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.entropy.coder import Decoder, Part
from regrain.entropy.tables import PRECISION, Table
from regrain.errors import Corrupt

__all__ = ["COLOURS_MOST", "choose", "dither", "parts", "take"]

COLOURS_MOST: Final = 256
STEP: Final = 4
"""Between values of a colour, 1/8 of a latent's deviation: 6 bytes in a hundred less, 2 in a hundred more error."""
ITERATIONS: Final = 16
UNIT: Final = 1024
SAMPLE: Final = 2**14
"""Latents that are looked at, evenly spread: 64 for each of 256 colours."""
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Count = Callable[[_Ints, NDArray[np.bool_], int, _Ints], _Ints]


def choose(latents: NDArray[np.uint8], colours: int, step: int = STEP) -> NDArray[np.uint8]:
    """A palette for latents (N, C), N >= 1: at most `colours` (1 to 256) of them, uint8 (K, C), sorted, by k-means.

    They are multiples of `step`, 1 to 64; or the latents' own vectors, where there are so few. Deterministic.
    """
    size = min(len(latents), SAMPLE)
    vectors, counts = np.unique(latents[np.arange(size) * len(latents) // size], axis=0, return_counts=True)
    if len(vectors) <= colours:
        return vectors
    points, weights = vectors.astype(np.float64), counts.astype(np.float64)
    centres = _spread_out(points, weights, colours, np.random.default_rng(0))
    for _ in range(ITERATIONS):
        centres = _lloyd(points, weights, centres)
    return np.unique(np.clip(np.rint(centres / step) * step, 0, 255 // step * step).astype(np.uint8), axis=0)


def _spread_out(points: _Floats, weights: _Floats, colours: int, random: np.random.Generator) -> _Floats:
    """k-means++: each start is a point drawn by its squared distance to those before it."""
    chosen = [int(np.searchsorted(weights.cumsum(), random.random() * weights.sum(), "right"))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < colours:
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(1))
        mass = (nearest * weights).cumsum()
        chosen.append(int(np.searchsorted(mass, random.random() * mass[-1], "right")))
    return points[chosen]


def _lloyd(points: _Floats, weights: _Floats, centres: _Floats) -> _Floats:
    """One iteration; a centre that no point is nearest to goes to a point that is worst served."""
    distances = np.square(centres).sum(1) - 2 * points @ centres.T
    nearest = distances.argmin(1)
    mass = np.bincount(nearest, weights, len(centres))
    sums = [np.bincount(nearest, weights * channel, len(centres)) for channel in points.T]
    empty = np.flatnonzero(mass == 0)
    means = np.stack(sums, 1) / np.maximum(mass, 1)[:, None]
    served = weights * (distances.min(1) + np.square(points).sum(1))
    means[empty] = points[np.argsort(-served, kind="stable")[: empty.size]]
    return means


def dither(latents: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every row from left to right: latents (H, W, C), palette (K, C), K 1 to 256 -> its indices, uint8 (H, W).

    Of colours equally near the first is taken. A row may be at column c when the row above is two further: all
    positions with c + 2 r = t are done at once.
    """
    height, width, channels = latents.shape
    colours = palette.astype(np.float64)
    squares, twice = np.square(colours).sum(1), 2 * colours.T
    indices = np.empty((height, width), np.uint8)
    before, two, three = (np.zeros((height + 1, channels)) for _ in range(3))
    for t in range(width + 2 * (height - 1)):
        first, last = max(0, (t - width + 2) // 2), min(height, t // 2 + 1)
        up, here = slice(first, last), slice(first + 1, last + 1)
        rows = np.arange(first, last)
        gained = three[up] + 5 * two[up] + 3 * before[up] + 7 * before[here]
        v = np.rint((latents[rows, t - 2 * rows] + gained / 16) * UNIT) / UNIT
        indices[rows, t - 2 * rows] = nearest = (squares - v @ twice).argmin(-1)
        error = np.zeros((height + 1, channels))
        error[here] = v - colours[nearest]
        before, two, three = error, before, two
    return indices


def parts(palette: NDArray[np.uint8]) -> tuple[bytes, list[Part]]:
    """How a palette uint8 (K, C), sorted and distinct, is told: bytes (2 + 2 C), and what the coder is given.

    The bytes are K - 1, the step between values, and for each channel the lowest and how many steps the highest is on.
    """
    low = palette.min(0).astype(np.int64)
    step = max(1, int(np.gcd.reduce(palette - low, axis=None)))
    points = (palette - low) // step
    head = bytes([len(palette) - 1, step, *np.stack([low, points.max(0)], 1).reshape(-1).tolist()])
    halvings: list[Part] = []

    def count(size: _Ints, wide: NDArray[np.bool_], channel: int, middle: _Ints) -> _Ints:
        nonlocal points
        owner = np.repeat(np.arange(size.size), size)
        upper = points[:, channel] >= middle[owner]
        points = points[np.lexsort((upper, owner))]
        lower = size - np.bincount(owner[upper], minlength=size.size)
        halvings.append((lower[wide].astype(np.int32), size[wide], _equal_counts()))
        return lower

    _halve(len(palette), points.max(0) + 1, count)
    return head, halvings


def take(head: bytes, decoder: Decoder) -> NDArray[np.uint8]:
    """The inverse of `parts`: the palette. Raises Corrupt for bytes that no palette has."""
    step = head[1]
    low, last = np.frombuffer(head[2:], np.uint8).astype(np.int64).reshape(-1, 2).T

    def count(size: _Ints, wide: NDArray[np.bool_], channel: int, middle: _Ints) -> _Ints:
        lower = size.copy()
        lower[wide] = decoder.take(size[wide], _equal_counts())
        if (lower < 0).any() or (lower > size).any():
            raise Corrupt("palette: more colours in half a box than in the whole")
        return lower

    points, size = _halve(head[0] + 1, last + 1, count)
    values = low + step * points
    if (size > 1).any() or values.max() > 255:
        raise Corrupt("palette: a colour comes twice or is beyond 255")
    palette = np.unique(values.astype(np.uint8), axis=0)
    if parts(palette)[0] != head:
        raise Corrupt("palette: its box or its step has another spelling")
    return palette


def _halve(number: int, span: _Ints, count: _Count) -> tuple[_Ints, _Ints]:
    """Halve the box of `number` points until each box is one place; (M, C) of them that have points, and how many.

    `count` says how many of a box's points are in its lower half, all of them where it is not `wide`.
    """
    low, high, size = np.zeros((1, span.size), np.int64), span[None], np.array([number])
    while (high - low > 1).any():
        for channel in range(span.size):
            wide = high[:, channel] - low[:, channel] > 1
            middle = np.where(wide, (low[:, channel] + high[:, channel]) // 2, high[:, channel])
            lower = count(size, wide, channel, middle)
            low, high = low.repeat(2, 0), high.repeat(2, 0)
            high[::2, channel] = low[1::2, channel] = middle
            size = np.stack([lower, size - lower], 1).reshape(-1)
            low, high, size = low[size > 0], high[size > 0], size[size > 0]
    return low, size


@lru_cache(maxsize=1)
def _equal_counts() -> tuple[Table, ...]:
    """Table n has the numbers 0 .. n, as nearly alike as can be."""
    total = 2**PRECISION - 1
    return tuple(
        Table(0, np.append(total // (n + 1) + (np.arange(n + 1) < total % (n + 1)), 1)) for n in range(COLOURS_MOST + 1)
    )
