"""The two hyperpriors: their files come back, z says something, and rates that train are rates of files."""

import numpy as np
import pytest
import torch

from experiments.baselines.hyperprior import Divisive, Hyperprior, HyperpriorConfig, decode, encode
from regrain.errors import Corrupt
from regrain.image import to_bytes, to_signed

KINDS = ("scale", "mean-scale")


@pytest.fixture(params=KINDS)
def model(request) -> Hyperprior:
    torch.manual_seed(0)
    return Hyperprior(HyperpriorConfig(request.param, width=8, latent=12)).eval()


def picture(height, width):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (37, 70), (64, 64)])
def test_a_file_comes_back_as_the_encoder_had_it(model, size):
    pixels = picture(*size)
    data = encode(model, pixels, 40)
    back = decode(model, data)
    assert back.shape == pixels.shape
    assert (back == decode(model, data)).all()
    if size == (64, 64):
        with torch.inference_mode():
            gain, x = model.gain(torch.tensor([0.4])), torch.from_numpy(to_signed(pixels))[None]
            y = model.g_a(x)
            mean, _ = model.statistics(model.hyper(gain * y).round(), gain)
            expected = model.g_s((gain * (y - mean)).round() / gain + mean)[0]
        assert np.abs(back.astype(int) - to_bytes(expected.numpy(), False)).max() <= 1


def test_damage_is_noticed(model):
    data = bytearray(encode(model, picture(64, 64), 50))
    data[len(data) // 2] ^= 1
    with pytest.raises(Corrupt):
        decode(model, bytes(data))


def test_quality_costs_bytes(model):
    sizes = [len(encode(model, picture(64, 64), quality)) for quality in (0, 50, 100)]
    assert sizes == sorted(set(sizes))


def test_z_says_scales_and_in_one_of_them_means(model):
    gain, z = model.gain(torch.tensor([0.5])), torch.zeros(1, 8, 1, 1)
    (mean, index), (other_mean, other_index) = (model.statistics(values, gain) for values in (z, z + 5))
    assert not torch.equal(index, other_index)
    assert torch.equal(mean, other_mean) == (model.config.kind == "scale")
    assert bool(other_mean.any()) == (model.config.kind == "mean-scale")


def test_bits_of_training_are_those_of_files(model):
    pixels = picture(192, 192)
    x = torch.from_numpy(to_signed(pixels))[None]
    with torch.no_grad():
        coded = model(x, torch.tensor([0.6]))
    bits = 8 * len(encode(model, pixels, 60))
    assert bits == pytest.approx(float(coded.y_bits + coded.z_bits), rel=0.05)


def test_divisive_normalisation_and_its_inverse():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 5)
    forward, inverse = Divisive(4), Divisive(4, inverse=True)
    root = (torch.einsum("dc,bchw->bdhw", forward.gamma**2, x**2) + (forward.beta**2 + 1e-6)[:, None, None]).sqrt()
    torch.testing.assert_close(forward(x), x / root)
    torch.testing.assert_close(inverse(x), x * root)
