"""Pictures from noise alone: every knob turns something, a picture is that of its seed alone, errors are early."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import samples
from regrain.cli import main
from regrain.errors import LimitError, UsageError
from regrain.options import DecodeOptions

FEW = {"size": (24, 16), "steps": 3}


@pytest.fixture(scope="module")
def plain():
    return regrain.sample(2, **FEW)


def test_pictures_are_bytes_of_the_size_and_repeat(plain):
    assert plain.shape == (2, 16, 24, 3)
    assert plain.dtype == np.uint8
    assert plain[0].std() > 1
    assert (plain == regrain.sample(2, **FEW)).all()


def test_a_picture_is_that_of_its_seed_whatever_is_drawn_beside_it(plain):
    assert (plain[1] == regrain.sample(seed=1, **FEW)[0]).all()
    assert (plain[0] != plain[1]).any()
    last, first = regrain.sample(2, seed=2**64 - 1, **FEW)
    assert (first == plain[0]).all()
    assert (last != first).any()


@pytest.mark.parametrize(
    "knob",
    [
        {"steps": 4},
        {"eta": 1.0},
        {"eta": 0.5},
        {"sampler": "ancestral"},
        {"sampler": "second-order"},
        {"schedule": "cosine"},
        {"schedule": "linear"},
        {"seed": 5},
    ],
)
def test_every_knob_turns_something(plain, knob):
    assert (regrain.sample(**FEW | knob)[0] != plain[0]).any()


def test_ancestral_steps_are_those_of_eta_1():
    ancestral, ddim = regrain.sample(sampler="ancestral", **FEW), regrain.sample(eta=1.0, **FEW)
    assert (ancestral == ddim).all()


def test_one_pixel_and_odd_sides():
    assert regrain.sample(size=(1, 1), steps=1).shape == (1, 1, 1, 3)
    assert regrain.sample(size=(9, 31), steps=1).shape == (1, 31, 9, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"size": (0, 8)},
        {"size": 64},
        {"size": (8, 8, 8)},
        {"size": (8.5, 8)},
        {"steps": 0},
        {"steps": "auto"},
        {"schedule": "truncated"},
        {"eta": 0.5, "sampler": "ancestral"},
        {"model": "palette"},
    ],
)
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match=r"allowed|are for palette|goes with ddim alone"):
        regrain.sample(**{"steps": 1, **wrong})


def test_a_picture_that_does_not_fit_into_memory_is_refused_before_it_is_drawn():
    with pytest.raises(LimitError, match="--max-memory"):
        regrain.sample(size=(2**20, 2**20))
    with pytest.raises(LimitError, match="--max-memory"):
        regrain.sample(10_000, size=(512, 512), max_memory=2 * 10**9)


def test_every_step_is_reported():
    steps = []
    samples.draw(2, (8, 8), DecodeOptions(steps=3), step_done=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]


def test_the_command_draws_a_sheet_whose_pictures_are_those_of_the_function(tmp_path, capsys, plain):
    flags = ["--grid", "1x2", "--size", "24x16", "--steps", "3", "--json"]
    assert main(["sample", str(tmp_path / "a.png"), *flags]) == 0
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (16, 24 + 2 + 24, 3)
    assert (sheet[:, 24:26] == 255).all()
    assert (sheet[:, :24] == plain[0]).all()
    assert (sheet[:, 26:] == plain[1]).all()
    facts = json.loads(capsys.readouterr().out)
    assert (facts["grid"], facts["size"], facts["steps"], facts["schedule"]) == ([1, 2], [24, 16], 3, "log-linear")


def test_the_command_s_flags_turn_something(tmp_path):
    def drawn(*flags):
        assert main(["sample", str(tmp_path / "b.png"), "--overwrite", "--quiet", *flags]) == 0
        return np.asarray(Image.open(tmp_path / "b.png"))

    few = "--grid", "1", "--size", "16", "--steps", "2"
    first = drawn(*few)
    for flags in (["--steps", "3"], ["--eta", "1"], ["--sampler", "ancestral"], ["--schedule", "linear"]):
        assert (drawn(*few, *flags) != first).any(), flags
    assert (drawn(*few, "--seed", "1") != first).any()
    assert drawn(*few, "--grid", "2x1").shape == (34, 16, 3)


def test_a_dash_is_stdout(monkeypatch):
    class Out(io.TextIOWrapper):
        def __init__(self):
            super().__init__(io.BytesIO())

    out = Out()
    monkeypatch.setattr("sys.stdout", out)
    assert main(["sample", "-", "--grid", "1", "--size", "8", "--steps", "1", "--quiet"]) == 0
    assert Image.open(io.BytesIO(out.buffer.getvalue())).size == (8, 8)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none/a.png"], 7, "there is no directory"),
        (["there.png"], 7, "exists; --overwrite replaces it"),
        (["a.rgn"], 2, "is written"),
        (["a.png", "--grid", "0x2"], 2, "'0x2' is not allowed"),
        (["a.png", "--grid", "101x100"], 2, "count is 10100"),
        (["a.png", "--grid", "2,2"], 2, "64 or 4x2"),
        (["a.png", "--size", "0"], 2, "'0' is not allowed"),
        (["a.jpg", "--size", "70000x1"], 7, "JPEG holds"),
        (["a.png", "--size", "900000x900000"], 6, "--max-memory"),
        (["a.png", "b.png"], 2, "takes one output"),
        (["a.png", "--model", "palette"], 2, "palette"),
    ],
)
def test_every_refusal_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"kept")
    assert main(["sample", *arguments]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"kept"
