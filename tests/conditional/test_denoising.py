"""The sampler: it reads x_t at every noise level, nears the faithful picture as realism goes to 0, and every option
changes something; both backends give the same."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from conditional.tiny import DEVICES, SMALL, arrays, built
from conditional.tiny import codec as small_codec
from regrain import torch_checkpoint
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.decode import WINDOW, reconstruct
from regrain.conditional.torch_backend import TorchNetworks
from regrain.conditional.transform import build_sampler
from regrain.diffusion import schedule
from regrain.diffusion.budget import Budget
from regrain.diffusion.unet import RESIDUAL, DenoiserConfig
from regrain.errors import ModelError
from regrain.options import SAMPLERS, DecodeOptions
from regrain_lab.trainable.codec import freeze

SAMPLER = "sampler."
FAITHFUL = replace(SMALL, denoiser=DenoiserConfig(widths=(8, 12, 16), depths=(2, 1, 1), embedding=8))
SAMPLING = replace(FAITHFUL, sampler=True)
SIZE = 75, 100


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Of a codec with a sampler, drawn at random."""
    codec = small_codec(FAITHFUL)
    for parameter in codec.denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = build_sampler(FAITHFUL).state_dict()
    mine = {f"{SAMPLER}{name}": (value + 0.1 * torch.randn_like(value)).half() for name, value in state.items()}
    return freeze(codec) | mine


@pytest.fixture(scope="module", params=DEVICES)
def model(tensors, request) -> ConditionalModel:
    return built(tensors, SAMPLING, request.param)


@pytest.fixture(scope="module")
def sampler(tensors):
    """The sampler as torch's module."""
    return TorchNetworks.build(arrays(tensors), SAMPLING).sampler


@pytest.fixture(scope="module")
def y_hat() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((12, 5, 7)).astype(np.float32)


def pixels(model, y_hat, *, window=WINDOW, **options) -> np.ndarray:
    drawn = reconstruct(model.denoiser, y_hat, SIZE, 12800, DecodeOptions(**options), grey=False, window=window)
    return drawn.astype(int)


@pytest.mark.parametrize("taken", ["cond", "quality", "guide"])
def test_latents_quality_and_guide_are_read(sampler, taken):
    inputs = {"cond": torch.randn(1, 12, 2, 2), "quality": torch.ones(1) / 2, "guide": torch.rand(1, 3, 32, 32)}
    before, after = sampler.context(**inputs), sampler.context(**inputs | {taken: 0 * inputs[taken]})
    assert float((before - after).abs().mean()) > 1e-3


def test_where_there_is_no_noise_the_estimate_is_x_t(sampler):
    """At t = 0 the noise is two levels: x_0 is x_t but for a fraction of the network's own output."""
    x, cond, one = torch.rand(1, 3, 32, 32), torch.randn(1, 12, 2, 2), torch.ones(1)
    alpha, context = sampler.schedule.alpha(0 * one), sampler.context(cond, one / 2, x / 2)
    x_0, far = (sampler(alpha * (x + d), 0 * one, one / 2, x / 2, context) for d in (0, RESIDUAL))
    assert float((far - x_0).mean()) == pytest.approx(RESIDUAL, rel=0.2)


def test_x_t_is_read_at_every_noise_level(sampler):
    one, guide = torch.ones(1), torch.zeros(1, 3, 32, 32)
    context = sampler.context(torch.randn(1, 12, 2, 2), one / 2, guide)
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        first, second = (sampler(torch.randn(1, 3, 32, 32), t * one, one / 2, guide, context) for _ in range(2))
        assert float((first - second).abs().mean()) > 1e-3


OPTIONS = {"seed": 1, "steps": 3, "realism": 0.5, "init_noise": 0.0}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_something(model, y_hat, name):
    before, after = pixels(model, y_hat, steps=2), pixels(model, y_hat, **{"steps": 2, name: OPTIONS[name]})
    assert np.abs(before - after).mean() > 0.2


def test_eta_changes_something(model, y_hat):
    assert np.abs(pixels(model, y_hat, steps=3) - pixels(model, y_hat, steps=3, eta=1.0)).mean() > 0.2


def test_samplers_are_different_and_ancestral_steps_are_ddim_with_eta_1(model, y_hat):
    drawn = {name: pixels(model, y_hat, steps=4, sampler=name) for name in SAMPLERS}
    assert np.array_equal(drawn["ancestral"], pixels(model, y_hat, steps=4, eta=1.0))
    for one, other in itertools.combinations(drawn.values(), 2):
        assert np.abs(one - other).mean() > 0.1


def test_second_order_steps_are_nearer_to_the_flow_than_first_order_ones(model, y_hat):
    flow = pixels(model, y_hat, steps=256)
    first, second = (np.abs(pixels(model, y_hat, steps=32, sampler=s) - flow).mean() for s in ("ddim", "second-order"))
    assert second < 0.8 * first


@pytest.mark.parametrize("window", [4, 64])
def test_second_order_steps_know_no_windows(model, y_hat, window):
    whole = pixels(model, y_hat, steps=3, sampler="second-order")
    assert np.abs(whole - pixels(model, y_hat, steps=3, sampler="second-order", window=window)).max() <= 1


def test_without_initial_noise_seeds_are_alike(model, y_hat):
    assert np.array_equal(pixels(model, y_hat, init_noise=0), pixels(model, y_hat, init_noise=0, seed=9))


