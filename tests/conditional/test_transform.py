"""The ground beneath the learned transforms: orthonormal, invertible on its range, and a codec before any training."""

import numpy as np
import pytest
import torch

from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.conditional.dct import dct_basis
from regrain.conditional.transform import project, sketch
from regrain.diffusion.unet import DenoiserConfig
from regrain_lab.trainable.codec import ConditionalCodec


def picture() -> torch.Tensor:
    """Smooth waves of three colours, (1, 3, 64, 96) in [-1, 1]."""
    row, column = np.mgrid[:64, :96].astype(np.float32)
    waves = [np.sin(row / 9), np.cos((row + column) / 14), np.sin(column / 11 - row / 20)]
    return torch.from_numpy(np.stack(waves))[None] * 0.9


def test_all_coefficients_give_the_picture_back():
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    torch.testing.assert_close(sketch(project(x, 768)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 12, 256])
def test_a_sketch_has_the_coefficients_it_was_drawn_from(channels):
    y = torch.randn(2, channels, 2, 3)
    torch.testing.assert_close(project(sketch(y), channels), y, atol=1e-4, rtol=1e-3)


def test_spread_falls_and_the_first_channel_is_light():
    spread = dct_basis(256)[1]
    assert bool((np.diff(spread) <= 0).all())
    flat = project(torch.ones(1, 3, 16, 16), 256).flatten()
    assert float(flat[0]) == pytest.approx(float(768**0.5 / spread[0]), rel=1e-4)
    assert float(flat[1:].abs().max()) < 1e-3


def test_smooth_pictures_need_few_coefficients():
    x = picture()
    errors = [float((sketch(project(x, n)) - x).square().mean()) for n in (3, 48, 192)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


def test_autocast_does_not_touch_it():
    x = picture()
    with torch.autocast("cpu", torch.bfloat16):
        found = sketch(project(x, 64))
    assert torch.equal(found, sketch(project(x, 64)))


@torch.no_grad()
def test_an_untrained_codec_is_a_transform_codec_already():
    """Quality 100 keeps the picture, quality 0 its outline, and the finer one costs more."""
    torch.manual_seed(0)
    config = ModelConfig(TransformConfig(widths=(8, 8, 8)), DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1)))
    codec, x = ConditionalCodec(config).eval(), picture()[:, :, :, :64]
    error, bits = [], []
    for quality in (0.0, 1.0):
        q, zero = torch.tensor([quality]), torch.zeros(1)
        coded = codec.code(x, q)
        x_hat = codec.denoiser(torch.zeros_like(x), zero + 1, coded.y_hat, q, zero)
        error.append(float((x_hat - x).square().mean()))
        bits.append(float(coded.y_bits))
    assert error[1] < 1e-3 < error[0] < 0.1
    assert bits[0] < bits[1]


def test_what_was_first_used_in_inference_mode_still_trains():
    y = torch.randn(1, 7, 2, 2, requires_grad=True)
    with torch.inference_mode():
        sketch(torch.zeros(1, 7, 2, 2))
    sketch(y).sum().backward()
    assert y.grad is not None
