"""The palette's autoencoder as graphs gives what torch's with the same weights gives; others are refused in a line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("onnxruntime")

from regrain.errors import ModelError
from regrain.onnx import palette
from regrain.palette.autoencoder import Autoencoder, AutoencoderConfig

few = settings(max_examples=8, deadline=None)
PAIR = st.tuples(*[st.integers(1, 20)] * 2)
DEPTHS = st.tuples(*[st.integers(0, 2)] * 2)
SMALL = AutoencoderConfig(encoder=(8, 12), encoder_depths=(1, 1), decoder=(8, 12), decoder_depths=(1, 1), half=6)


def scrambled(config):
    """A network every weight of which is random."""
    torch.manual_seed(0)
    module = Autoencoder(config)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5 / max(1, parameter[0].numel()) ** 0.5)
    return module.eval().requires_grad_(False)


def arrays(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def encoder(config, weights):
    return palette.encoder(weights, config.channels, config.encoder, config.encoder_depths)


def decoder(config, weights):
    return palette.decoder(weights, config.channels, config.decoder, config.decoder_depths, config.half)


@few
@given(PAIR, DEPTHS, PAIR, DEPTHS, st.integers(1, 6), st.integers(1, 9))
def test_any_configuration(widths, depths, others, other_depths, channels, half):
    config = AutoencoderConfig(channels, widths, depths, others, other_depths, half)
    module, random = scrambled(config), np.random.default_rng(0)
    x, latents = (random.standard_normal(shape, np.float32) for shape in ((3, 24, 40), (channels, 3, 5)))
    (found,) = encoder(config, arrays(module.encoder))(x)
    wanted = module.encoder(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))
    (found,) = decoder(config, arrays(module.decoder))(latents)
    wanted = module.decoder(torch.from_numpy(latents)[None])[0].numpy()
    assert found.shape == (3, 24, 40)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_weights_of_another_shape_are_refused(part):
    made, weights = {"encoder": encoder, "decoder": decoder}[part], arrays(getattr(scrambled(SMALL), part))
    first = next(iter(weights))
    for other, said in (
        ({**weights, first: weights[first][:-1]}, rf"{first} is \("),
        ({**weights, "99.weight": weights[first]}, "no layer for"),
        ({name: array for name, array in weights.items() if name != first}, f"no {first}"),
    ):
        with pytest.raises(ModelError, match=said):
            made(SMALL, other)
