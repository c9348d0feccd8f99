"""Layers -> nodes: what `layers` builds of torch's modules, as operations of ONNX, on float32 (1, C, H, W).

    silu(x) = x sigmoid(x)        norm(x) = x / sqrt(mean_c x^2 + 0.01)
    shuffle(x)[c, r i + p, r j + q] = x[c r^2 + p r + q, i, j]

Every method adds its nodes and returns the name of what comes out. Invariant: a graph gives what torch's module with
the same weights gives. Where ranges are known of what enters and leaves a convolution it runs on bytes, in a quarter of
its time, and gives nearly that (`onnx.byte_convolution`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError, quote
from regrain.onnx import wire
from regrain.onnx.byte_convolution import ByteConvolution, on_bytes
from regrain.onnx.network import Network, exact_products

__all__ = ["Graph", "Weights"]

Weights = Mapping[str, NDArray[np.float32]]

NORM_FLOOR = 0.01


class Graph:
    """A network in the making, of weights named as torch's state dicts name them."""

    def __init__(self, weights: Weights, *inputs: str, ranges: Weights | None = None) -> None:
        """Begin with what comes in.

        Convolutions NAME of which `ranges` has `NAME.input`, (2,), and `NAME.output`, (2, O), each the least and the
        largest, run on bytes.
        """
        self.weights, self.inputs, self.ranges = weights, inputs, ranges or {}
        self.unused = set(weights)
        self.nodes: list[wire.Node] = []
        self.constants: dict[str, wire.Constant] = {}

    def network(self, *outputs: str) -> Network:
        """The network that gives these. Raises ModelError where the weights hold what no layer has asked for."""
        if self.unused:
            raise ModelError(f"the weights hold {quote(min(self.unused))}, which this network has no layer for")
        return Network(partial(wire.model, self.nodes, self.constants, self.inputs, outputs), self.inputs)

    def weight(self, name: str) -> NDArray[np.float32]:
        """The stored numbers of that name."""
        self.unused.discard(name)
        if name not in self.weights:
            raise ModelError(f"the weights hold no {name}")
        return self.weights[name]

    def node(self, kind: str, *inputs: str, **attributes: wire.Attribute) -> str:
        """Any operation of ONNX with one output."""
        output = f"{len(self.nodes)}:{kind}"
        self.nodes.append(wire.Node(kind, inputs, output, attributes))
        return output

    def constant(self, values: wire.Constant) -> str:
        """Numbers that never change, or what gives them when the graph is written."""
        name = f"constant {len(self.constants)}"
        self.constants[name] = values
        return name

    def convolve(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None, stride: int = 1,
        name: str = "",
    ) -> str:  # fmt: skip
        """A zero-padded convolution with weights (O, C, k, k) and biases (O,). Raises ModelError for other biases."""
        if weight.ndim != 4:
            raise ModelError(f"a layer has weights {weight.shape}, not (O, C, k, k)")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ModelError(f"a layer with weights {weight.shape} has biases {bias.shape}")
        kernel = weight.shape[2]
        shape = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
        if on_bytes(self.ranges, name):
            return self._convolve_bytes(x, ByteConvolution.of(weight, bias, self.ranges, name), shape)
        values = [self.constant(weight), *([] if bias is None else [self.constant(bias)])]
        return self.node("Conv", x, *values, **shape)

    def _convolve_bytes(self, x: str, own: ByteConvolution, shape: dict[str, Any]) -> str:
        """`convolve` on bytes."""
        enters, leaves = (
            [self.constant(np.array(scale.size, np.float32)), self.constant(np.array(scale.zero, np.uint8))]
            for scale in (own.enters, own.leaves)
        )
        signed = [lambda: own.kernel.weights, lambda: np.zeros(len(own.loudness), np.int8)]
        weights, zeros = (self.constant(partial(_multiplied, array)) for array in signed)
        kernel = weights, self.constant(lambda: own.kernel.scales), zeros
        quantized = self.node("QuantizeLinear", x, *enters)
        y = self.node(
            "QLinearConv", quantized, *enters, *kernel, *leaves, self.constant(lambda: own.kernel.shifts), **shape
        )
        factor = (own.leaves.size * own.loudness)[:, None, None].astype(np.float32)
        product = self.node("Mul", self.node("Cast", y, to=wire.FLOAT), self.constant(factor))
        return self.sum(product, self.constant(-own.leaves.zero * factor))

    def silu(self, x: str) -> str:
        """Swish, x times its sigmoid."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def norm(self, x: str, channels: int | None = None) -> str:
        """PixelNorm, pixel by pixel over the channels; of so many a convolution makes the mean, which is faster."""
        square = self.node("Mul", x, x)
        if channels is None:
            square = self.node("ReduceMean", square, axes=[1])
        else:
            square = self.convolve(square, np.full((1, channels, 1, 1), 1 / channels, np.float32))
        return self.node("Div", x, self.node("Sqrt", self.sum(square, self.constant(np.array(NORM_FLOOR, np.float32)))))

    def shuffle(self, x: str, factor: int = 2) -> str:
        """PixelShuffle: channels to `factor` times the height and width."""
        return self.node("DepthToSpace", x, blocksize=factor, mode="CRD")

    def sum(self, *terms: str) -> str:
        """Two images, added."""
        return self.node("Add", *terms)


def _multiplied(array: Callable[[], NDArray[np.int8]]) -> NDArray[Any]:
    """Signed bytes as products take them: unsigned ones are exact everywhere, and slower where others are exact too."""
    return array() if exact_products() else (array().astype(np.int16) + 128).astype(np.uint8)