def test_realism_0_is_the_faithful_picture_and_what_lies_near_it_is_near(tensors, model, y_hat):
    plain = {name: tensor for name, tensor in tensors.items() if not name.startswith(SAMPLER)}
    faithful = pixels(built(plain, FAITHFUL, model.device), y_hat, realism=0)
    assert np.array_equal(pixels(model, y_hat, realism=0), faithful)
    apart = [np.abs(pixels(model, y_hat, realism=r) - faithful).mean() for r in (0.001, 0.03, 0.3, 1)]
    assert apart[0] < 0.5
    assert all(one < other for one, other in itertools.pairwise(apart))


@pytest.mark.parametrize("window", [4, 64])
def test_windows_give_what_the_whole_gives(model, y_hat, window):
    whole, parts = pixels(model, y_hat, steps=2, window=64), pixels(model, y_hat, steps=2, window=window)
    assert np.abs(whole - parts).max() <= 1


def test_contexts_that_are_not_kept_change_nothing(model, y_hat, monkeypatch):
    kept = pixels(model, y_hat, steps=2, window=4)
    monkeypatch.setattr("regrain.conditional.decode.CONTEXTS_MOST", 0)
    assert np.array_equal(pixels(model, y_hat, steps=2, window=4), kept)


@pytest.mark.parametrize(("realism", "steps", "eta"), [(1, 1, 0), (1, 3, 0), (0.5, 2, 1), (0.02, 1, 0), (0, 2, 0)])
def test_both_backends_give_the_same_pixels(tensors, y_hat, realism, steps, eta):
    one, other = (
        pixels(built(tensors, SAMPLING, device), y_hat, steps=steps, realism=realism, eta=eta, seed=7)
        for device in DEVICES
    )
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("realism", [0.0, 0.3, 1.0])
def test_estimates_are_alike_and_within_the_range_of_pixels(tensors, size, realism):
    draw, estimates = np.random.default_rng(5), []
    x_t, y_hat = (size * draw.standard_normal(shape).astype(np.float32) for shape in ((3, 32, 16), (12, 2, 1)))
    for device in DEVICES:
        denoiser = built(tensors, SAMPLING, device).denoiser
        context = denoiser.context(y_hat, 9000, realism)
        assert (context is None) == (realism == 0)
        estimates.append(denoiser.estimate(x_t, 0.4, y_hat, 9000, realism, context))
        assert estimates[-1].dtype == np.float32
        assert np.abs(estimates[-1]).max() <= 1
    np.testing.assert_allclose(*estimates, atol=1e-4 * size**0.5)


def test_sampling_starts_where_the_networks_say(tensors):
    """alpha_1 g + sigma_1 eps about the picture g of one step, realism times init_noise times eps without a sampler."""
    eps, y_hat = np.ones((3, 32, 16), np.float32), np.zeros((12, 2, 1), np.float32)
    denoiser = built(tensors, SAMPLING, "onnx").denoiser
    context, (alpha, sigma) = denoiser.context(y_hat, 0, 1.0), schedule.get("truncated").at(1.0)
    np.testing.assert_allclose(denoiser.start(eps, context, 1.0), alpha * context.guide + sigma, rtol=1e-5, atol=1e-6)
    assert np.array_equal(context.guide, denoiser.estimate(0 * eps, 1.0, y_hat, 0, 1.0, None))
    plain = built(tensors, FAITHFUL, "onnx").denoiser
    assert plain.context(y_hat, 0, 1.0) is None
    np.testing.assert_allclose(plain.start(eps, None, 0.5), 0.5 * FAITHFUL.init_noise, rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_samplers_of_another_shape_are_refused_when_they_are_loaded(tensors, device):
    for name in ("enter.weight", "enter_x.weight", "gate.bias", "embed.mlp.0.weight", "blocks4.0.conv1.bias"):
        tensor = tensors[SAMPLER + name]
        for other in (tensor[:-1], tensor[None], tensor.reshape(-1)[0], torch.zeros(3, 5)):
            with pytest.raises(ModelError):
                built({**tensors, SAMPLER + name: other}, SAMPLING, device)
        with pytest.raises((ModelError, KeyError)):
            built({n: t for n, t in tensors.items() if n != SAMPLER + name}, SAMPLING, device)
    with pytest.raises(ModelError, match="more"):
        built({**tensors, f"{SAMPLER}more": torch.zeros(1)}, SAMPLING, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_file_of_weights_says_whether_it_has_a_sampler(tensors, tmp_path, device):
    about = {"recipe": "small", "step": 1, "config": SAMPLING.to_dict()}
    torch_checkpoint.save(tmp_path / "weights.safetensors", tensors, about)
    model = ConditionalModel.load(tmp_path / "weights.safetensors", device)
    assert model.denoiser.samples(1.0)
    assert not model.denoiser.samples(0.0)
    assert "sampler" not in FAITHFUL.to_dict()


def test_one_step_is_the_faithful_networks_alone_from_no_noise(tensors, y_hat, model):
    plain = {name: tensor for name, tensor in tensors.items() if not name.startswith(SAMPLER)}
    without = built(plain, FAITHFUL, model.device)
    for realism in (0.0, 0.4, 1.0):
        one = pixels(model, y_hat, realism=realism)
        assert np.array_equal(one, pixels(without, y_hat, realism=realism, init_noise=0))
        assert np.array_equal(one, pixels(model, y_hat, realism=realism, seed=9))
        assert np.array_equal(one, pixels(model, y_hat, realism=realism, steps=Budget(0)))
    assert np.abs(pixels(model, y_hat) - pixels(model, y_hat, steps=2)).mean() > 0.2
