"""The sampler's training: its loss, where it is begun, and that what a run leaves decodes."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import regrain
from lab.training.tiny_student import STUDENT_HEAD, origin, write_student
from regrain_lab.metrics.backbones import VGG_CHANNELS, vgg16
from regrain_lab.trainable.denoisers import Sampler, initial_sampler
from regrain_lab.trainable.discriminator import Discriminator, Drift, SpectrumDrift
from regrain_lab.training import loop
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.sampler import LEVELS, SamplerLoss
from regrain_lab.training.losses.texture import STAGES, BandDistance, TextureDistances
from regrain_lab.training.recipe import LossConfig

RECIPE = (
    STUDENT_HEAD.replace('trains = "student"', 'trains = "sampler"')
    + """
[distill]
teacher = "teacher.safetensors"

[[stage]]
name = "teacher"
steps = 2
batch = 2
crop = 64
continuous = 0.75

[[stage]]
name = "few steps"
steps = 2
batch = 2
crop = 64
continuous = 0.5
sampling_steps = 4
"""
)


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(0)
    return origin(tmp_path)


def network(model) -> Sampler:
    return Sampler(model)


def rules(**changes) -> StageWeights:
    return StageWeights(**{"rate": 1, "perceptual": 1, "continuous": 0.5, "freeze_latents": True, **changes})


def test_a_sampler_begins_as_its_guide_with_the_layers_of_the_denoiser_that_ships(teacher):
    begun, one, guide = initial_sampler(teacher.networks), torch.ones(1), torch.rand(1, 3, 64, 64)
    context = begun.context(torch.randn(1, 8, 4, 4), one / 2, guide)
    alpha = float(begun.schedule.alpha(one))
    torch.testing.assert_close(begun(alpha * guide, one, one / 2, guide, context), guide)
    denoiser, knobs = teacher.networks.denoiser, torch.rand(5, 3)
    knobs[:, 2] = 1
    torch.testing.assert_close(begun.embed(knobs[:, :2]), denoiser.embed(knobs))
    torch.testing.assert_close(begun.blocks8.state_dict(), denoiser.blocks8.state_dict())


@pytest.mark.parametrize("steps", [1, 4])
def test_the_loss_moves_every_weight(teacher, steps):
    torch.manual_seed(1)
    subject = network(teacher)
    with torch.no_grad():
        for parameter in subject.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    loss = SamplerLoss(subject, teacher, LossConfig(), None)
    scalars = loss(torch.rand(2, 3, 64, 64) * 2 - 1, rules(sampling_steps=steps))
    scalars["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in subject.parameters())
    assert scalars["mse"] > 0


def test_x_t_stands_where_the_rules_say(teacher):
    loss = SamplerLoss(network(teacher), teacher, LossConfig(), None)
    x, guide = torch.rand(2, 64, 3, 64, 64) * 2 - 1
    quality = torch.full((64,), 0.5)
    context = loss.network.denoiser.context(torch.randn(64, 8, 4, 4), quality, guide)
    x_t, t, own = loss._noisy(x, quality, guide, context, rules(continuous=1.0))
    assert not own.any()
    assert 0.4 < float(t.mean()) < 0.6
    apart = x_t - LEVELS.alpha(t)[:, None, None, None] * x
    torch.testing.assert_close(apart.square().mean((1, 2, 3)).sqrt(), LEVELS.sigma(t), rtol=0.05, atol=1e-3)
    x_t, t, own = loss._noisy(x, quality, guide, context, rules(continuous=0.0))
    assert own.all()
    assert (t == 1).all()
    apart = x_t - LEVELS.alpha(t)[:, None, None, None] * guide
    torch.testing.assert_close(apart.square().mean((1, 2, 3)).sqrt(), LEVELS.sigma(t), rtol=0.05, atol=1e-3)


def test_a_run_leaves_weights_that_sample(tmp_path, shards):
    path = write_student(shards.parent, RECIPE)
    folder = loop.main(path, quiet=True)
    model = regrain.load(folder / loop.WEIGHTS)
    assert model.config.sampler
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    data = regrain.encode(image, model=model)
    first, second = (np.asarray(regrain.decode(data, model=model, steps=2, seed=seed)) for seed in (0, 1))
    assert first.shape == image.shape
    assert (first != second).any()


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vgg")
    torch.manual_seed(0)
    state = vgg16().state_dict()
    save_file({f"features.{name}": tensor.half() for name, tensor in state.items()}, folder / "vgg.safetensors")
    heads = {f"lin{index}.weight": torch.rand(1, size, 1, 1) for index, size in enumerate(VGG_CHANNELS)}
    save_file(heads, folder / "heads.safetensors")
    return TextureDistances.load(folder / "vgg.safetensors", folder / "heads.safetensors")


def test_another_sample_of_a_texture_is_nearer_than_a_flat_square(textures):
    """The distances but LPIPS tell textures apart, and not their samples; equal pictures are at 0 by all."""
    noise = torch.rand(3, 3, 64, 64).mul(2).sub(1)
    flat = noise[:1].mean() * torch.ones(1, 3, 64, 64)
    assert all(float(distance) < 1e-6 for distance in textures(noise[:1], noise[:1]))
    _, *another = textures(noise[1:2], noise[:1])
    _, *none = textures(flat, noise[:1])
    assert all(float(near) < 0.5 * float(far) for near, far in zip(another, none, strict=True))


def test_gradients_of_textures_reach_the_picture(textures):
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    sum(textures(x, torch.rand(1, 3, 64, 64))).sum().backward()
    assert x.grad.abs().sum() > 0


def test_an_adversary_learns_and_its_gradients_keep_apart(textures):
    """L_D reaches the heads alone, L_G the picture alone; a few steps tell noise from flat squares."""
    torch.manual_seed(3)
    adversary = Discriminator(STAGES)
    x_hat = torch.rand(4, 3, 64, 64, requires_grad=True)
    decoded, originals = textures.features_of_pair(x_hat, torch.zeros(4, 3, 64, 64))
    mistakes, deceit = adversary.losses(decoded, originals)
    deceit.sum().backward(retain_graph=True)
    assert x_hat.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.parameters())
    x_hat.grad = None
    mistakes.backward(retain_graph=True)
    assert x_hat.grad is None
    optimizer = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        adversary.losses(decoded, originals)[0].backward(retain_graph=True)
        optimizer.step()
    assert adversary.losses(decoded, originals)[0].item() < 0.5 * mistakes.item()


def test_bands_hear_energy_and_not_the_sample():
    """Another sample of a noise is nearer than the noise at a quarter of its energy, whatever the bands' own energy."""
    torch.manual_seed(2)
    bands, (noise, another) = BandDistance(), torch.randn(2, 1, 3, 192, 192)
    for loudness in (0.2, 0.8):
        x, sample, quiet = loudness * noise, loudness * another, loudness * 0.5 * noise
        assert float(bands(x, x)) == 0
        assert float(bands(quiet, x)) == pytest.approx(math.log(0.25) ** 2, rel=0.1)
        assert float(bands(sample, x)) < 0.2 * float(bands(quiet, x))
    basis = bands.basis.flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(63), atol=1e-5, rtol=0)


