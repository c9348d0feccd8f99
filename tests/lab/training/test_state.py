"""The state of a run: the moving average's formula, and that what is saved is all there is."""

import copy
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file

from lab.training.tiny import MODEL, crops, tiny_codec
from regrain import torch_checkpoint
from regrain.conditional.config import ModelConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.errors import ModelError
from regrain_lab.trainable.codec import ConditionalCodec, freeze
from regrain_lab.training.losses.codec import CodecLoss, StageWeights
from regrain_lab.training.recipe import LossConfig
from regrain_lab.training.state import State


def step(state, *, freeze_latents=False):
    """One step on the same pictures, its draws from the step's number."""
    torch.manual_seed(state.step)
    objective = CodecLoss(state.network, LossConfig(), None)
    loss = objective(crops(), StageWeights(1.0, 0.0, 0.5, freeze_latents=freeze_latents))["loss"]
    state.zero_grad()
    loss.backward()
    state.update(1e-3)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def saved(tmp_path):
    """A state two steps in, the second with frozen latents, and its file."""
    state = State(tiny_codec(), 0.9)
    step(state)
    step(state, freeze_latents=True)
    state.save(tmp_path / "s")
    return state, tmp_path / "s"


def test_the_average_follows_its_formula():
    state = State(tiny_codec(), ema=0.15)
    wanted = {name: value.double() for name, value in state.network.state_dict().items()}
    for k in range(3):
        step(state)
        decay = min(0.15, (1 + k) / (10 + k))
        for name, value in state.network.state_dict().items():
            wanted[name] = decay * wanted[name] + (1 - decay) * value.double()
    assert state.step == 3
    for name, value in wanted.items():
        assert torch.allclose(state.average[name].double(), value, atol=1e-6)


def test_a_skipped_step_counts_and_changes_nothing():
    state = State(tiny_codec(), 0.9)
    step(state)
    before = copy.deepcopy(state._tensors())
    state.skip()
    assert state.step == 2
    assert equal(before, state._tensors())


def test_averaged_lends_the_average_and_gives_the_weights_back():
    state = State(tiny_codec(), 0.9)
    step(state)
    weights = copy.deepcopy(state.network.state_dict())
    with suppress(ZeroDivisionError), state.average_weights() as codec:
        assert not codec.training
        assert equal(codec.state_dict(), state.average)
        assert not equal(codec.state_dict(), weights)
        raise ZeroDivisionError
    assert equal(state.network.state_dict(), weights)
    assert state.network.training


def test_resumed_and_unbroken_runs_are_equal_to_the_bit(saved):
    unbroken, path = saved
    resumed = State(tiny_codec("x0"), 0.9)
    torch.nn.init.ones_(resumed.network.analysis[1].weight)
    resumed.resume(path)
    assert resumed.step == 2
    for frozen in (True, False, True):
        for state in (unbroken, resumed):
            step(state, freeze_latents=frozen)
    assert equal(unbroken._tensors(), resumed._tensors())


def test_resuming_keeps_the_memory_format(saved):
    _, path = saved
    resumed = State(tiny_codec(), 0.9)
    resumed.resume(path)
    moments = resumed.optimizer.state_dict()["state"]
    for index, parameter in enumerate(resumed.network.parameters()):
        assert moments[index]["exp_avg"].stride() == parameter.stride()


def test_the_names_in_a_checkpoint_stay(saved):
    """Runs that are on their way depend on them."""
    state, path = saved
    tensors = load_file(path)
    assert len(tensors) == 2 * len(state.network.state_dict()) + 3 * len(list(state.network.parameters()))
    assert {"weights.analysis.1.weight", "average.latents.offset", "optimizer.0.exp_avg"} <= tensors.keys()
    assert {"optimizer.0.exp_avg_sq", "optimizer.0.step", "weights.denoiser.leave.bias"} <= tensors.keys()
    assert torch_checkpoint.load_metadata(path)["step"] == 2


def test_a_checkpoint_that_names_no_model_resumes(saved, tmp_path):
    """Such are those of before it was written down."""
    state, path = saved
    torch_checkpoint.save(tmp_path / "old", load_file(path), {"step": 7})
    resumed = State(tiny_codec(), 0.9)
    resumed.resume(tmp_path / "old")
    assert resumed.step == 7
    assert equal(resumed._tensors(), state._tensors())


def test_a_fresh_state_saves_and_resumes(tmp_path):
    state = State(tiny_codec(), 0.9)
    state.save(tmp_path / "s")
    step(state)
    state.resume(tmp_path / "s")
    assert state.step == 0
    assert equal(state.network.state_dict(), State(tiny_codec(), 0.9).network.state_dict())


def test_no_checkpoint_is_a_start(tmp_path):
    state = State(tiny_codec(), 0.9)
    state.resume(tmp_path / "none")
    assert state.step == 0


def test_a_loaded_average_that_is_frozen_ships_the_same_bits():
    state = State(tiny_codec(), 0.9)
    for _ in range(2):
        step(state)
    with state.average_weights() as codec:
        before = freeze(codec)
    state.load_average()
    for _ in range(3):
        step(state, freeze_latents=True)
    with state.average_weights() as codec:
        after = freeze(codec)
    latents = {name for name in before if not name.startswith("denoiser.")}
    assert all(torch.equal(before[name], after[name]) for name in latents)
    assert not equal(before, after)


@pytest.mark.parametrize("spoil", ["short", "empty", "text"])
def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(saved, spoil):
    _, path = saved
    data = path.read_bytes()
    path.write_bytes({"short": data[: len(data) // 2], "empty": b"", "text": b"hello, here I am"}[spoil])
    state = State(tiny_codec(), 0.9)
    with pytest.raises(ModelError, match="or remove it to start again") as caught:
        state.resume(path)
    assert len(str(caught.value).splitlines()) == 1
    assert state.step == 0


def test_another_network_is_refused_before_anything_changes(saved):
    _, path = saved
    wider = ModelConfig(MODEL.transform, DenoiserConfig(widths=(8, 8, 16), depths=(1, 1, 1), embedding=8))
    deeper = ModelConfig(MODEL.transform, DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 2), embedding=8))
    for config, complaint in ((wider, r"is \(8, 8, 3, 3\), not \(16, 8, 3, 3\)"), (deeper, "is missing")):
        other = State(ConditionalCodec(config), 0.9)
        before = copy.deepcopy(other._tensors())
        with pytest.raises(ModelError, match=complaint):
            other.resume(path)
        assert equal(before, other._tensors())
    with pytest.raises(ModelError, match=r"another \[model\]"):
        State(tiny_codec("eps"), 0.9).resume(path)


def test_weights_that_ship_are_no_checkpoint(tmp_path):
    codec = tiny_codec()
    torch_checkpoint.save(tmp_path / "w", freeze(codec), {"config": codec.config.to_dict(), "step": 3})
    with pytest.raises(ModelError, match="of another network"):
        State(codec, 0.9).resume(tmp_path / "w")


@pytest.mark.parametrize("metadata", [{}, {"step": "3"}])
def test_a_checkpoint_says_its_step(saved, metadata):
    _, path = saved
    torch_checkpoint.save(path, load_file(path), metadata)
    with pytest.raises(ModelError, match="it says no step"):
        State(tiny_codec(), 0.9).resume(path)
