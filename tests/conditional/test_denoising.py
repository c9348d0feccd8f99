"""The sampler: it reads x_t at every noise level, nears the faithful picture as realism goes to 0, and every knob turns
something; with ONNX Runtime it gives the same."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from regrain import checkpoint
from regrain.conditional.decode import Knobs, regrow
from regrain.conditional.frozen import SAMPLER, Model, freeze
from regrain.conditional.model import ConditionalCodec, ModelConfig, build_sampler, sampler_state
from regrain.conditional.transform import TransformConfig
from regrain.diffusion.unet import RESIDUAL, DenoiserConfig

SMALL = ModelConfig(
    transform=TransformConfig(widths=(8, 8, 8), latent=12, hyper=6, hyper_width=8, anchors=3),
    denoiser=DenoiserConfig(widths=(8, 12, 16), depths=(2, 1, 1), embedding=8),
)
SAMPLING = replace(SMALL, sampler=True)
SIZE = 75, 100


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Of a codec with a sampler that was trained on from its denoiser: alike, and not the same."""
    torch.manual_seed(5)
    codec = ConditionalCodec(SMALL).eval()
    for parameter in codec.denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    sampler = build_sampler(SMALL)
    state = sampler_state(codec.denoiser.state_dict(), sampler)
    mine = {f"{SAMPLER}{name}": (value + 0.1 * torch.randn_like(value)).half() for name, value in state.items()}
    return freeze(codec) | mine


@pytest.fixture(scope="module")
def model(tensors) -> Model:
    return Model.build(tensors, SAMPLING.to_dict())


@pytest.fixture(scope="module")
def y_hat() -> torch.Tensor:
    return torch.randn(12, 5, 7, generator=torch.Generator().manual_seed(0))


def pixels(model, y_hat, **knobs) -> np.ndarray:
    return regrow(model, y_hat, SIZE, 12800, grey=False, knobs=Knobs(**knobs)).astype(int)


@pytest.mark.parametrize("t", [1.0, 0.5, 0.0])
def test_inference_is_the_forward_pass_and_contexts_are_its_own(model, t):
    x_t, cond = torch.randn(1, 3, 48, 32), torch.randn(1, 12, 3, 2)
    knobs = torch.tensor([[t], [0.3], [1.0]])
    wanted = model.sampler(x_t, knobs[0], cond, knobs[1], knobs[2])
    context = model.sampler.context(cond, knobs[1], knobs[2])
    for given in (None, context, model.sampler.infer_context(cond, knobs[1], knobs[2])):
        found = model.sampler.infer(x_t, knobs[0], cond, knobs[1], knobs[2], given)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_where_there_is_no_noise_the_estimate_is_x_t(model):
    """At t = 0 the noise is two levels: x_0 is x_t but for a fraction of the network's own output."""
    x, cond, one = torch.rand(1, 3, 32, 32), torch.randn(1, 12, 2, 2), torch.ones(1)
    alpha = model.sampler.schedule.alpha(0 * one)
    x_0 = model.sampler(alpha * x, 0 * one, cond, one / 2, one)
    far = model.sampler(alpha * (x + RESIDUAL), 0 * one, cond, one / 2, one)
    assert float((far - x_0).mean()) == pytest.approx(RESIDUAL, rel=0.2)


def test_x_t_is_read_at_every_noise_level(model):
    cond, one = torch.randn(1, 12, 2, 2), torch.ones(1)
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        first, second = (model.sampler(torch.randn(1, 3, 32, 32), t * one, cond, one / 2, one) for _ in range(2))
        assert float((first - second).abs().mean()) > 1e-3


KNOBS = {"seed": 1, "steps": 3, "realism": 0.5, "init_noise": 0.0}


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_turns_something(model, y_hat, name):
    before, after = pixels(model, y_hat), pixels(model, y_hat, **{name: KNOBS[name]})
    assert np.abs(before - after).mean() > 0.2


def test_eta_turns_something(model, y_hat):
    assert np.abs(pixels(model, y_hat, steps=3) - pixels(model, y_hat, steps=3, eta=1.0)).mean() > 0.2


def test_without_initial_noise_seeds_are_alike(model, y_hat):
    assert np.array_equal(pixels(model, y_hat, init_noise=0), pixels(model, y_hat, init_noise=0, seed=9))


def test_realism_0_is_the_faithful_picture_and_what_lies_near_it_is_near(tensors, model, y_hat):
    plain = Model.build({n: t for n, t in tensors.items() if not n.startswith(SAMPLER)}, SMALL.to_dict())
    faithful = pixels(plain, y_hat, realism=0)
    assert np.array_equal(pixels(model, y_hat, realism=0), faithful)
    apart = [np.abs(pixels(model, y_hat, realism=r) - faithful).mean() for r in (0.001, 0.03, 0.3, 1)]
    assert apart[0] < 0.5
    assert all(one < other for one, other in itertools.pairwise(apart))


@pytest.mark.parametrize("window", [4, 64])
def test_windows_give_what_the_whole_gives(model, y_hat, window):
    whole, parts = pixels(model, y_hat, steps=2, window=64), pixels(model, y_hat, steps=2, window=window)
    assert np.abs(whole - parts).max() <= 1


@pytest.mark.parametrize(("realism", "steps", "eta"), [(1, 1, 0), (1, 3, 0), (0.5, 2, 1), (0.02, 1, 0), (0, 2, 0)])
def test_onnx_gives_the_same_pixels(tensors, model, y_hat, realism, steps, eta):
    pytest.importorskip("onnxruntime")
    from regrain.onnx.model import Model as OnnxModel

    from regrain.onnx import decode

    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    other = OnnxModel.build(arrays, {**SAMPLING.to_dict(), "transform": {"slices": SMALL.transform.slices}})
    assert other.fingerprint == model.fingerprint
    found = decode.regrow(
        other, y_hat.numpy(), SIZE, 12800, grey=False, steps=steps, realism=realism, eta=eta, seed=7
    ).astype(int)
    assert np.abs(found - pixels(model, y_hat, steps=steps, realism=realism, eta=eta, seed=7)).max() <= 1


def test_a_file_of_weights_says_whether_it_has_a_sampler(tensors, tmp_path):
    about = {"recipe": "small", "step": 1, "config": SAMPLING.to_dict()}
    checkpoint.save(tmp_path / "weights.safetensors", tensors, about)
    assert Model.load(tmp_path / "weights.safetensors").sampler is not None
    assert "sampler" not in SMALL.to_dict()
