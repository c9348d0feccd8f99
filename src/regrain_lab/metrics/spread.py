"""How far apart several decodings of one file are, over how far they are from the original: on texture, and on edges.

    spread = sqrt( sum var / sum err ),   var the variance over seeds (n - 1), err the mean over seeds of (x_s - x)^2

both over the pixels and channels of the squares of one kind. 0 is a decoder that draws nothing; one that draws from the
true posterior has sqrt(1/2), since its error is that of the posterior's mean and its own variance again.

Squares have 16 x 16 pixels, from the top left. The luma of the original decides the kind of a square, by its structure
tensor, the mean over the square of g g^T with g the gradient by central differences in levels a pixel, whose
eigenvalues are l >= m: it is texture where the slope sqrt(l + m) is 6 or more and the coherence (l - m) / (l + m) is
under 0.5, and a strong edge where the slope is 16 or more and the coherence 0.8 or more.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regrain_lab.metrics.spectrum import luma

__all__ = ["Spread", "classify_squares", "spreads"]

_SQUARE = 16
_TEXTURE_SLOPE, _TEXTURE_COHERENCE = 6.0, 0.5
_EDGE_SLOPE, _EDGE_COHERENCE = 16.0, 0.8


class Spread(NamedTuple):
    """Variance over seeds and squared error, summed over `squares`; several pictures are summed once more."""

    squares: int
    variance: float
    error: float

    @property
    def ratio(self) -> float:
        """The spread; not a number where there is no square, or no error."""
        return math.sqrt(self.variance / self.error) if self.error else math.nan

    @classmethod
    def total(cls, spreads: Sequence[Self]) -> Self:
        """The spread over all pictures together."""
        return cls(*map(sum, zip(*spreads, strict=True)))


def classify_squares(original: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """Masks `texture` and `edges`: which squares (h // 16, w // 16) of a picture (h, w, 3) are of that kind."""
    down, across = np.gradient(luma(original))
    a, b, c = (_means(product) for product in (across * across, down * down, across * down))
    slope, trace = np.sqrt(a + b), np.maximum(a + b, 1e-12)
    coherence = np.hypot(a - b, 2 * c) / trace
    texture = (slope >= _TEXTURE_SLOPE) & (coherence < _TEXTURE_COHERENCE)
    return {"texture": texture, "edges": (slope >= _EDGE_SLOPE) & (coherence >= _EDGE_COHERENCE)}


def spreads(original: NDArray[np.uint8], decoded: Sequence[NDArray[np.uint8]]) -> dict[str, Spread]:
    """Spread of two or more decodings with different seeds by kind of square; all pictures are (h, w, 3)."""
    seeds = np.stack(decoded).astype(np.float32)
    variance = _means(seeds.var(axis=0, ddof=1).mean(axis=2))
    error = _means(np.square(seeds - original).mean(axis=(0, 3)))
    return {
        name: Spread(int(where.sum()), float(variance[where].sum()), float(error[where].sum()))
        for name, where in classify_squares(original).items()
    }


def _means(values: ArrayLike) -> NDArray[np.float64]:
    """Means (h // 16, w // 16) of the squares of values (h, w)."""
    floats = np.asarray(values, np.float64)
    rows, columns = (side // _SQUARE for side in floats.shape)
    whole = floats[: rows * _SQUARE, : columns * _SQUARE]
    means: NDArray[np.float64] = whole.reshape(rows, _SQUARE, columns, _SQUARE).mean(axis=(1, 3))
    return means
