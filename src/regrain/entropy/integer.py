"""The integer wall in NumPy: z and decoded symbols -> scale indices, the same on every machine.

    a_{l+1} = clamp( floor( (sum w a_l + b) / 2^shift ), 0, 127 )
    index   = clamp( floor( (a_L + context + offset(quality, channel)) / 16 + 1/2 ), 0, 63 )

Integers are held in float64. A convolution is nine matrix products, one a tap, and a matrix product only adds and
multiplies: with every sum below 2^24 and so far below 2^53, each is exact whatever the order of addition, fused or not.
Any product will do therefore; ONNX Runtime's keeps to the threads that it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain.entropy.tables import LEVELS
from regrain.errors import ModelError

__all__ = ["ACTIVATION_MAX", "QUALITY_TOP", "Product", "ScaleBranch", "interpolate_offsets", "level", "scale_index"]

Whole = NDArray[np.float64]
"""Integers held in floats."""
Product: TypeAlias = Callable[[Whole, Whole], list[Whole]]
"""Matrices (M, K) and (K, N) to one of (M, N)."""

ACTIVATION_MAX = 127
EXACT_BELOW = 2**24
INDEX_STEP = 16
LEVEL_STEP, LEVEL_MAX = 8, 63
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

        Raises ModelError if shapes differ, or if a sum could reach 2^24.
        """
        if weight.shape != (*shape, 3, 3) or bias.shape != shape[:1]:
            raise ModelError(
                f"scale branch: weights of shape {weight.shape} and biases {bias.shape}, not {(*shape, 3, 3)}"
            )
        if weight.dtype.kind != "i" or bias.dtype.kind != "i":
            raise ModelError("scale branch: its weights are no integers")
        self.taps = np.ascontiguousarray(weight.transpose(2, 3, 0, 1), np.float64)
        self.bias = bias.astype(np.float64)
        self.shift, self.product = shift, product
        if (np.abs(self.taps).sum((0, 1, 3)) * most + np.abs(self.bias)).max(initial=0) >= EXACT_BELOW:
            raise ModelError("scale branch: its sums can reach 2^24, where float32 is no longer exact")

    def __call__(self, x: Whole) -> Whole:
        """(I, H, W) -> (O, H, W)."""
        height, width = x.shape[1:]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        total = np.repeat(self.bias[:, None], height * width, axis=1)
        for row, column in np.ndindex(3, 3):
            seen = padded[:, row : row + height, column : column + width]
            total += self.product(self.taps[row, column], seen.reshape(len(x), -1))[0]
        shifted: Whole = np.floor(total / 2**self.shift)
        return shifted.reshape(-1, height, width)


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
        for number, (known, out) in enumerate(contexts, start=1):
            first = layer(2 * number + 1, known + hidden, 8, LEVEL_MAX)
            self.layers += [first, layer(2 * number + 2, len(first.bias), 6, out=out)]

    def __call__(self, z_hat: NDArray[np.int32]) -> tuple[Whole, Whole]:
        """z_hat (Z, H, W) -> what it says of y (C, 4H, 4W), and hidden (hidden, 4H, 4W) in [0, 127]."""
        x: Whole = np.clip(z_hat.astype(np.float64), -ACTIVATION_MAX, ACTIVATION_MAX)
        for layer in self.layers[:2]:
            x = np.clip(layer(x), 0, ACTIVATION_MAX).repeat(2, axis=1).repeat(2, axis=2)
        return self.layers[2](x), x

    def context(self, number: int, symbols: NDArray[np.int32], hidden: Whole) -> Whole:
        """What context `number` >= 1 adds, (out, H, W): symbols (known, H, W), and `hidden` of those places."""
        first, last = self.layers[2 * number + 1 : 2 * number + 3]
        seen = np.concatenate([level(symbols), np.floor(hidden / 2)])
        return last(np.clip(first(seen), 0, ACTIVATION_MAX))


def level(symbols: NDArray[np.int32]) -> Whole:
    """How large symbols are, 8 steps an octave, linear between powers of 2: integers in [0, 63]."""
    part, octave = np.frexp(np.minimum(1 + np.abs(symbols.astype(np.float64)), 2**8 - 1))
    levels: Whole = LEVEL_STEP * (octave - 1) + np.floor(LEVEL_STEP * (2 * part - 1))
    return levels


def scale_index(total: Whole) -> NDArray[np.int64]:
    """Scale indices in [0, 63] of integers in 1/16 of an index."""
    return np.clip(np.floor(total / INDEX_STEP + 0.5), 0, LEVELS - 1).astype(np.int64)


def interpolate_offsets(offsets: NDArray[np.int32], quality: int) -> NDArray[np.int64]:
    """Stored offsets (anchors, C) -> those (C,) at quality q times 256, in integers alone."""
    position = quality * (len(offsets) - 1)
    left = min(position // QUALITY_TOP, len(offsets) - 2)
    part = position - left * QUALITY_TOP
    here, there = offsets[left : left + 2].astype(np.int64)
    offset: NDArray[np.int64] = (here * (QUALITY_TOP - part) + there * part + QUALITY_TOP // 2) // QUALITY_TOP
    return offset
