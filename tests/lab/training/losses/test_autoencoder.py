"""The palette codec's loss and its two trainees: an autoencoder, and then a denoiser of its latents."""

import math

import numpy as np
import pytest
import torch

import regrain
from lab.training.tiny import HEAD, crops, write_recipe
from regrain import torch_checkpoint
from regrain.errors import ModelError
from regrain.palette.autoencoder import Autoencoder, AutoencoderConfig
from regrain_lab.training.loop import WEIGHTS, main
from regrain_lab.training.losses.autoencoder import AutoencoderLoss, divergence
from regrain_lab.training.losses.codec import SQUARED_ERROR_UNIT, StageWeights
from regrain_lab.training.recipe import LossConfig
from regrain_lab.training.validation import LATENT_NOISES, by_latent_noise, latent_moments

RULES = StageWeights(1.0, 1.0, 0.0, freeze_latents=False)
SMALL = AutoencoderConfig(encoder=(8, 8), encoder_depths=(1, 1), decoder=(8, 8), decoder_depths=(1, 1), half=4)
SHAPE = "[autoencoder]\n" + "\n".join(
    f"{name} = {list(value) if isinstance(value, tuple) else value}" for name, value in SMALL.to_dict().items()
)
STAGE = '\n[[stage]]\nname = "all"\nsteps = 5\nbatch = 2\ncrop = 64\n'
PRIOR = "[prior]\nchannels = 4\npatch = 1\nwidths = [8, 8, 8]\ndepths = [1, 1, 1]\nembedding = 8\n"


def head(trains, name="tiny"):
    return HEAD[: HEAD.index("[model")].replace('name = "tiny"', f'name = "{name}"\ntrains = "{trains}"')


@pytest.fixture
def weights(shards, tmp_path):
    """Of a tiny autoencoder, trained for five steps."""
    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    return main(write_recipe(tmp_path, head("autoencoder") + SHAPE + STAGE)) / WEIGHTS


def latent_recipe(folder, latents, prior=PRIOR):
    named = head("latent-prior", "over").replace("[data]", f'latents = "{latents}"\n[data]')
    return write_recipe(folder, named + prior + STAGE)


def test_the_loss_is_squared_error_and_divergence():
    """Of an autoencoder whose latents are the same everywhere, the divergence is known."""
    network = Autoencoder(SMALL)
    for parameter in network.encoder[-1].parameters():
        torch.nn.init.constant_(parameter, 0.5)
    for parameter in network.decoder[-2].parameters():
        torch.nn.init.zeros_(parameter)
    network.encoder[-1].weight.data.zero_()
    x = crops()
    with torch.no_grad():
        scalars = AutoencoderLoss(network, LossConfig(rate_weight=(3.0, 1.0)), None)(x, RULES)
    nats = (0.25 + math.exp(0.5) - 1 - 0.5) / 2
    assert float(scalars["bpp"]) == pytest.approx(4 * nats / (64 * math.log(2)), rel=1e-5)
    squared = float(x.square().mean())
    assert float(scalars["mse"]) == pytest.approx(squared * 127.5**2, rel=1e-5)
    assert float(scalars["loss"]) == pytest.approx(squared * SQUARED_ERROR_UNIT + 3 * float(scalars["bpp"]), rel=1e-5)


def test_training_makes_it_less_and_reaches_every_parameter():
    torch.manual_seed(0)
    network = Autoencoder(SMALL)
    objective, optimizer = AutoencoderLoss(network, LossConfig(), None), torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = objective(crops(), RULES)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_validation_has_a_row_for_each_noise_and_noise_costs():
    torch.manual_seed(0)
    network = Autoencoder(SMALL)
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    rows = by_latent_noise(network, crops(), None)
    assert [row.at for row in rows] == list(LATENT_NOISES)
    assert rows[0].figures["psnr"] > rows[-1].figures["psnr"]
    assert set(rows[1].scalars()) == {"psnr/noise0.125"}


def test_moments_are_of_each_channel():
    network = Autoencoder(SMALL)
    mean, deviation = latent_moments(network, crops(3))
    found = network.encode(crops(3))[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, found.mean(1))
    torch.testing.assert_close(deviation, found.std(1))


def test_weights_load_and_their_latents_are_normalised(weights):
    model = regrain.load(weights, device="cpu")
    assert model.denoiser is None
    tensors, _ = torch_checkpoint.load(weights)
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("autoencoder.")}
    network = torch_checkpoint.network(lambda: Autoencoder(SMALL), own, "autoencoder.")
    shift, scale = (tensors[f"moments.{name}"].numpy()[:, None, None] for name in ("shift", "scale"))
    x = crops(1)[0]
    raw = network.encode(x[None])[0][0]
    expected = (raw.numpy() - shift) / scale
    np.testing.assert_allclose(model.space.encode(x.numpy()), expected, rtol=1e-5, atol=1e-6)
    wanted = network.decode(raw[None])[0].clamp(-1, 1)
    np.testing.assert_allclose(model.space.decode(expected), wanted, rtol=1e-5, atol=1e-5)
    assert torch_checkpoint.load_metadata(weights)["latent_fingerprint"] == model.fingerprint.hex()


def test_a_latent_prior_ships_with_the_autoencoder_and_keeps_its_fingerprint(weights, tmp_path):
    folder = main(latent_recipe(tmp_path, weights))
    model, before = regrain.load(folder / WEIGHTS), regrain.load(weights)
    assert model.denoiser is not None
    assert torch_checkpoint.load_metadata(folder / WEIGHTS)["config"]["channels"] == 4
    assert model.fingerprint == before.fingerprint
    assert (model.recipe, before.recipe) == ("over", "tiny")
    latents = np.zeros((4, 7, 9), np.float32)
    assert model.denoiser.denoise(latents, 2.0).shape == latents.shape
    again = latent_recipe(tmp_path, folder / WEIGHTS)
    assert regrain.load(main(again) / WEIGHTS).fingerprint == before.fingerprint


def test_what_a_latent_prior_cannot_be_trained_on_is_said_first(weights, tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        main(latent_recipe(tmp_path, tmp_path / "none.safetensors"))
    with pytest.raises(ModelError, match=r"latents of 4 channels, \[prior\] has 3"):
        main(latent_recipe(tmp_path, weights, PRIOR.replace("channels = 4", "channels = 3")))


def test_divergence_is_that_of_gaussians():
    assert divergence(torch.zeros(()), torch.zeros(())) == 0
    given = torch.distributions.Normal(torch.tensor(0.7), torch.tensor(0.3))
    expected = torch.distributions.kl_divergence(given, torch.distributions.Normal(0.0, 1.0))
    assert divergence(torch.tensor(0.7), torch.tensor(2 * math.log(0.3))) == pytest.approx(float(expected), rel=1e-6)
