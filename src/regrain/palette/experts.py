"""How likely each colour is at a position, by the colours around it.

    P(k)  ~  product over the neighbours n:  (reach + |T (palette[k] - palette[n])|^2) ^ (-sharpness weight[n])

Every neighbour that is known is an expert, who holds colours near its own for likely with the heavy tail of Student's
t, and experts are multiplied (Welling, Hinton and Osindero 2003). T whitens what a position differs by from the mean of
those beside it. The encoder fits all three in floating point and tells them in a few bytes.
Invariants: weights are made of whole numbers alone, none is 0; a neighbour that is not there changes nothing.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from regrain.errors import Corrupt
from regrain.palette.interlace import KINDS, WEIGHT_UNIT, Pass, passes

__all__ = ["BIT", "Experts", "fit", "log2"]

BIT: Final = 64
"""Logarithms are to base 2, in this part of one."""
LARGEST: Final = 20
"""log2 of the greatest weight."""
SHARP: Final = 32
"""Sharpness 1, as a byte."""
REACH_MOST: Final = 160
REACHES: Final = (-8, -4, 0, 4, 8)
SHARPNESSES: Final = (12, 16, 20, 24, 28, 32, 36, 40, 46, 52)
"""What the encoder tries: for reach, in steps of some 2^(1/4) about a tenth of a mean squared residual."""
SAMPLE: Final = 256
"""Positions of a pass that it looks at."""


@dataclass(frozen=True, eq=False)
class Experts:
    """What is told: T int8 (C, C), 0 above the diagonal; reach, 0 to 160; sharpness of stencils 1 to 3, in 1 / 32."""

    metric: NDArray[np.int8]
    reach: int
    sharpness: tuple[int, ...]

    @staticmethod
    def size(channels: int) -> int:
        """Bytes that `to_bytes` makes."""
        return channels * (channels + 1) // 2 + KINDS

    def to_bytes(self) -> bytes:
        """T row by row, as far as the diagonal, then reach, then sharpness in 1 / 32."""
        return self.metric[np.tril_indices(len(self.metric))].tobytes() + bytes([self.reach, *self.sharpness])

    @classmethod
    def from_bytes(cls, data: bytes, channels: int) -> Self:
        """The inverse, of `size` bytes. Raises Corrupt for a reach over 160."""
        metric = np.zeros((channels, channels), np.int8)
        metric[np.tril_indices(channels)] = np.frombuffer(data[:-KINDS], np.int8)
        reach, *sharpness = data[-KINDS:]
        if reach > REACH_MOST:
            raise Corrupt(f"experts: reach {reach}, 0 to {REACH_MOST} are allowed")
        return cls(metric, reach, tuple(sharpness))

    def costs(self, palette: NDArray[np.uint8]) -> NDArray[np.int64]:
        """log2(reach + |T (palette[k] - palette[n])|^2) in 1 / 64, int64 (K, K)."""
        points = palette.astype(np.int64) @ self.metric.astype(np.int64)
        reach = (4 + self.reach % 4) << self.reach // 4
        return log2(np.stack([np.square(points - point).sum(1) for point in points]) + reach)

    def weights(self, costs: NDArray[np.int64], known: NDArray[np.int64], one: Pass) -> NDArray[np.int32]:
        """The product for every colour at every position of a pass, int32 (n, K), from 1 to 2^20, which the best has.

        `known` int64 (H W + 1,) are indices, right wherever an earlier pass was; the last is K, for no neighbour.
        """
        product = np.zeros((one.places.size, len(costs)), np.int32)
        for weight in np.unique(one.weights).tolist():
            scaled = np.zeros((len(costs) + 1, len(costs)), np.int32)
            scaled[:-1] = costs * (weight * self.sharpness[one.kind - 1])
            for neighbour in one.neighbours.T[one.weights == weight]:
                product += scaled[known[neighbour]]
        product -= product.min(1, keepdims=True)
        product //= WEIGHT_UNIT * SHARP
        return _powers()[np.minimum(product, LARGEST * BIT)]


def fit(palette: NDArray[np.uint8], indices: NDArray[np.uint8]) -> Experts:
    """The experts, of those tried, under which a sample of the finest passes takes the fewest bits."""
    values = palette[indices].astype(np.float64)
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), "edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    residuals = (values - around / 4).reshape(-1, values.shape[2])
    covariance = residuals.T @ residuals / len(residuals) + np.eye(values.shape[2])
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    largest = np.abs(whitening).max()
    middle = round(4 * math.log2(max(1.0, 0.1 * (127 / largest) ** 2) / 4))
    known = np.append(indices.reshape(-1), len(palette)).astype(np.int64)
    finest = {one.kind: _sample_positions(one) for one in passes(*indices.shape) if one.kind}.values()

    def bits(experts: Experts) -> float:
        costs = experts.costs(palette)
        return sum(_bits(experts.weights(costs, known, one), known[one.places]) for one in finest)

    first = Experts(np.rint(whitening * (127 / largest)).astype(np.int8), 0, (SHARP,) * (KINDS - 1))
    reaches = (replace(first, reach=min(max(middle + step, 0), REACH_MOST)) for step in REACHES)
    best = min(reaches, key=bits)
    for kind in range(KINDS - 1):
        below, above = best.sharpness[:kind], best.sharpness[kind + 1 :]
        best = min((replace(best, sharpness=(*below, sharp, *above)) for sharp in SHARPNESSES), key=bits)
    return best


def _sample_positions(one: Pass) -> Pass:
    every = slice(None, None, -(-one.places.size // SAMPLE))
    return replace(one, places=one.places[every], neighbours=one.neighbours[every])


def _bits(weights: NDArray[np.int32], true: NDArray[np.int64]) -> float:
    """Ideal code length of the true colours."""
    of_true = np.take_along_axis(weights, true[:, None], 1)[:, 0]
    return float(np.log2(weights.sum(1) / of_true).sum())


def log2(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """log2 in 1 / 64, rounded down, of the leading nine bits of whole numbers from 1 to 2^53: the same everywhere."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return _logarithms()[(mantissa * 512).astype(np.int64) - 256] + BIT * (exponent.astype(np.int64) - 1)


@lru_cache(maxsize=1)
def _logarithms() -> NDArray[np.int64]:
    """floor(64 log2(m / 256)) for m = 256 .. 511: j with 2^j <= m^64 / 2^512 < 2^(j + 1)."""
    return np.array([(m**BIT >> 8 * BIT).bit_length() - 1 for m in range(256, 512)])


@lru_cache(maxsize=1)
def _powers() -> NDArray[np.int32]:
    """floor(2^(20 - i / 64)) for i = 0 .. 1280: the 64th root is a square root six times over."""
    roots = [1 << LARGEST * BIT - i for i in range(LARGEST * BIT + 1)]
    for _ in range(BIT.bit_length() - 1):
        roots = [math.isqrt(root) for root in roots]
    return np.array(roots, np.int32)
