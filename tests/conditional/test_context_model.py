"""The context model gives, on either backend, the indices of torch's code_steps to the last, and never looks ahead."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conditional.tiny import DEVICES, SMALL, both, built, codec, shipped_tensors
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import HYPER_MAX, ModelConfig, TransformConfig
from regrain.conditional.context_model import ContextModel
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.transform import MeanBranch
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.entropy.integer import QUALITY_TOP, interpolate_offsets
from regrain.errors import ModelError
from regrain_lab.trainable.codec import freeze
from regrain_lab.trainable.context_model import Coded, code_steps
from regrain_lab.trainable.wall import ScaleBranch, build_scale

Latents = tuple[ContextModel, ScaleBranch, MeanBranch]
few = settings(max_examples=12, deadline=None)
QUALITIES = st.integers(0, QUALITY_TOP)
SIZE = (5, 7)


def coded(model: ContextModel, z_hat: np.ndarray, known: np.ndarray, quality: int):
    """Scale indices (C, H, W), means (C, H, W) and the state at the end, where the symbols are known."""
    size = known.shape[1:]
    index, means = np.zeros(known.shape, np.int64), np.zeros(known.shape, np.float32)
    state = model.start(z_hat, quality, size)
    for number, step in enumerate(model.order):
        mean, scale_index, mask = state.predict(number, step)
        index[step.channels, mask], means[step.channels, mask] = scale_index, mean
        state.update(step, known[step.channels, mask], mean, mask)
    return index, means, state


@torch.no_grad()
def coded_on_torch(latents: Latents, z_hat: np.ndarray, known: np.ndarray, quality: int) -> Coded:
    """The same by the steps of training, with the shipped integers in float64."""
    z = torch.from_numpy(z_hat)[None].clamp(-HYPER_MAX, HYPER_MAX).float()
    symbols = torch.from_numpy(known)[None].float()
    model, scale, mean = latents
    offset = torch.from_numpy(interpolate_offsets(model.offset, quality))[None]
    gain = torch.from_numpy(model.gain(quality))[None]
    return code_steps(scale, mean, z, gain, offset, known.shape[1:], lambda step, *_: symbols[:, step.channels])


def trainable(model: ConditionalModel, tensors: dict[str, torch.Tensor]) -> Latents:
    """The latents of a model on torch as training has them."""
    scale = build_scale(model.config.transform).double().requires_grad_(False)
    scale.set_integers(tensors)
    return model.latents, scale, model.denoiser.networks.h_s


@pytest.fixture(scope="module")
def latents(torch_model) -> Latents:
    """The shipped ones."""
    return trainable(torch_model, shipped_tensors()[0])


@few
@given(st.integers(0, 2**32), QUALITIES, st.sampled_from([(1, 1), (4, 4), (5, 9), (7, 2)]))
def test_the_indices_are_those_of_training(torch_model, onnx_model, latents, seed, quality, size):
    """Random z and random symbols of every size, far beyond what occurs."""
    draw = np.random.default_rng(seed)
    z_hat = draw.integers(-140, 141, (48, *(-(-side // 4) for side in size)), dtype=np.int32)
    known = np.rint(draw.standard_cauchy((256, *size)) * draw.choice([0.3, 3, 300])).clip(-(2**24), 2**24)
    known = known.astype(np.int32)
    wanted = coded_on_torch(latents, z_hat, known, quality).scale_index[0].numpy()
    for model in (torch_model, onnx_model):
        index, _, state = coded(model.latents, z_hat, known, quality)
        assert np.array_equal(index, wanted)
        assert np.array_equal(state.symbols, known)
        assert np.abs(state.y_hat).max() <= LATENT_MAX


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 6), st.sampled_from([(), (2, 5), (3,), (40,)]), st.integers(2, 4),
    QUALITIES, st.integers(0, 99),
)  # fmt: skip
def test_a_context_model_of_any_shape(latent, hyper, slices, anchors, quality, seed):
    transform = TransformConfig((4, 4, 4), latent, hyper, 6, anchors, slices, context=5, shared=3)
    denoiser = DenoiserConfig(widths=(5, 6, 7), depths=(1, 0, 2), half=2, embedding=4)
    trained = codec(ModelConfig(transform, denoiser), seed, noise=0.1, offset=0.2)
    torch_model, onnx_model = both(trained)
    draw = np.random.default_rng(seed)
    z_hat, known = (draw.integers(-99, 100, shape, dtype=np.int32) for shape in ((hyper, 2, 2), (latent, *SIZE)))
    wanted = coded_on_torch(trainable(torch_model, freeze(trained)), z_hat, known, quality)
    y_hat = (known + wanted.mean[0].numpy()) / torch_model.latents.gain(quality)
    for model in (torch_model, onnx_model):
        index, _, state = coded(model.latents, z_hat, known, quality)
        assert np.array_equal(index, wanted.scale_index[0].numpy())
        assert np.array_equal(state.symbols, known)
        np.testing.assert_allclose(state.y_hat, y_hat.clip(-LATENT_MAX, LATENT_MAX), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("place", [0, 1])
def test_no_step_depends_on_symbols_that_come_later(place):
    """What a decoder has not read yet cannot matter: change a step's symbols, and only later steps may change."""
    config = ModelConfig(TransformConfig((4, 4, 4), 12, 6, 8, 3, (2, 5)), DenoiserConfig((4, 4, 4), (0, 0, 0)))
    model = both(codec(config, noise=0.2))[place].latents
    draw = np.random.default_rng(0)
    z_hat, known = (draw.integers(-9, 10, shape, dtype=np.int32) for shape in ((6, 2, 2), (12, *SIZE)))
    first = coded(model, z_hat, known, 12800)
    for number, step in enumerate(model.order):
        changed = known.copy()
        changed[step.channels, step.mask(*SIZE)] += 5
        other = coded(model, z_hat, changed, 12800)
        for later, part in enumerate(model.order):
            at = part.channels, part.mask(*SIZE)
            for one, two in zip(other[:2], first[:2], strict=True):
                assert np.array_equal(one[at], two[at]) == (later <= number)


