"""Blocks of `layers` -> nodes, each weight of the shape that a configuration asks for.

    film(x) = x + conv2(silu(conv1(silu(x)) (1 + scale) + shift))        residual(x) = x + conv2(silu(conv1(silu(x))))

Every function adds its nodes to a graph and returns the name of what comes out. Invariants: a block gives what torch's
with the same weights gives; weights of another shape than the configuration's raise ModelError, as `checkpoint` does.
"""

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError
from regrain.onnx.graph import Graph

__all__ = ["conv", "embedding", "film", "linear", "patch_major", "patches", "residual", "upsample"]

FREQUENCIES = 8


def conv(graph: Graph, x: str, name: str, shape: tuple[int, int], *, kernel: int = 3, stride: int = 1) -> str:
    """The convolution of that name; `shape` is its channels (in, out). At stride 2 it halves even sides."""
    return graph.convolve(x, *_weights(graph, name, (shape[1], shape[0], kernel, kernel)), stride, name)


def linear(graph: Graph, x: str, name: str, shape: tuple[int, int]) -> str:
    """The linear layer of that name on a vector (in, 1, 1); `shape` is (in, out)."""
    weight, bias = _weights(graph, name, shape[::-1])
    return graph.convolve(x, weight[:, :, None, None], bias)


def patches(graph: Graph, x: str, name: str, factor: int, shape: tuple[int, int]) -> str:
    """PixelUnshuffle and a 3x3 convolution: (C, H, W) -> (out, H / factor, W / factor); `shape` is (C factor^2, out).

    ONNX's SpaceToDepth orders channels (place, channel) and torch's PixelUnshuffle (channel, place): the weights are
    reordered.
    """
    weight, bias = _weights(graph, name, (shape[1], shape[0], 3, 3))
    if factor == 1:
        return graph.convolve(x, weight, bias)
    return graph.convolve(graph.node("SpaceToDepth", x, blocksize=factor), patch_major(weight, factor), bias)


def patch_major(weight: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Weights (O, C factor^2, k, k) for channels in the order (channel, place), in the order (place, channel)."""
    split = weight.reshape(len(weight), -1, factor**2, *weight.shape[2:]).swapaxes(1, 2)
    return np.ascontiguousarray(split).reshape(weight.shape)


def upsample(graph: Graph, x: str, name: str, shape: tuple[int, int]) -> str:
    """`layers.Upsample`: (in, H, W) -> (out, 2 H, 2 W)."""
    return graph.shuffle(conv(graph, x, f"{name}.conv", (shape[0], 4 * shape[1]), kernel=1))


def residual(graph: Graph, x: str, name: str, width: int) -> str:
    """`layers.ResidualBlock`, (width, H, W) -> the same shape."""
    hidden = conv(graph, graph.silu(x), f"{name}.conv1", (width, width))
    return graph.sum(x, conv(graph, graph.silu(hidden), f"{name}.conv2", (width, width)))


def film(graph: Graph, x: str, name: str, width: int, vector: tuple[str, int]) -> str:
    """`layers.FilmBlock`, (width, H, W) -> the same shape; `vector` is the embedding's name and size."""
    matrix, bias = _weights(graph, f"{name}.film", (2 * width, vector[1]))
    (scale, shift), (scales, shifts) = np.split(matrix[:, :, None, None], 2), np.split(bias.astype(np.float32), 2)
    factor = graph.convolve(vector[0], scale, 1 + scales)
    hidden = graph.node("Mul", conv(graph, graph.silu(x), f"{name}.conv1", (width, width)), factor)
    hidden = graph.sum(hidden, graph.convolve(vector[0], shift, shifts))
    return graph.sum(x, conv(graph, graph.silu(hidden), f"{name}.conv2", (width, width)))


def embedding(graph: Graph, scalars: str, name: str, count: int, size: int) -> str:
    """`layers.Embedding`: `count` scalars in [0, 1], (count, 1, 1) -> a vector (size, 1, 1)."""
    angles = np.kron(np.eye(count), np.pi * np.arange(1, FREQUENCIES + 1)[:, None]).astype(np.float32)
    features = graph.node("Cos", graph.convolve(scalars, angles[:, :, None, None]))
    hidden = graph.silu(linear(graph, features, f"{name}.mlp.0", (count * FREQUENCIES, size)))
    return graph.silu(linear(graph, hidden, f"{name}.mlp.2", (size, size)))


def _weights(graph: Graph, name: str, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights and biases of that name. Raises ModelError where they are missing or of another shape."""
    weight, bias = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    for part, array, wanted in (("weight", weight, shape), ("bias", bias, shape[:1])):
        if array.shape != wanted:
            raise ModelError(f"{name}.{part} is {array.shape}, not {wanted}")
    return weight, bias
