"""The integer wall in NumPy: z and decoded symbols -> scale indices, the same on every machine.

    a_{l+1} = clamp( floor( (sum w a_l + b) / 2^shift ), 0, 127 )
    index   = clamp( floor( (a_L + context + offset(quality, channel)) / 16 + 1/2 ), 0, 63 )

Nothing here is a float. A convolution is a matrix product of bytes, [0, 127] by 8 bits, summed in 32: no sum reaches
2^24, and a pair of products stays below 2^15, which is where the instructions of some processors saturate. Any product
will do therefore; ONNX Runtime's keeps to the threads that it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from regrain.entropy.tables import LEVELS
from regrain.errors import ModelError

__all__ = ["ACTIVATION_MAX", "QUALITY_TOP", "Product", "ScaleBranch", "interpolate_offsets", "level", "scale_index"]

Whole = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Product: TypeAlias = Callable[[Bytes, NDArray[np.int8]], list[Whole]]
"""Matrices (N, K) and (K, M) to one of (N, M)."""

ACTIVATION_MAX = 127
EXACT_BELOW = 2**24
INDEX_STEP = 16
LEVEL_STEP, LEVEL_MAX, LEVEL_FROM = 8, 63, 254
AT_ONCE = 2**20
"""Bytes of the larger factor of a product: so memory stays bounded, and the factor in the cache."""
CONTEXT_SHIFT = 8
QUALITY_TOP = 25600
"""Quality 100 as the file stores it: q times 256."""


class IntegerConv:
    """A 3x3 convolution, zero-padded, of stored 8-bit weights, and a right shift with floor."""

    def __init__(
        self,
        weight: NDArray[Any],
        bias: NDArray[Any],
        shape: tuple[int, int],
        shift: int,
        most: int,
        product: Product,
    ) -> None:
        """Take weights (O, I, 3, 3) and biases (O,), where `shape` is (O, I), and how large inputs are at most.

        Raises ModelError if shapes differ, if weights take more than 8 bits, or if a sum could reach 2^24.
        """
        if weight.shape != (*shape, 3, 3) or bias.shape != shape[:1]:
            raise ModelError(
                f"scale branch: weights of shape {weight.shape} and biases {bias.shape}, not {(*shape, 3, 3)}"
            )
        if weight.dtype.kind != "i" or bias.dtype.kind != "i":
            raise ModelError("scale branch: its weights are no integers")
        if (np.abs(weight.astype(np.int64) + 0.5) > 128).any():
            raise ModelError("scale branch: its weights take more than 8 bits")
        sums = np.abs(weight.astype(float)).sum((1, 2, 3)) * most + np.abs(bias.astype(float))
        if sums.max(initial=0) >= EXACT_BELOW:
            raise ModelError("scale branch: its sums can reach 2^24, where the floats of training are no longer exact")
        self.matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)), np.int8)
        self.bias = bias.astype(np.int32)
        self.shift, self.product = shift, product

    def split(self, inputs: int) -> "tuple[IntegerConv, IntegerConv]":
        """The sums of the first inputs, with the bias, and those of the others, before the shift."""
        first, others = copy(self), copy(self)
        taps, first.shift, others.shift = self.matrix.reshape(9, -1, len(self.bias)), 0, 0
        first.matrix = np.ascontiguousarray(taps[:, :inputs].reshape(-1, len(self.bias)))
        others.matrix = np.ascontiguousarray(taps[:, inputs:].reshape(-1, len(self.bias)))
        others.bias = np.zeros_like(self.bias)
        return first, others

    @classmethod
    def stack(cls, convolutions: "Sequence[IntegerConv]") -> "IntegerConv":
        """Several of the same inputs as one, whose outputs are theirs one after the other."""
        made = copy(convolutions[0])
        made.matrix = np.concatenate([one.matrix for one in convolutions], axis=1)
        made.bias = np.concatenate([one.bias for one in convolutions])
        return made

    def __call__(self, x: NDArray[np.integer[Any]]) -> Whole:
        """(I, H, W), within +-127 -> (O, H, W)."""
        total = self._sums(x) if x.min(initial=0) >= 0 else self._sums(x.clip(0)) - self._sums((-x).clip(0))
        return np.ascontiguousarray(((total + self.bias) >> self.shift).transpose(2, 0, 1))

    def _sums(self, x: NDArray[np.integer[Any]]) -> Whole:
        """(I, H, W) in [0, 127] -> (H, W, O), without the bias."""
        inputs, height, width = x.shape
        padded = np.zeros((height + 2, width + 2, inputs), np.uint8)
        padded[1:-1, 1:-1] = x.transpose(1, 2, 0)
        squares = sliding_window_view(padded, (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
        total = np.empty((height, width, len(self.bias)), np.int32)
        rows = max(1, AT_ONCE // (9 * inputs * width))
        for top in range(0, height, rows):
            (sums,) = self.product(squares[top : top + rows].reshape(-1, 9 * inputs), self.matrix)
            total[top : top + rows] = sums.reshape(-1, *total.shape[1:])
        return total


class ScaleBranch:
    """h_s for scales: what z_hat (1/64) says of y (1/16), and what the context of each pass adds."""

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        hyper_channels: int,
        latent_channels: int,
        contexts: Sequence[tuple[int, int]],
        product: Product,
    ) -> None:
        """Take `latents.scale.*`; of each context the channels of y (known, out). Raises ModelError for other shapes.

        The widths of hidden layers are those of the arrays.
        """

        def layer(
            index: int, inputs: int, shift: int, most: int = ACTIVATION_MAX, out: int | None = None
        ) -> IntegerConv:
            weight, bias = (arrays[f"latents.scale.{index}.{kind}"] for kind in ("weight", "bias"))
            return IntegerConv(weight, bias, (bias.size if out is None else out, inputs), shift, most, product)

        first = layer(0, hyper_channels, 4)
        second = layer(1, len(first.bias), 8)
        hidden = len(second.bias)
        self.layers = [first, second, layer(2, hidden, 6, out=latent_channels)]
        apart: list[IntegerConv] = []
        for number, (known, out) in enumerate(contexts, start=1):
            first = layer(2 * number + 1, known + hidden, CONTEXT_SHIFT, LEVEL_MAX)
            own, shared = first.split(known)
            self.layers += [own, layer(2 * number + 2, len(first.bias), 6, out=out)]
            apart.append(shared)
        self.shared = IntegerConv.stack(apart) if apart else None
        self.ends = np.cumsum([len(one.bias) for one in apart])

    def __call__(self, z_hat: NDArray[np.int32]) -> tuple[Whole, Whole]:
        """z_hat (Z, H, W) -> what it says of y (C, 4H, 4W), and hidden (hidden, 4H, 4W) in [0, 127]."""
        x = np.clip(z_hat, -ACTIVATION_MAX, ACTIVATION_MAX)
        for layer in self.layers[:2]:
            x = np.clip(layer(x), 0, ACTIVATION_MAX).repeat(2, axis=1).repeat(2, axis=2)
        return self.layers[2](x), x

    def share(self, hidden: Whole) -> list[Whole]:
        """What z says to each context, (width, H, W), of `hidden` (hidden, H, W): all in one product."""
        return [] if self.shared is None else np.split(self.shared(hidden >> 1), self.ends[:-1])

    def context(self, number: int, levels: Bytes, shared: Whole) -> Whole:
        """What context `number` >= 1 adds, (out, H, W): levels of symbols (known, H, W), and what z says to it."""
        own, last = self.layers[2 * number + 1 : 2 * number + 3]
        return last(((own(levels) + shared) >> CONTEXT_SHIFT).clip(0, ACTIVATION_MAX))


def level(symbols: NDArray[np.int32]) -> Bytes:
    """How large symbols are, 8 steps an octave, linear between powers of 2: integers in [0, 63]."""
    levels: Bytes = _level_table()[np.abs(symbols.clip(-LEVEL_FROM, LEVEL_FROM))]
    return levels


@cache
def _level_table() -> Bytes:
    """The levels of 0 to LEVEL_FROM."""
    part, octave = np.frexp(1.0 + np.arange(LEVEL_FROM + 1))
    levels: Bytes = (LEVEL_STEP * (octave - 1) + np.floor(LEVEL_STEP * (2 * part - 1))).astype(np.uint8)
    return levels


def scale_index(total: NDArray[np.integer[Any]]) -> Bytes:
    """Scale indices in [0, 63] of integers in 1/16 of an index."""
    return ((total + INDEX_STEP // 2) // INDEX_STEP).clip(0, LEVELS - 1).astype(np.uint8)


def interpolate_offsets(offsets: NDArray[np.int32], quality: int) -> NDArray[np.int64]:
    """Stored offsets (anchors, C) -> those (C,) at quality q times 256, in integers alone."""
    position = quality * (len(offsets) - 1)
    left = min(position // QUALITY_TOP, len(offsets) - 2)
    part = position - left * QUALITY_TOP
    here, there = offsets[left : left + 2].astype(np.int64)
    offset: NDArray[np.int64] = (here * (QUALITY_TOP - part) + there * part + QUALITY_TOP // 2) // QUALITY_TOP
    return offset
