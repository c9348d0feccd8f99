"""A convolution on bytes: nearly what one of floats gives, where it is known how far its numbers reach.

    x = s_x (X - z_x)      w[o] / r[o] = s_w[o] W[o]      Y = round(s_x s_w / s_y (sum W (X - z_x) + B)) + z_y
    y[o] = r[o] s_y (Y[o] - z_y)

X and Y are of 8 unsigned bits, W of 8 signed ones, B of 32 (Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", eq. 1 to 5, arXiv:1712.05877). r, up to 1, makes the channels
of y of about one size, so that quiet ones keep their steps. Sums are exact; what is between two convolutions is in
floats, and a last digit there may turn a byte by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError, quote

__all__ = ["RANGES", "ByteConvolution", "on_bytes", "without_ranges"]

RANGES = "ranges."
"""What the names of ranges begin with in a weights file."""

LEVELS = 255
LEAST, MOST = 1e-7, 1e6
"""What the upper end of a range is at least, and the whole of it at most."""
WEIGHT_MAX = 127
QUIETEST = 1e-3
"""A channel is taken for no quieter than this share of the loudest."""
SHIFT_MAX = 2**30
"""The largest bias in units of a sum: with a sum beside it, it stays within 32 bits."""


class Scale(NamedTuple):
    """Bytes b for numbers `size` (b - `zero`)."""

    size: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> Self:
        """Bytes that reach from one number, at most 0, to another above it."""
        size = (high - low) / LEVELS
        return cls(size, round(-low / size))


class Kernel(NamedTuple):
    """W (O, I, k, k) int8, s_w (O,), B (O,) int32."""

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    shifts: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ByteConvolution:
    """Weights (O, I, k, k) and biases (O,), r (O,), and the bytes that enter and leave."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    loudness: NDArray[np.float64]
    enters: Scale
    leaves: Scale

    @classmethod
    def of(cls, weight: NDArray[Any], bias: NDArray[Any] | None, ranges: Mapping[str, NDArray[Any]], name: str) -> Self:
        """Of weights and biases, and of ranges `NAME.input` (2,) and `NAME.output` (2, O).

        Raises ModelError for ranges of other shapes, and for such as have not 0 within.
        """
        low, high = _checked(ranges, f"{name}.input", (2,))
        lows, highs = _checked(ranges, f"{name}.output", (2, len(weight)))
        loudness = np.maximum((highs - lows) / (highs - lows).max(), QUIETEST)
        leaves = Scale.between((lows / loudness).min(), (highs / loudness).max())
        return cls(weight, bias, loudness, Scale.between(low, high), leaves)

    @cached_property
    def kernel(self) -> Kernel:
        """The integers, which are made when they are first asked for. Raises ModelError where numbers are too large."""
        kernels = self.weight.astype(np.float32) / self.loudness[:, None, None, None].astype(np.float32)
        bias = np.zeros(len(kernels)) if self.bias is None else self.bias / self.loudness
        least = np.maximum(np.abs(bias) / (self.enters.size * SHIFT_MAX), np.finfo(np.float32).tiny)
        scales = np.maximum(np.abs(kernels).max((1, 2, 3)) / WEIGHT_MAX, least).astype(np.float32)
        if not np.isfinite(scales).all():
            raise ModelError("a convolution's weights are too large for bytes")
        kernels /= scales[:, None, None, None]
        shifts = bias / (self.enters.size * scales.astype(np.float64))
        return Kernel(
            np.rint(kernels).astype(np.int8), scales, np.rint(shifts).clip(-SHIFT_MAX, SHIFT_MAX).astype(np.int32)
        )


def without_ranges(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a weights file but for its ranges: with them alone everything runs in floats."""
    return {name: array for name, array in arrays.items() if not name.startswith(RANGES)}


def on_bytes(ranges: Mapping[str, object], name: str) -> bool:
    """Whether there are ranges of the convolution of this name."""
    return f"{name}.input" in ranges


def _checked(ranges: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = ranges.get(name)
    if values is None or values.shape != shape or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise ModelError(f"the range {quote(name)} is not of {shape} finite numbers")
    low, high = values.astype(np.float64)
    if not ((low <= 0) & (high >= LEAST) & (high - low <= MOST)).all():
        raise ModelError(f"the range {quote(name)} does not have 0 within, or is beyond {MOST:g}")
    return np.stack([low, high])
