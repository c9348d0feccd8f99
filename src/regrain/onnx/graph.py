"""Layers -> nodes: what `layers` builds of torch's modules, as operations of ONNX, on float32 (1, C, H, W).

    silu(x) = x sigmoid(x)        norm(x) = x / sqrt(mean_c x^2 + 0.01)
    shuffle(x)[c, r i + p, r j + q] = x[c r^2 + p r + q, i, j]

Every method adds its nodes and returns the name of what comes out. Invariant: a graph gives what torch's module with
the same weights gives.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError, quote
from regrain.onnx import wire
from regrain.onnx.network import Network

__all__ = ["Graph", "Weights"]

Weights = Mapping[str, NDArray[np.float32]]

NORM_FLOOR = 0.01


class Graph:
    """A network in the making, of weights named as torch's state dicts name them."""

    def __init__(self, weights: Weights, *inputs: str) -> None:
        """Begin with what comes in."""
        self.weights, self.inputs = weights, inputs
        self.unused = set(weights)
        self.nodes: list[wire.Node] = []
        self.constants: dict[str, NDArray[np.float32]] = {}

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

    def constant(self, values: NDArray[np.float32]) -> str:
        """Numbers that never change."""
        name = f"constant {len(self.constants)}"
        self.constants[name] = values
        return name

    def convolve(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None, stride: int = 1
    ) -> str:
        """A zero-padded convolution with weights (O, C, k, k) and biases (O,). Raises ModelError for other biases."""
        if weight.ndim != 4:
            raise ModelError(f"a layer has weights {weight.shape}, not (O, C, k, k)")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ModelError(f"a layer with weights {weight.shape} has biases {bias.shape}")
        kernel = weight.shape[2]
        values = [self.constant(weight), *([] if bias is None else [self.constant(bias)])]
        shape = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
        return self.node("Conv", x, *values, **shape)

    def silu(self, x: str) -> str:
        """Swish, x times its sigmoid."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def norm(self, x: str) -> str:
        """PixelNorm, pixel by pixel over the channels."""
        square = self.node("ReduceMean", self.node("Mul", x, x), axes=[1])
        return self.node("Div", x, self.node("Sqrt", self.sum(square, self.constant(np.array(NORM_FLOOR, np.float32)))))

    def shuffle(self, x: str, factor: int = 2) -> str:
        """PixelShuffle: channels to `factor` times the height and width."""
        return self.node("DepthToSpace", x, blocksize=factor, mode="CRD")

    def sum(self, *terms: str) -> str:
        """Two images, added."""
        return self.node("Add", *terms)
