"""Graphs give what torch's modules with the same weights give, and the bytes are ONNX as its own package reads it."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

from regrain import layers
from regrain.errors import ModelError
from regrain.onnx import blocks, wire
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network, matrix_product


def scrambled(module: nn.Module) -> nn.Module:
    """Every weight random, those too that begin at zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5 / max(1, parameter[0].numel()) ** 0.5)
    return module.eval().requires_grad_(False)


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def image(*shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(shape[0]))


def close(found: np.ndarray, wanted: torch.Tensor) -> None:
    np.testing.assert_allclose(found, wanted[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("add", "module"),
    [
        (lambda graph: graph.silu("x"), nn.SiLU()),
        (lambda graph: graph.norm("x"), layers.PixelNorm()),
        (lambda graph: graph.shuffle("x", 2), nn.PixelShuffle(2)),
        (lambda graph: graph.shuffle("x", 4), nn.PixelShuffle(4)),
        (lambda graph: graph.node("Asinh", "x"), torch.asinh),
        (lambda graph: graph.sum("x", "x"), lambda x: x + x),
    ],
)
def test_an_operation(add, module):
    x, graph = image(48, 6, 4) * 100, Graph({}, "x")
    close(graph.network(add(graph))(x[0].numpy())[0], module(x))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution(kernel, stride):
    module = scrambled(nn.Sequential(layers.conv(5, 7, kernel, stride)))
    x, graph = image(5, 6, 8), Graph(weights(module), "x")
    close(graph.network(blocks.conv(graph, "x", "0", (5, 7), kernel=kernel, stride=stride))(x[0].numpy())[0], module(x))


def test_a_block_of_another_shape_is_refused():
    module = scrambled(layers.ResidualBlock(4))
    named = {f"block.{name}": array for name, array in weights(module).items()}
    graph = Graph(named, "x")
    x = image(4, 6, 4)
    close(graph.network(blocks.residual(graph, "x", "block", 4))(x[0].numpy())[0], module(x))
    with pytest.raises(ModelError, match=r"block.conv1.weight is \(4, 4, 3, 3\), not \(5, 5, 3, 3\)"):
        blocks.residual(Graph(named, "x"), "x", "block", 5)
    with pytest.raises(ModelError, match=r"hold no block\.conv2\.bias"):
        blocks.residual(Graph({n: a for n, a in named.items() if n != "block.conv2.bias"}, "x"), "x", "block", 4)


def test_weights_that_do_not_fit_are_refused():
    module = scrambled(layers.Embedding(2, 3))
    with pytest.raises(ModelError, match="no layer for"):
        Graph(weights(module), "x").network("x")
    graph = Graph({"0.weight": np.zeros((4, 5, 3, 3), np.float32), "0.bias": np.zeros(6, np.float32)}, "x")
    with pytest.raises(ModelError, match="biases"):
        graph.convolve("x", graph.weight("0.weight"), graph.weight("0.bias"))
    graph = Graph({}, "x")
    narrow = graph.convolve("x", np.zeros((4, 5, 1, 1), np.float32))
    network = graph.network(graph.convolve(narrow, np.zeros((4, 5, 1, 1), np.float32)))
    with pytest.raises(ModelError, match=r"do not fit|no network"):
        network(np.zeros((5, 1, 1), np.float32))
    with pytest.raises(ModelError, match="no network"):
        Network(lambda: b"no graph", ("x",))(np.zeros((1, 1, 1), np.float32))


def test_the_bytes_are_onnx():
    """The package `onnx` reads them, finds nothing wrong, and writes them again as they are."""
    checker = pytest.importorskip("onnx.checker")
    from onnx import ModelProto, numpy_helper

    weight = np.arange(12, dtype=np.float32).reshape(1, 12, 1, 1)
    graph = Graph({"0.weight": weight, "0.bias": np.array([-1.5], np.float32)}, "x", "y")
    both = graph.node("Concat", "x", "y", axis=1)
    mixed = graph.convolve(both, graph.weight("0.weight"), graph.weight("0.bias"))
    data = graph.network(mixed, graph.shuffle(both)).write()
    model = ModelProto.FromString(data)
    checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Concat", "Conv", "DepthToSpace"]
    assert [entry.name for entry in model.graph.input] == ["x", "y"]
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), weight)
    assert (model.ir_version, model.opset_import[0].version) == (wire.IR_VERSION, wire.OPERATORS)
    assert ModelProto.FromString(model.SerializeToString()) == model
    product = ModelProto.FromString(matrix_product().write())
    checker.check_model(product, full_check=True)