def test_a_drift_is_what_many_pictures_lack_and_its_loss_leads_away_from_it(textures):
    """Noise on features leaves no drift, a shift of one channel does; the loss grows along the shift."""
    torch.manual_seed(4)
    drift = Drift(STAGES)
    stages = [torch.rand(2, count, 8, 8) for count in STAGES]
    for _ in range(60):
        drift([stage + 0.1 * torch.randn_like(stage) for stage in stages], stages)
    still = float(drift.average.norm())
    for _ in range(60):
        drift([torch.cat([stage[:, :9] + 0.5, stage[:, 9:]], 1) for stage in stages], stages)
    assert still < 0.2 * float(drift.average.norm())
    moved = [(stage + 0.0).requires_grad_() for stage in stages]
    drift(moved, stages).sum().backward()
    assert float(moved[1].grad[:, :9].mean()) > 0
    assert float(moved[1].grad[:, :9].mean()) > 10 * abs(float(moved[1].grad[:, 9:].mean()))


def test_the_drift_of_the_spectrum_leads_to_the_originals_loudness():
    """Bands at half the originals' amplitude are pulled up, louder ones down, and equal ones left as they are."""
    torch.manual_seed(9)
    drift, originals = SpectrumDrift(), torch.rand(8, SpectrumDrift.BANDS) + 0.5
    factors = torch.cat([torch.full((63,), factor) for factor in (0.5, 1.0, 2.0)])
    for _ in range(3):
        decoded = (factors * originals).requires_grad_()
        drift(decoded, originals).sum().backward()
    quiet, equal, loud = decoded.grad.split(63, 1)
    assert (quiet < 0).all()
    assert (loud > 0).all()
    assert equal.abs().max() < 1e-5 * loud.min()


def test_a_rollout_starts_without_noise_on_strong_edges(teacher, monkeypatch):
    """x_1 is the guide, but for its mean, where the gate is shut."""
    x = torch.zeros(1, 3, 64, 64)
    x[..., 32:] = 0.8
    monkeypatch.setattr("regrain_lab.training.losses.sampler.guides", lambda *_: x)
    subject = SamplerLoss(Sampler(teacher), teacher, LossConfig(), None)
    torch.manual_seed(10)
    x_t, t, starts = subject._noisy(x, torch.full((1,), 0.3), x, x, rules(continuous=0.0, sampling_steps=1))
    alpha, _ = LEVELS.at(1.0)
    assert starts.all()
    assert float(t) == 1
    torch.testing.assert_close(x_t[..., 30:34], alpha * x[..., 30:34])
    assert float(x_t[..., :8].std()) > 0.5


@pytest.mark.parametrize(
    "name", ["edge_scale", "means_scale", "bands_scale", "adversary_scale", "drift_scale", "spectrum_scale"]
)
def test_every_scale_of_the_loss_changes_it(teacher, textures, name):
    x, losses = 0.1 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7)), []
    x[:, :, :, 32:] += 0.8
    for scale in (0.0, 3.0):
        torch.manual_seed(8)
        subject = Sampler(teacher, STAGES)
        loss = SamplerLoss(subject, teacher, LossConfig(**{name: scale}), textures.lpips, textures)
        with torch.no_grad():
            losses.append(float(loss(x, rules(continuous=0.0))["loss"]))
    assert losses[0] != losses[1]
