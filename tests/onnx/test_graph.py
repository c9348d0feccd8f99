"""Graphs give what torch's modules with the same weights give, and the bytes are ONNX as its own package reads it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("onnxruntime")

from regrain import layers
from regrain.conditional import basis
from regrain.conditional.model import ModelConfig, build_denoiser
from regrain.conditional.transform import MeanBranch, TransformConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.errors import ModelError
from regrain.onnx import networks, wire
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network

few = settings(max_examples=6, deadline=None)
WIDTHS = st.tuples(*[st.integers(1, 20)] * 3)


def scrambled(module: nn.Module) -> nn.Module:
    """Every weight random, those too that begin at zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5 / max(1, parameter[0].numel()) ** 0.5)
    return module.eval().requires_grad_(False)


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def beneath(named: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


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
    close(Network(graph.bytes(add(graph)))(x[0].numpy())[0], module(x))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution(kernel, stride):
    module = scrambled(nn.Sequential(layers.conv(5, 7, kernel, stride)))
    x, graph = image(5, 6, 8), Graph(weights(module), "x")
    close(Network(graph.bytes(graph.conv("x", "0", stride)))(x[0].numpy())[0], module(x))


@few
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (2, 5), (3,)]))
def test_the_mean_branch(hyper, width, slices):
    config = TransformConfig(latent=8, hyper=hyper, hyper_width=width, slices=slices, context=5, shared=3)
    module = scrambled(MeanBranch(config))
    z_hat, named = image(hyper, 2, 3) * 9, weights(module)
    own = {name: value for name, value in named.items() if not name.startswith("contexts.")}
    found, wanted = Network(networks.mean(own))(z_hat[0].numpy()), module(z_hat)
    for one, other in zip(found, wanted, strict=True):
        close(one, other)
    for number, context in enumerate(module.contexts, start=1):
        y_hat = image(context[0].in_channels - 3, 8, 12)
        graph = networks.context(beneath(named, f"contexts.{number - 1}."))
        close(Network(graph)(y_hat[0].numpy(), found[1])[0], module.context(number, y_hat, wanted[1]))


@few
@given(WIDTHS, st.tuples(*[st.integers(0, 2)] * 3), st.integers(1, 40), st.sampled_from(["x0", "eps", "v"]))
def test_the_denoiser(widths, depths, latent, prediction):
    shape = DenoiserConfig(widths=widths, depths=depths, half=3, embedding=6)
    config = ModelConfig(transform=TransformConfig(latent=latent), denoiser=shape, prediction=prediction)
    module = scrambled(build_denoiser(config))
    x_t, cond, knobs = image(3, 32, 48), image(latent, 2, 3) * 20, torch.tensor([0.7, 0.2, 1.0])
    run = Network(networks.denoiser(weights(module), corrects=prediction == "x0"))
    (found,) = run(x_t[0].numpy(), cond[0].numpy(), knobs[:, None, None].numpy())
    wanted = module(x_t, knobs[:1], cond, knobs[1:2], knobs[2:])
    scale = max(1.0, float(wanted.abs().max()))
    np.testing.assert_allclose(found / scale, wanted[0] / scale, atol=1e-5)


def test_the_sketch_is_the_same(torch_model, onnx_model):
    cond = image(256, 3, 2)
    graph = Graph({}, "cond")
    matrix = basis._kept(256)[0].T * basis.spread(256)
    sketch = graph.shuffle(graph.convolve("cond", matrix[:, :, None, None].numpy()), basis.BLOCK)
    close(Network(graph.bytes(sketch))(cond[0].numpy())[0], basis.sketch(cond))


def test_weights_that_do_not_fit_are_refused():
    module = scrambled(layers.Embedding(2, 3))
    with pytest.raises(ModelError, match="no layer for"):
        Graph(weights(module), "x").bytes("x")
    graph = Graph({"0.weight": np.zeros((4, 5, 3, 3), np.float32), "0.bias": np.zeros(6, np.float32)}, "x")
    with pytest.raises(ModelError, match="biases"):
        graph.conv("x", "0")
    graph = Graph({}, "x")
    narrow = graph.convolve("x", np.zeros((4, 5, 1, 1), np.float32))
    network = Network(graph.bytes(graph.convolve(narrow, np.zeros((4, 5, 1, 1), np.float32))))
    with pytest.raises(ModelError, match="do not fit"):
        network(np.zeros((5, 1, 1), np.float32))
    with pytest.raises(ModelError, match="no network"):
        Network(b"no graph")


def test_memory_that_runs_out_is_that(monkeypatch):
    graph = Graph({}, "x")
    network = Network(graph.bytes(graph.silu("x")))

    class Session:
        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] Failed to allocate memory for requested buffer\nof size 9")

    monkeypatch.setattr(network, "_session", Session())
    with pytest.raises(MemoryError, match="requested buffer of size 9"):
        network(np.zeros((1, 1, 1), np.float32))


def test_the_bytes_are_onnx():
    """The package `onnx` reads them, finds nothing wrong, and writes them again as they are."""
    checker = pytest.importorskip("onnx.checker")
    from onnx import ModelProto, numpy_helper

    weight = np.arange(12, dtype=np.float32).reshape(1, 12, 1, 1)
    graph = Graph({"0.weight": weight, "0.bias": np.array([-1.5], np.float32)}, "x", "y")
    both = graph.node("Concat", "x", "y", axis=1)
    data = graph.bytes(graph.conv(both, "0"), graph.shuffle(both))
    model = ModelProto.FromString(data)
    checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Concat", "Conv", "DepthToSpace"]
    assert [entry.name for entry in model.graph.input] == ["x", "y"]
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), weight)
    assert (model.ir_version, model.opset_import[0].version) == (wire.IR_VERSION, wire.OPERATORS)
    assert ModelProto.FromString(model.SerializeToString()) == model
    product = ModelProto.FromString(networks.product())
    checker.check_model(product, full_check=True)


@pytest.mark.parametrize(("said", "threads"), [("3", 3), (" 2,1", 2), ("0", None), ("", None), ("many", None)])
def test_threads_are_those_of_the_environment(said, threads, monkeypatch):
    from regrain.onnx import network

    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(network.os, "sched_getaffinity", lambda _: {4, 5, 7, 9, 11}, raising=False)
    assert network._threads() == (threads or 5)