def test_every_quality_has_the_gains_and_tables_of_training(onnx_model):
    ours, entropy_model = onnx_model.latents, codec(onnx_model.config).latents
    entropy_model.gain.set_anchors(shipped_tensors()[0]["latents.log_gain"])
    for quality in (*range(0, QUALITY_TOP + 1, 97), QUALITY_TOP):
        share = torch.tensor([quality]) / QUALITY_TOP
        np.testing.assert_allclose(ours.gain(quality), entropy_model.gain(share)[0].detach(), rtol=1e-5)
        anchor = int(entropy_model.anchor(share))
        assert ours.hyper_tables(quality) == ours.z_tables[anchor * ours.hyper : (anchor + 1) * ours.hyper]


@pytest.mark.parametrize("quality", [0, 1, 12799, 12800, 25599, 25600])
def test_gains_are_log_linear_between_their_anchors(quality):
    model = both(codec())[0].latents
    wanted = [np.interp(quality / 12800, range(3), column) for column in model.log_gain.T]
    np.testing.assert_allclose(np.log(model.gain(quality)[:, 0, 0]), wanted, atol=1e-5)


WRONG = {
    "latents.offset": [lambda t: t[:-1], lambda t: t.T, lambda t: t.long(), lambda t: t * 0 + 2**20 + 1],
    "latents.log_gain": [lambda t: t[0, 0], lambda t: t[:, :5], lambda t: t * 0 + 21],
    "latents.z_tables": [lambda t: t[:-1], lambda t: t[0], lambda t: t.float(), lambda t: t * 0],
    "latents.scale.0.weight": [lambda t: t[0, 0, 0, 0], lambda t: t[:, :5], lambda t: t.float()],
    "latents.scale.0.bias": [lambda t: t[0], lambda t: t[:-1], lambda t: t[None]],
    "latents.scale.2.bias": [lambda t: t[:-1], lambda t: t * 0 + 2**24],
    "latents.scale.3.weight": [lambda t: t[:, :-1], lambda t: t[..., :1]],
    "latents.scale.4.weight": [lambda t: t[:-1], lambda t: t[:0]],
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", WRONG)
def test_arrays_of_another_kind_are_refused(name, device):
    tensors = freeze(codec())
    for change in WRONG[name]:
        with pytest.raises(ModelError):
            built({**tensors, name: change(tensors[name]).contiguous()}, SMALL, device)
    both_wrong = {f"latents.scale.4.{kind}": tensors[f"latents.scale.4.{kind}"][:-1] for kind in ("weight", "bias")}
    with pytest.raises(ModelError, match="scale branch"):
        built({**tensors, **both_wrong}, SMALL, device)


def test_the_shipped_weights_have_a_table_a_channel_and_anchor(onnx_model):
    tensors, about = shipped_tensors()
    shape = about["config"]["transform"]
    assert len(onnx_model.latents.z_tables) == shape["anchors"] * shape["hyper"]
    assert tensors["latents.offset"].shape == (shape["anchors"], shape["latent"])
