"""Each network on ONNX Runtime gives what torch's module with the same weights gives."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conditional.tiny import arrays, codec
from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.conditional.onnx_backend import OnnxNetworks
from regrain.conditional.torch_backend import TorchNetworks
from regrain.conditional.transform import sketch
from regrain.diffusion.unet_config import DenoiserConfig
from regrain_lab.trainable.codec import freeze

few = settings(max_examples=6, deadline=None)
WIDTHS = st.tuples(*[st.integers(1, 20)] * 3)
TINY = DenoiserConfig(widths=(4, 4, 4), depths=(0, 0, 0), half=2, embedding=4)


def networks(config: ModelConfig) -> tuple[OnnxNetworks, TorchNetworks]:
    """Random networks on either backend; weights are of 16 bits, as they are stored."""
    tensors = freeze(codec(config, noise=0.1))
    return OnnxNetworks(arrays(tensors), config), TorchNetworks.build(arrays(tensors), config)


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[0]).standard_normal(shape).astype(np.float32)


def close(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype == np.float32
    scale = max(1.0, float(np.abs(other).max()))
    np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)


@few
@given(WIDTHS, st.integers(1, 40))
def test_the_analysis(widths, latent):
    onnx, torch_ = networks(ModelConfig(TransformConfig(widths, latent, 4, 4, 3, ()), TINY))
    for one, other in zip(onnx.analysis(image(3, 48, 32)), torch_.analysis(image(3, 48, 32)), strict=True):
        assert one.shape == (latent, 3, 2)
        close(one, other)


@few
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
def test_the_hyper_analysis(latent, hyper, width):
    onnx, torch_ = networks(ModelConfig(TransformConfig((4, 4, 4), latent, hyper, width, 3, ()), TINY))
    gained = 1000 * image(latent, 8, 12)
    close(onnx.hyper_analysis(gained), torch_.hyper_analysis(gained))


@few
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (2, 5), (3,)]))
def test_the_mean_branch(hyper, width, slices):
    transform = TransformConfig((4, 4, 4), 8, hyper, width, 3, slices, context=5, shared=3)
    onnx, torch_ = networks(ModelConfig(transform, TINY))
    z_hat = np.rint(9 * image(hyper, 2, 3))
    ours, theirs = onnx.hyper_synthesis(z_hat), torch_.hyper_synthesis(z_hat)
    for one, other in zip(ours, theirs, strict=True):
        close(one, other)
    for number, context in enumerate(torch_.h_s.contexts, start=1):
        y_hat = image(context[0].in_channels - 3, 8, 12)
        close(onnx.context(number, y_hat, ours[1]), torch_.context(number, y_hat, theirs[1]))


@few
@given(WIDTHS, st.tuples(*[st.integers(0, 2)] * 3), st.integers(1, 40), st.sampled_from(["x0", "eps", "v"]))
def test_the_denoiser(widths, depths, latent, prediction):
    shape = DenoiserConfig(widths=widths, depths=depths, half=3, embedding=6)
    onnx, torch_ = networks(ModelConfig(TransformConfig((4, 4, 4), latent, 4, 4, 3, ()), shape, prediction))
    x_t, y_hat = image(3, 32, 48), 20 * image(latent, 2, 3)
    close(onnx.denoise(x_t, 0.7, y_hat, 0.2, 1.0), torch_.denoise(x_t, 0.7, y_hat, 0.2, 1.0))


def test_the_sketch_is_that_of_the_basis():
    onnx, _ = networks(ModelConfig(TransformConfig((4, 4, 4), 100, 4, 4, 3, ()), TINY))
    y = torch.randn(1, 100, 3, 2, generator=torch.Generator().manual_seed(0))
    x = sketch(y)[0].numpy()
    np.testing.assert_allclose(onnx.analysis(x)[1], y[0], atol=1e-4)
