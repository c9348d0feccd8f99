"""Fine-tuning: what each choice of parts trains, that its weights encode and decode, and that a run ends early."""

import shutil
from dataclasses import replace
from functools import cache
from itertools import chain, repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import regrain
from lab.training.tiny import MODEL
from lab.training.tiny_student import write_teacher
from regrain import adapter, checkpoint
from regrain.cli import main as cli
from regrain.cli.parser import parse
from regrain.conditional.codec import ConditionalModel
from regrain.errors import ModelError, UsageError
from regrain_lab.metrics.backbones import SQUEEZE_CHANNELS, squeezenet
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.adapter import Adapter
from regrain_lab.training import fine_tune
from regrain_lab.training.early_stop import EarlyStop
from regrain_lab.training.recipe import DataConfig, Recipe, Stage, read_recipe


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A plain folder of twelve pictures."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(4)
    for number in range(12):
        cells = rng.integers(0, 256, (7, 7, 3), np.uint8)
        Image.fromarray(np.repeat(np.repeat(cells, 32, 0), 32, 1)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("base") / "base.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures, base):
    """A function from the parts to what two steps make of them, which it makes once."""
    folder = tmp_path_factory.mktemp("runs")
    return cache(lambda parts: fine_tune.main(pictures, folder / parts, parts=parts, base=base, steps=2, quiet=True))


def test_a_decoder_leaves_the_latents_to_the_bit(run, base):
    """Files of the general weights stay valid; only the denoiser is another."""
    ours, theirs = (checkpoint.load(path)[0] for path in (run("decoder").weights, base))
    changed = {name for name in theirs if not np.array_equal(ours[name], theirs[name])}
    assert changed
    assert all(name.startswith("denoiser.") for name in changed)
    assert ConditionalModel.load(run("decoder").weights).fingerprint == ConditionalModel.load(base).fingerprint


@pytest.mark.parametrize("device", ["onnx", "cpu"])
def test_an_adapter_encodes_and_decodes_on_both_backends(run, base, device):
    """A file of its own fingerprint, whose symbols and pixels both backends agree on, and the base's do not."""
    path = run("adapter").weights
    model, picture = ConditionalModel.load(path, device, base), np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 200
    data = regrain.encode(picture, model=model)
    other = ConditionalModel.load(path, "onnx", base)
    assert data == regrain.encode(picture, model=other)
    assert model.fingerprint != ConditionalModel.load(base).fingerprint
    pixels = (np.asarray(regrain.decode(data, model=one, steps=1), int) for one in (model, other))
    assert np.abs(np.subtract(*pixels)).max() <= 1
    assert path.stat().st_size < 0.9 * base.stat().st_size


@pytest.mark.parametrize(("parts", "ranged"), [("decoder", True), ("all", True), ("adapter", False)])
def test_a_denoiser_has_ranges_of_its_own(run, parts, ranged):
    """So that its pictures are computed on bytes; an adapter has those of its base."""
    names = checkpoint.load(run(parts).weights)[0]
    assert any(name.startswith("ranges.denoiser.") for name in names) == ranged


def test_all_has_new_latents(run, base):
    ours = ConditionalModel.load(run("all").weights)
    assert ours.fingerprint != ConditionalModel.load(base).fingerprint
    assert not ours.config.sampler


def test_all_begins_from_weights_with_a_sampler_too(pictures, tmp_path):
    """Their sampler is of other latents, and is left behind."""
    base = write_teacher(tmp_path / "base.safetensors", config=replace(MODEL, sampler=True).to_dict())
    weights = fine_tune.main(pictures, tmp_path / "out", parts="all", base=base, steps=1, quiet=True).weights
    assert not ConditionalModel.load(weights).config.sampler


def test_rows_say_what_was_and_what_is(run):
    outcome = run("adapter")
    assert [row.at for row in outcome.before] == [row.at for row in outcome.after] == [0, 25, 50, 75, 100]
    assert outcome.before[0].figures != outcome.after[0].figures


def test_an_adapter_begins_as_its_base(base):
    tensors, _ = checkpoint.load(base)
    network = Adapter(MODEL, {name: torch.from_numpy(array) for name, array in tensors.items()}, rank=2)
    arrays = {name: tensor.numpy() for name, tensor in network.arrays().items()}
    begun = adapter.adapted(tensors, arrays)
    kernels = [name for name in tensors if name + adapter.LEFT in arrays]
    assert kernels
    assert all(np.array_equal(begun[name], tensors[name].astype(np.float32)) for name in kernels)


def test_an_adapter_of_other_weights_is_refused(run, tmp_path):
    torch.manual_seed(5)
    other = write_teacher(tmp_path / "other.safetensors")
    arrays, about = checkpoint.load(other)
    arrays["denoiser.leave.bias"] = arrays["denoiser.leave.bias"] + np.float16(1)
    checkpoint.save(other, arrays, about)
    with pytest.raises(ModelError, match="the adapter is for weights"):
        ConditionalModel.load(run("adapter").weights, None, other)


def test_an_adapter_whose_base_is_not_installed_says_which_it_needs(run):
    with pytest.raises(ModelError, match="needs the weights with latent fingerprint"):
        regrain.load(run("adapter").weights)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("denoiser.leave.weight.left", (12, 65), "another shape"),
        ("denoiser.leave.weight.right", (2, 7), "another shape"),
        ("denoiser.leave.weight", (1, 2, 3, 3), "one side alone"),
        ("sampler.leave.bias", (12,), "one side alone"),
        ("latents.z_tables", (3,), "one side alone"),
        ("no.such.left", (1, 1), "one side alone"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_in_one_line(run, base, tmp_path, name, shape, message):
    arrays, about = checkpoint.load(run("adapter").weights)
    arrays[name] = np.zeros(shape, np.float16)
    checkpoint.save(tmp_path / "bad.safetensors", arrays, about)
    with pytest.raises(ModelError, match=message) as error:
        ConditionalModel.load(tmp_path / "bad.safetensors", None, base)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fingerprint", ["", "xyz", "00", 7, None])
def test_a_base_that_is_no_fingerprint_is_refused(tmp_path, fingerprint):
    checkpoint.save(tmp_path / "bad.safetensors", {"a": np.zeros(1)}, {"kind": adapter.KIND, "base": fingerprint})
    with pytest.raises(ModelError):
        regrain.load(tmp_path / "bad.safetensors")


def test_unknown_parts_are_refused(pictures, tmp_path):
    with pytest.raises(UsageError, match="parts is 'some'"):
        fine_tune.main(pictures, tmp_path / "out", parts="some")


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", -1), ("seed", -1), ("seed", 2**22 + 1)])
def test_a_number_out_of_range_is_refused(pictures, base, tmp_path, name, value):
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        fine_tune.main(pictures, tmp_path / "out", base=base, **{name: value})


def test_an_adapter_is_no_base(run, pictures, tmp_path):
    with pytest.raises(ModelError, match="an adapter, which cannot be added to"):
        fine_tune.main(pictures, tmp_path / "out", base=run("adapter").weights)


def test_the_rank_is_that_of_the_factors(base):
    tensors = {name: torch.from_numpy(array) for name, array in checkpoint.load(base)[0].items()}
    for rank in (1, 3):
        factors = [a for name, a in Adapter(MODEL, tensors, rank).arrays().items() if name.endswith(adapter.LEFT)]
        assert factors
        assert {left.shape[1] for left in factors} == {rank}


def test_seeds_and_lpips_change_what_is_learned(run, pictures, base, tmp_path):
    """Another seed has other crops; what LPIPS says counts."""
    torch.manual_seed(0)
    state = Lpips(squeezenet(), (1, 4, 7, 9, 10, 11, 12), SQUEEZE_CHANNELS).state_dict()
    save_file(
        {name: tensor.abs() if name.startswith("lin") else tensor for name, tensor in state.items()}, tmp_path / "heads"
    )
    ways = {"seed": {"seed": 1}, "lpips": {"lpips": tmp_path / "heads"}}
    first = checkpoint.load(run("decoder").weights)[0]
    for name, more in ways.items():
        outcome = fine_tune.main(pictures, tmp_path / name, parts="decoder", base=base, steps=2, quiet=True, **more)
        other = checkpoint.load(outcome.weights)[0]
        assert any(not np.array_equal(first[key], other[key]) for key in first), name


def test_without_lpips_the_weight_of_structure_changes_what_is_learned(run, pictures, base, tmp_path, monkeypatch):
    first = checkpoint.load(run("decoder").weights)[0]
    monkeypatch.setattr(fine_tune, "STRUCTURE_ALONE", 0.0)
    outcome = fine_tune.main(pictures, tmp_path / "out", parts="decoder", base=base, steps=2, quiet=True)
    other = checkpoint.load(outcome.weights)[0]
    assert any(not np.array_equal(first[key], other[key]) for key in first)


def test_parts_on_the_command_line_are_those_that_there_are():
    assert tuple(parse(["fine-tune", "pictures", "--parts", part]).parts for part in fine_tune.PARTS) == fine_tune.PARTS


def test_a_run_ends_where_nothing_is_gained_and_keeps_its_best(pictures, base, tmp_path, monkeypatch):
    """It ends two validations after the second; when it resumes, a worse loss is not taken for the lowest."""
    losses = chain([3.0, 2.0, 2.5, 2.0], repeat(2.2))
    monkeypatch.setattr(EarlyStop, "held_out_loss", lambda *_: next(losses))
    monkeypatch.setattr(fine_tune, "PATIENCE", 2)
    outcome = fine_tune.main(pictures, tmp_path / "out", base=base, steps=8, quiet=True)
    about = checkpoint.load_metadata(outcome.weights)
    assert (about["step"], about["held_out_loss"]) == (2, 2.0)
    again = fine_tune.main(pictures, tmp_path / "out", base=base, steps=6, quiet=True)
    assert checkpoint.load_metadata(again.weights)["step"] == 2


def test_a_folder_that_has_a_run_of_something_else_is_refused(pictures, base, tmp_path):
    out = tmp_path / "out"
    weights = fine_tune.main(pictures, out, base=base, steps=1, quiet=True).weights
    before = weights.read_bytes()
    with pytest.raises(UsageError, match="has a run with other seed; name another --out"):
        fine_tune.main(pictures, out, base=base, steps=1, seed=1, quiet=True)
    others = tmp_path / "others"
    shutil.copytree(pictures, others)
    next(path for path in sorted(others.rglob("*")) if path.is_file()).unlink()
    with pytest.raises(UsageError, match="has a run with other pictures"):
        fine_tune.main(others, out, base=base, steps=1, quiet=True)
    (out / fine_tune.RUN).write_text("[")
    with pytest.raises(UsageError, match="damaged; remove it"):
        fine_tune.main(pictures, out, base=base, steps=1, quiet=True)
    assert weights.read_bytes() == before


def test_an_adapter_of_weights_that_no_decoder_finds_is_refused(pictures, base, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli(["fine-tune", str(pictures), "--model", str(base), "--out", str(out)]) == 2
    text = capsys.readouterr().err
    assert "only the package's are found by their fingerprint" in text
    assert text.count("\n") == 1
    (recipe := tmp_path / "r.toml").write_text("")
    assert cli(["fine-tune", str(recipe)]) == 2
    assert "a recipe; `regrain train` runs it" in capsys.readouterr().err
    assert not out.exists()


def test_patience_needs_pictures_to_judge_by(tmp_path):
    text = f'name = "r"\npatience = 2\n[data]\nshards = "{tmp_path}"\n[[stage]]\nname = "s"\nsteps = 1\n'
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match="needs held-out pictures"):
        read_recipe(tmp_path / "r.toml")


def test_patience_counts_validations_without_a_gain(tmp_path):
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.5, 1.5])
    stop = EarlyStop(Recipe("r", DataConfig(""), (Stage("s", 1),), patience=2), None, tmp_path / "weights")
    stop.task = SimpleNamespace(loss=lambda *_: {"loss": next(losses)})
    gains = []
    while not stop.over:
        gains.append(stop.gains(torch.zeros(1, 3, 8, 8)))
    assert gains == [True, True, False, False]
