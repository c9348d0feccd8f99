"""The autoencoder: shapes, no seams between windows."""

import pytest
import torch

from regrain import configuration
from regrain.palette.autoencoder import STRIDE, Autoencoder, AutoencoderConfig
from regrain.tiles import apply_in_windows

SMALL = AutoencoderConfig(encoder=(8, 12), encoder_depths=(1, 1), decoder=(8, 12), decoder_depths=(1, 1), half=6)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = Autoencoder(SMALL)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.requires_grad_(False)


def test_latents_are_an_eighth_and_pictures_come_back_whole(network):
    x = torch.rand(2, 3, 40, 64)
    mean, log_var = network.encode(x)
    assert mean.shape == log_var.shape == (2, 4, 40 // STRIDE, 64 // STRIDE)
    assert network.decode(mean).shape == x.shape


def test_untrained_the_posterior_is_narrow_and_the_same_everywhere():
    _, log_var = Autoencoder(SMALL).encode(torch.rand(1, 3, 32, 32))
    assert (log_var == -4).all()


def test_windows_of_latents_decode_as_the_whole(network):
    latents = torch.randn(4, 24, 40, generator=torch.Generator().manual_seed(1))

    def decode(part):
        return network.decode(part[None])[0]

    whole = decode(latents)
    window = lambda part: decode(torch.from_numpy(part)).detach().numpy()  # noqa: E731
    parts = torch.from_numpy(apply_in_windows(window, latents.numpy(), side=16, halo=8, scale=STRIDE))
    assert parts.shape == whole.shape
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4 * float(whole.std()))


def test_a_config_comes_back_from_plain_types():
    assert configuration.read(AutoencoderConfig, SMALL.to_dict(), "autoencoder") == SMALL
    assert configuration.read(AutoencoderConfig, {"encoder": [8, 12], "decoder": [8, 12]}, "").encoder == (8, 12)
