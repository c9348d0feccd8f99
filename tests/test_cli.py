"""The command line, on a codec that costs nothing: what it reads, writes and says, and how it fails."""

import argparse
import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import bitstream, image
from regrain import codec as real_codec
from regrain.cli import main
from regrain.cli.parser import parse, size

COMMON = {"--json", "--verbose", "--quiet", "--device", "--threads", "--help"}
METADATA = {"--strip", "--keep", "--preserve-times"}
MANY = {"--jobs", "--skip-existing", "--dry-run", "--manifest", "--engine", "--ray-address"}
FLAGS = {
    "encode": "--quality --effort --target-size --target-bpp --target-psnr --target-ssimulacra2 --method --content "
    "--tile --max-pixels --max-memory",
    "decode": "--steps --budget --realism --eta --seed --init-noise --fast --sampler --realism-map --map --map-seeds "
    "--region --repair --repair-strength --max-size --partial --fill --max-pixels --max-memory",
    "inspect": "",
    "models": "--fetch",
    "sample": "--grid --size --steps --eta --sampler --schedule --seed --max-memory",
    "explain": "--quality --target-size --target-bpp --size --steps --seed --max-pixels",
    "compare": "--quality --target-size --target-bpp --steps --realism --seed --lpips --max-pixels",
    "pack": "--crop --crops --min-side --duplicates --flat --clipped --licence --megabytes --max-pixels",
    "train": "--out",
    "distill": "--out",
    "fine-tune": "--out --parts --steps --lpips --seed",
    "evaluate": "--codecs --qualities --realism --steps --weights --jobs --reference",
}


class Codec(types.ModuleType):
    """Real files whose latents are empty; they decode to grey. `calls` are the arguments of each call in turn."""

    inspect = staticmethod(real_codec.inspect)

    def __init__(self):
        super().__init__("regrain.codec")
        self.calls = []
        self.error = None
        self.chosen = None

    def encode(self, picture, *, quality, tile, **rest):
        self.calls.append({"quality": quality, **rest})
        if self.error:
            raise self.error
        step = 12800 if quality is None else round(256 * quality)
        header = bitstream.Header(picture.width, picture.height, step, b"\1\2\3\4", tile=tile)
        return bitstream.write(bitstream.Stream(header, (bytes(900),) * bitstream.tile_count(header)))

    def decode(self, data, *, partial, max_pixels, **rest):
        self.calls.append(rest)
        if self.error:
            raise self.error
        if self.chosen:
            rest["steps"].steps = self.chosen
        header = bitstream.read(data, partial=partial, max_pixels=max_pixels).header
        return image.Picture(np.full((header.height, header.width, 3), 128, np.uint8))

    def load(self, path, device, *, download=False):
        if path is not None:
            raise regrain.ModelError(f"no weights at {path}")
        return "weights"


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    fake = Codec()
    monkeypatch.setitem(sys.modules, "regrain.codec", fake)
    monkeypatch.setattr(regrain, "codec", fake, raising=False)
    monkeypatch.setattr("regrain.registry.load", fake.load)
    monkeypatch.delenv("REGRAIN_LPIPS", raising=False)
    return fake


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A small picture as `photo.png` in the working folder, which holds nothing else."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    image.write(image.Picture(pixels), "photo.png")
    return tmp_path / "photo.png"


def fails(capsys, arguments, code, *words):
    """Run, and hold the form of every failure: the exit code, one line on stderr, nothing on stdout, no new file."""
    before = sorted(os.listdir())
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("regrain: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert sorted(os.listdir()) == before


class Stream(io.BytesIO):
    """A standard stream: text on top, `buffer` below."""

    buffer = property(lambda self: self)

    def isatty(self):
        return False


def test_encode_then_decode_by_default_names(photo, capsys):
    assert main(["encode", "photo.png", "-q", "25"]) == 0
    out, err = capsys.readouterr()
    written = (photo.parent / "photo.rgn").stat().st_size
    assert out == ""
    assert err.startswith(f"photo.png -> photo.rgn: {written:,} bytes, {8 * written / (48 * 64):.3f} bpp, ")
    assert main(["decode", "photo.rgn", "again.webp", "--seed", "7"]) == 0
    assert "photo.rgn -> again.webp: 64 x 48, steps 1, realism 1, seed 7, " in capsys.readouterr().err
    assert image.read("again.webp").pixels.shape == (48, 64, 3)
    photo.unlink()
    assert main(["decode", "photo.rgn"]) == 0
    assert (image.read("photo.png").pixels == 128).all()


def test_the_default_name_of_a_decoded_picture_replaces_no_original(photo, codec, capsys):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    original = photo.read_bytes()
    fails(capsys, ["decode", "photo.rgn"], 7, "photo.png exists")
    assert photo.read_bytes() == original
    fails(capsys, ["decode", "photo.rgn", "photo.png"], 7, "photo.png exists; --overwrite replaces it")
    assert photo.read_bytes() == original
    assert main(["decode", "photo.rgn", "--overwrite"]) == 0
    assert photo.read_bytes() != original


def test_the_output_is_a_file_of_the_pictures_bits(photo, capsys):
    assert main(["encode", "photo.png", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert err == ""
    assert facts["bytes"] == (photo.parent / facts["output"]).stat().st_size
    assert facts["bpp"] == 8 * facts["bytes"] / (facts["width"] * facts["height"])
    assert facts["input_bytes"] == photo.stat().st_size


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ([], {"quality": None, "target_size": None, "target_bpp": None}),
        (["-q", "12.5"], {"quality": 12.5}),
        (["--target-size", "20k"], {"target_size": 20_000}),
        (["--target-bpp", "0.25"], {"target_bpp": 0.25}),
        (["--target-psnr", "31.5"], {"target_psnr": 31.5}),
        (["--device", "cuda:1"], {"device": "cuda:1"}),
    ],
)
def test_encode_flags_reach_the_codec(photo, codec, flags, wanted):
    assert main(["encode", "photo.png", "--quiet", *flags]) == 0
    assert wanted.items() <= codec.calls[-1].items()


def test_decode_flags_reach_the_codec(photo, codec):
    assert main(["encode", "photo.png"]) == 0
    knobs = ["--steps", "4", "--realism", "0.5", "--eta", "1", "--seed", "9", "--init-noise", "0.25"]
    knobs += ["--region", "0,0,4,4", "--sampler", "ddim", "--realism-map", "mask.png", "--repair", "both"]
    knobs += ["--repair-strength", "2"]
    assert main(["decode", "photo.rgn", "back.png", *knobs, "--max-memory", "2Gi"]) == 0
    wanted = {"steps": 4, "realism": 0.5, "eta": 1, "seed": 9, "init_noise": 0.25, "max_memory": 2**31}
    wanted |= {"region": (0, 0, 4, 4), "max_size": None, "sampler": "ddim", "realism_map": "mask.png"}
    wanted |= {"repair": "both", "repair_strength": 2, "fill": False, "fast": False}
    assert codec.calls[-1] == wanted | {"model": None, "device": None}
    assert main(["decode", "photo.rgn", "fast.png", "--fast"]) == 0
    assert codec.calls[-1]["fast"] is True
    assert codec.calls[-1]["steps"] is None
    for clash in (["--steps", "2"], ["--steps", "auto"], ["--map", "map.png"]):
        assert main(["decode", "photo.rgn", "none.png", "--fast", *clash]) == 2


@pytest.mark.parametrize("seconds", [None, 2.5, 0.5, 90.0])
def test_a_time_for_the_steps_reaches_the_codec_and_their_number_the_report(photo, codec, capsys, seconds):
    flags, seconds = (["--budget", str(seconds)], seconds) if seconds else ([], 5.0)
    assert main(["encode", "photo.png", "--quiet"]) == 0
    for flag in ("--json", "-v"):
        codec.chosen = 8
        assert main(["decode", "photo.rgn", "back.png", "--overwrite", "--steps", "auto", *flags, flag]) == 0
        assert codec.calls[-1]["steps"].seconds == seconds
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert (facts["steps"], facts["budget"]) == (8, seconds)
    assert ", steps 8, " in err
    assert f"a pass takes 0.00 s, {seconds:g} s are allowed" in err


def test_a_dash_is_stdin_and_stdout(photo, monkeypatch):
    def through(arguments, data):
        output, errors = Stream(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", Stream(data))
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", errors)
        assert main(arguments) == 0
        return output.getvalue(), errors.getvalue()

    file, said = through(["encode", "-", "--json"], photo.read_bytes())
    assert file.startswith(bitstream.MAGIC)
    assert json.loads(said)["bytes"] == len(file)
    picture, said = through(["decode", "-", "-"], file)
    assert image.read(picture).pixels.shape == (48, 64, 3)
    assert said.startswith("stdin -> stdout: 64 x 48")


def test_inspect_tells_people_and_programs(photo, capsys):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    assert main(["inspect", "photo.rgn"]) == 0
    text = capsys.readouterr().out
    assert "64 x 48 colour, quality 50" in text
    assert "latents 0 " in text
    assert main(["inspect", "photo.rgn", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(part["length"] for part in facts["sections"]) == facts["size"]


def test_quiet_says_nothing_and_verbose_more(photo, capsys):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["encode", "photo.png", "-v", "--overwrite"]) == 0
    assert "latents 01020304" in capsys.readouterr().err


@pytest.mark.parametrize("name", regrain.errors.__all__)
def test_every_error_is_one_line_and_its_exit_code(photo, codec, capsys, name):
    codec.error = getattr(regrain, name)("what went\nwrong")
    fails(capsys, ["encode", "photo.png"], codec.error.exit_code, r"what went\nwrong")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), 6),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 6),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 6),
        (OSError(28, "No space left on device"), 7),
        (KeyError("surprise"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_is_not_ours_is_one_line_too(photo, codec, capsys, error, code):
    codec.error = error
    fails(capsys, ["encode", "photo.png"], code)


def test_a_closed_pipe_is_quiet(photo, monkeypatch, capsys):
    class Closed(Stream):
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["encode", "photo.png", "-"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["photo.png", "-"], ["photo.png", "--json"], ["--help"]])
def test_a_full_disk_behind_stdout_is_an_output_error(photo, monkeypatch, capsys, arguments):
    class Full(Stream):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["encode", *arguments]) == 7
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["encode", "photo.png", "-"], ["decode", "photo.rgn", "-", "-v"]])
def test_with_stderr_closed_nothing_goes_into_the_picture(photo, codec, monkeypatch, arguments):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    output, codec.error = Stream(), None
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(arguments) == 0
    assert output.getvalue().endswith(bytes(9) if arguments[0] == "encode" else b"IEND\xaeB`\x82")
    output.truncate(output.seek(0))
    codec.error = regrain.ModelError("none")
    assert main([*arguments, "-v"]) == 5
    assert output.getvalue() == b""


def test_a_report_on_a_closed_stdout_is_an_error(photo, monkeypatch, capsys):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["inspect", "photo.rgn"]) == 7
    assert capsys.readouterr().err == "regrain: error: cannot write stdout: it is closed\n"


NAMES = ["two\nlines", "a\x1b[31mred", "right\u202eleft", "be\x07ep", "back\rover"]


@pytest.mark.parametrize("stem", NAMES)
def test_names_reach_the_terminal_as_one_clean_line(photo, capsys, stem):
    wanted = stem.encode("unicode_escape").decode()
    photo.rename(photo.parent / f"{stem}.png")
    assert main(["encode", f"{stem}.png"]) == 0
    assert capsys.readouterr().err.startswith(f"{wanted}.png -> {wanted}.rgn: ")
    (photo.parent / f"{stem}.rgn").write_bytes(b"nothing of ours")
    fails(capsys, ["decode", f"{stem}.rgn", "x.png"], 4, f"error: {wanted}.rgn: no")
    fails(capsys, ["inspect", f"{stem}.rgn"], 4, f"error: {wanted}.rgn: no")
    fails(capsys, ["encode", f"{stem}.rgn", "new"], 3, f"{wanted}.rgn")
    fails(capsys, ["encode", f"{stem}.none"], 7, f"{wanted}.rgn exists")
    fails(capsys, ["decode", f"{stem}.none", "x.png"], 4, f"cannot read {wanted}.none")
    fails(capsys, ["encode", f"{stem}.png", "-q", stem], 2)
    fails(capsys, ["train", f"{stem}.toml"], 2, wanted)


def test_very_long_words_are_shortened(photo, codec, capsys):
    codec.error = regrain.ModelError(f"tensor {'x' * 10**6} is too much; --model")
    assert main(["encode", "photo.png"]) == 5
    err = capsys.readouterr().err
    assert len(err) < 700
    assert err.startswith("regrain: error: photo.png: tensor xxx")
    assert err.endswith("xxx is too much; --model\n")


@pytest.mark.parametrize(("command", "code"), [("encode", 3), ("decode", 4), ("inspect", 4), ("compare", 3)])
def test_stdin_has_a_name_in_errors(photo, monkeypatch, capsys, command, code):
    monkeypatch.setattr(sys, "stdin", Stream(b"neither nor"))
    output = {"encode": ["x"], "inspect": []}.get(command, ["x.png"])
    fails(capsys, [command, "-", *output], code, "error: stdin: no")


def test_every_refusal_of_a_file_has_its_name(photo, codec, capsys):
    assert main(["encode", "photo.png", "--quiet"]) == 0
    for name in ("Corrupt", "ModelError", "LimitError"):
        codec.error = getattr(regrain, name)("this is wrong")
        fails(capsys, ["decode", "photo.rgn", "x.png"], codec.error.exit_code, "error: photo.rgn: this is wrong\n")
        fails(capsys, ["encode", "photo.png", "x.rgn"], codec.error.exit_code, "error: photo.png: this is wrong\n")


def test_the_seconds_are_those_that_the_user_waited(photo, codec, capsys, monkeypatch):
    monkeypatch.setattr("regrain.registry.load", lambda path, device, download: time.sleep(0.3))
    for arguments in (
        ["encode", "photo.png", "a.rgn"],
        ["decode", "a.rgn", "a.png"],
        ["compare", "photo.png", "s.png"],
    ):
        assert main([*arguments, "--json", "--model", "slow"]) == 0
        assert json.loads(capsys.readouterr().out)["seconds"] >= 0.3


def test_stdin_that_has_no_end_is_given_up(photo, codec, monkeypatch, capsys):
    class Endless(Stream):
        def read(self, size=-1):
            assert size > 0, "all of it is asked for"
            return (super().read(size) or bytes(size))[:size]

    assert main(["encode", "photo.png", "--quiet"]) == 0
    monkeypatch.setattr("regrain.cli.streams._OTHER_BYTES", 2**22)
    monkeypatch.setattr("regrain.files._OTHER_BYTES", 2**22)
    codec.calls.clear()
    monkeypatch.setattr(sys, "stdin", Endless(b"P6 "))
    fails(capsys, ["encode", "-", "x", "--max-pixels", "1k"], 6, "stdin", "--max-pixels")
    monkeypatch.setattr(sys, "stdin", Endless((photo.parent / "photo.rgn").read_bytes()))
    fails(capsys, ["decode", "-", "x.png"], 4, "stdin: it goes on after")
    assert codec.calls == []


def test_verbose_shows_where_it_failed(photo, codec, capsys):
    codec.error = KeyError("surprise")
    assert main(["encode", "photo.png", "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["encod"], "encod"),
        (["encode"], "IN"),
        (["encode", "photo.png", "-q", "101"], "quality is 101"),
        (["encode", "photo.png", "-q", "nan"], "quality is nan"),
        (["encode", "photo.png", "-q", "high"], "high"),
        (["encode", "photo.png", "-q", "5", "--target-bpp", "1"], "not allowed with"),
        (["encode", "photo.png", "-q", "5", "--target-psnr", "30"], "not allowed with"),
        (["encode", "photo.png", "--target-bpp", "1", "--target-ssimulacra2", "30"], "not allowed with"),
        (["encode", "photo.png", "--target-psnr", "nan"], "target_psnr is nan"),
        (["encode", "photo.png", "--target-ssimulacra2", "101"], "target_ssimulacra2 is 101"),
        (["encode", "photo.png", "--target-size", "20x"], "20k"),
        (["encode", "photo.png", "--target-size", "0"], "target_size is 0"),
        (["encode", "photo.png", "--target-size", "9" * 400], "target_size"),
        (["encode", "photo.png", "--threads", "0"], "'0'"),
        (["encode", "photo.png", "--qual", "5"], "--qual"),
        (["decode", "photo.png", "--steps", "0"], "steps is 0"),
        (["decode", "photo.png", "--steps", "2m"], "'2m' is not allowed; a whole number or auto is"),
        (["decode", "photo.png", "--steps", "auto", "--budget", "2s"], "'2s'"),
        (["decode", "photo.png", "--steps", "auto", "--budget", "1000000"], "budget is 1000000"),
        (["decode", "photo.png", "--steps", "auto", "--budget", "-1"], "budget is -1"),
        (["decode", "photo.png", "--steps", "2", "--budget", "2"], "with steps 'auto' alone"),
        (["decode", "photo.png", "--budget", "nan"], "budget is nan"),
        (["compare", "photo.png", "--steps", "auto"], "auto"),
        (["decode", "photo.png", "--realism", "1.5"], "realism is 1.5"),
        (["decode", "photo.png", "--seed", "-1"], "seed is -1"),
        (["decode", "photo.png", "out.xyz"], "xyz"),
        (["encode", "photo.png", "photo.png"], "is the input"),
        (["train", "photo.png", "--device", "tpu"], "tpu"),
        (["train", "absent.toml"], "absent.toml: no such recipe"),
        (["distill", "absent.toml", "--device", "tpu"], "absent.toml: no such recipe"),
        (["inspect", "photo.png", "--device", "nonsense"], "--device is no flag of inspect"),
        (["evaluate", "absent"], "absent is no folder"),
        (["evaluate", "photo.png"], "photo.png is no folder"),
        (["evaluate", ".", "--codecs", "JPG"], "allowed are regrain, JPEG"),
        (["evaluate", ".", "--qualities", "50", "101"], "quality is 101"),
        (["evaluate", ".", "--realism", "2"], "realism is 2"),
        (["evaluate", ".", "--steps", "0"], "steps is 0"),
        (["evaluate", ".", "--jobs", "0"], "jobs is 0"),
        (["evaluate", ".", "--reference", "absent"], "reference is absent"),
    ],
)
def test_usage_errors(photo, codec, capsys, arguments, word):
    fails(capsys, arguments, 2, word)
    assert codec.calls == []


@pytest.mark.parametrize("target", ["photo.png", "folder", "absent/out.rgn"])
def test_outputs_are_checked_before_the_work(photo, codec, capsys, target):
    (photo.parent / "folder").mkdir()
    (photo.parent / "other.png").write_bytes(photo.read_bytes())
    fails(capsys, ["encode", "other.png", target], 2 if target == "photo.png" else 7, target)
    fails(capsys, ["compare", "other.png", target.replace(".rgn", ".png")], 7, target.replace(".rgn", ".png"))
    assert codec.calls == []


def test_a_read_only_output_is_refused_before_the_work(photo, codec, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    fails(capsys, ["encode", "photo.png"], 7, "permission denied")
    assert codec.calls == []


@pytest.mark.parametrize("command", ["encode", "decode", "compare"])
def test_an_output_is_replaced_where_the_flag_says_so_and_nowhere_else(photo, codec, capsys, command):
    assert main(["encode", "photo.png", "one.rgn", "--quiet"]) == 0
    names = {"encode": ("photo.png", "out.rgn"), "decode": ("one.rgn", "out.png"), "compare": ("photo.png", "out.png")}
    arguments = [command, *names[command]]
    (photo.parent / arguments[2]).write_bytes(b"old")
    codec.calls.clear()
    fails(capsys, arguments, 7, "exists; --overwrite replaces it")
    fails(capsys, [*arguments, "--overwrite", "--no-overwrite"], 7, "exists")
    assert codec.calls == []
    assert (photo.parent / arguments[2]).read_bytes() == b"old"
    assert main([*arguments, "--overwrite", "--quiet"]) == 0
    assert (photo.parent / arguments[2]).read_bytes() != b"old"


@pytest.mark.parametrize("name", ["b.jpg", "b.PNG", "b.heic", "b.svg", "b.psd", "b.tif", "b.pdf"])
@pytest.mark.parametrize("there", [True, False])
def test_encode_never_takes_a_second_picture_for_its_output(photo, codec, capsys, name, there):
    if there:
        (photo.parent / name).write_bytes(photo.read_bytes())
    for more in ([], ["--overwrite"]):
        fails(capsys, ["encode", "photo.png", name, *more], 2, name, "one picture at a time")
    assert codec.calls == []
    assert not there or (photo.parent / name).read_bytes() == photo.read_bytes()


def test_encode_replaces_no_file_that_is_not_its_own(photo, capsys):
    for name, content in (("notes", b"a text"), ("new", b""), ("older", bitstream.MAGIC + b"rest"), ("x.rgn", b"bad")):
        (photo.parent / name).write_bytes(content)
    fails(capsys, ["encode", "photo.png", "notes", "--overwrite"], 7, "notes exists and is no .rgn file")
    for name in ("new", "older", "x.rgn"):
        assert main(["encode", "photo.png", name, "--overwrite", "--quiet"]) == 0
        assert len((photo.parent / name).read_bytes()) > 900


def test_two_inputs_of_one_stem_do_not_end_in_one_file(photo, capsys):
    (photo.parent / "photo.webp").write_bytes(photo.read_bytes())
    assert main(["encode", "photo.png", "--quiet"]) == 0
    fails(capsys, ["encode", "photo.webp"], 7, "photo.rgn exists")


@pytest.mark.parametrize("command", FLAGS)
def test_more_than_one_input_is_a_clear_error(photo, codec, capsys, command):
    fails(capsys, [command, "a.png", "b.png", "c.png"], 2, ".png is one name too many", "at a time")
    assert codec.calls == []


def test_compare_replaces_no_second_picture_and_writes_what_the_suffix_says(photo, codec, capsys):
    (photo.parent / "b.png").write_bytes(photo.read_bytes())
    fails(capsys, ["compare", "photo.png", "b.png"], 7, "b.png exists")
    fails(capsys, ["compare", "photo.png", "b.rgn"], 2, "b.rgn")
    assert codec.calls == []
    assert main(["compare", "photo.png", "sheet.jpg", "--quiet"]) == 0
    assert (photo.parent / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")


def test_an_output_may_stand_after_the_flags(photo):
    assert main(["encode", "photo.png", "-q", "20", "out.rgn", "--quiet"]) == 0
    assert os.path.exists("out.rgn")


def test_devices_have_nothing_to_lose(photo):
    assert main(["encode", "photo.png", os.devnull, "--quiet"]) == 0
    assert main(["encode", "photo.png", "--quiet"]) == 0
    os.mkfifo("pipe.png")
    reader = os.open("pipe.png", os.O_RDWR)
    assert main(["decode", "photo.rgn", "pipe.png", "--quiet"]) == 0
    assert os.read(reader, 4) == b"\x89PNG"
    os.close(reader)


@pytest.mark.parametrize(("command", "code"), [("encode", 3), ("decode", 4), ("inspect", 4), ("compare", 3)])
@pytest.mark.parametrize("content", [None, b"", b"neither a picture nor a .rgn file", "folder"])
def test_inputs_that_are_not_what_they_should_be(photo, capsys, command, code, content):
    if content == "folder":
        (photo.parent / "bad").mkdir()
    elif content is not None:
        (photo.parent / "bad").write_bytes(content)
    fails(capsys, [command, "bad"], code)


@pytest.mark.parametrize("command", ["encode", "compare"])
def test_a_picture_over_the_limit(photo, codec, capsys, command):
    fails(capsys, [command, "photo.png", "--max-pixels", "3k"], 6, "--max-pixels")
    assert codec.calls == []


def test_a_method_s_name_stands_for_the_package_s_own_weights():
    assert parse(["encode", "photo.png", "--model", "palette"]).model == "palette"  # as `regrain.load` takes it


def test_missing_weights_come_after_a_broken_file(photo, capsys):
    assert main(["encode", "photo.png", "whole.rgn", "--quiet"]) == 0
    whole = (photo.parent / "whole.rgn").read_bytes()
    (photo.parent / "cut.rgn").write_bytes(whole[:-1])
    fails(capsys, ["decode", "cut.rgn", "--model", "absent.safetensors"], 4)
    fails(capsys, ["decode", "whole.rgn", "--model", "absent.safetensors"], 5, "absent.safetensors")


@pytest.mark.parametrize(
    ("command", "name"), [("encode", "photo.png"), ("decode", "whole.rgn"), ("compare", "photo.png")]
)
def test_what_is_wrong_with_weights_is_not_said_of_the_input(photo, capsys, command, name):
    assert main(["encode", "photo.png", "whole.rgn", "--quiet"]) == 0
    fails(capsys, [command, name, "--model", "absent.safetensors"], 5, "error: no weights at absent.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_read_once(photo, capsys):
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(photo.read_bytes(),))
    writer.start()
    assert main(["encode", "pipe", "out.rgn", "--json"]) == 0
    writer.join()
    assert json.loads(capsys.readouterr().out)["input_bytes"] == photo.stat().st_size


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", 0),
        ("12345", 12345),
        ("20k", 20_000),
        ("20K", 20_000),
        ("1.5M", 1_500_000),
        ("64Ki", 65_536),
        ("2gib", 2**31),
    ],
)
def test_sizes(text, wanted):
    assert size(text) == wanted


@pytest.mark.parametrize("text", ["", "k", "-1", "1e6", "1.2.3", "5 apples", "0x10", "inf"])
def test_no_sizes(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 12345"):
        size(text)


@pytest.mark.parametrize("command", FLAGS)
def test_flags_are_exactly_these(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        parse([command, "--help"])
    assert leaving.value.code == 0
    words = capsys.readouterr().out.translate(str.maketrans(",][;:", "     ")).split()
    common = COMMON - ({"--device"} if command in ("inspect", "models", "explain", "pack") else set())
    common |= {"--model"} if command in ("encode", "decode", "compare", "evaluate", "sample", "fine-tune") else set()
    common |= {"--no-overwrite"} if command not in ("inspect", "models") else set()
    common |= {"--overwrite"} if command in ("encode", "decode", "compare", "sample", "explain", "pack") else set()
    common |= METADATA | MANY if command in ("encode", "decode") else set()
    common |= {"--format"} if command == "decode" else set()
    own = FLAGS[command].split()
    assert {word for word in words if word.startswith("--")} == {*own} | common
    # beside the common ones, such as --model; those of encode and decode stand in groups of the help
    assert len(own) <= {"encode": 11, "decode": 19}.get(command, 9)


def test_version(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"regrain {regrain.__version__}\n"


def test_threads_are_set_before_torch_is_loaded(photo, monkeypatch):
    chosen = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(set_num_threads=chosen.append))
    assert main(["encode", "photo.png", "--quiet", "--threads", "3"]) == 0
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert chosen == [3]


def test_a_warning_is_one_line(photo, codec, capsys, monkeypatch):
    def load(path, device, *, download=False):
        warnings.warn("two\nlines", UserWarning, stacklevel=1)

    monkeypatch.setattr("regrain.registry.load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["encode", "photo.png", "--model", "some", "-q", "1"]) == 0
    assert capsys.readouterr().err.startswith("regrain: warning: two lines\nphoto.png -> ")


def test_train_hands_over_to_the_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").touch()
    calls = []

    def run(recipe, *, out, quiet):
        calls.append((recipe, out, quiet))
        return out

    loop = types.SimpleNamespace(main=run)
    monkeypatch.setitem(sys.modules, "regrain_lab.training.loop", loop)
    training = types.ModuleType("regrain_lab.training")
    training.loop = loop
    monkeypatch.setitem(sys.modules, "regrain_lab.training", training)
    assert main(["train", "recipe.toml", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert [(str(recipe), out, quiet) for recipe, out, quiet in calls] == [("recipe.toml", tmp_path / "run", True)]
    fails(capsys, ["train", "recipe.toml", "--out", str(tmp_path), "--no-overwrite"], 7)


def test_distill_hands_over_and_prints_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").touch()
    rows = tuple(types.SimpleNamespace(at=n, figures={"psnr": 27.5 + n / 2}) for n in (1, 2))
    outcome = types.SimpleNamespace(folder=tmp_path, teacher=rows, student=rows)
    module = types.SimpleNamespace(main=lambda recipe, *, out, quiet: outcome)
    table = types.SimpleNamespace(steps_table=lambda teacher, student: f"{len(teacher)} and {len(student)}")
    for name, one in (("", types.ModuleType("regrain_lab.training")), (".distill", module), (".validation", table)):
        monkeypatch.setitem(sys.modules, f"regrain_lab.training{name}", one)
    assert main(["distill", "recipe.toml"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "2 and 2\n"
    assert shown.err == f"recipe.toml -> {tmp_path}\n"
    assert main(["distill", "recipe.toml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["student"] == [{"steps": 1, "psnr": 28.0, "lpips": None}, {"steps": 2, "psnr": 28.5, "lpips": None}]
    assert main(["distill", "recipe.toml", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_fine_tune_hands_over_and_prints_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("charts").mkdir()
    figures = {"bpp": 0.5, "psnr_faithful": 30.0, "psnr_textured": 29.5}
    rows, calls = (types.SimpleNamespace(at=25.0, figures=figures),), []
    outcome = types.SimpleNamespace(weights=Path("w.safetensors"), before=rows, after=rows)
    module = types.SimpleNamespace(main=lambda *given, **more: calls.append((given, more)) or outcome)
    for name, one in (("", types.ModuleType("regrain_lab.training")), (".fine_tune", module)):
        monkeypatch.setitem(sys.modules, f"regrain_lab.training{name}", one)
    flags = ["--parts", "all", "--steps", "7", "--lpips", "l", "--seed", "3"]
    assert main(["fine-tune", "charts", *flags, "--model", "b.safetensors"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].split() == ["25", "0.500", "0.500", "30.000", "30.000", "29.500", "29.500"]
    assert shown.err == "charts -> w.safetensors\n"
    assert main(["fine-tune", "charts", "--model", "conditional", "--out", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["after"] == [{"quality": 25.0, **figures}]
    first, second = calls
    assert first[0] == (Path("charts"), Path("charts.weights"))
    assert second[0] == (Path("charts"), Path("run"))
    about = {"parts": "all", "steps": 7, "lpips": Path("l"), "seed": 3, "base": Path("b.safetensors"), "quiet": False}
    assert first[1] == about
    assert second[1]["base"] is None
    fails(capsys, ["fine-tune", "absent"], 2)


def test_compare_draws_and_counts(photo, codec, capsys):
    assert main(["compare", "photo.png", "--json", "--realism", "0"]) == 0
    facts = json.loads(capsys.readouterr().out)
    ours = facts["rows"][-1]
    assert ours["codec"] == "regrain"
    assert codec.calls[0]["target_bpp"] == 0.2
    assert codec.calls[1]["realism"] == 0.0
    assert all(row["bytes"] <= ours["bytes"] or not row["fits"] for row in facts["rows"])
    assert all(row["lpips"] is None for row in facts["rows"])
    sheet = image.read("photo.compare.png").pixels
    assert sheet.shape[1] > 64 * len(facts["rows"])


def test_compare_turns_the_picture_upright(photo, codec, monkeypatch):
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    picture = image.Picture(image.read("photo.png").pixels, None, image.Metadata(exif=exif))
    image.write(picture, "turned.png")
    sizes, encode = [], codec.encode

    def watched(picture, **rest):
        sizes.append(picture.pixels.shape)
        return encode(picture, **rest)

    monkeypatch.setattr(codec, "encode", watched)
    assert main(["compare", "turned.png", "--quiet"]) == 0
    assert sizes == [(64, 48, 3)]


@pytest.mark.parametrize(("target", "words"), [("out.jpg", "cannot hold alpha"), ("out.ico", "allowed are png")])
def test_a_format_that_cannot_hold_the_picture_is_refused_before_the_work(photo, codec, capsys, target, words):
    header = bitstream.Header(64, 48, 12800, b"\1\2\3\4", tile=64, alpha=True)
    Path("photo.rgn").write_bytes(bitstream.write(bitstream.Stream(header, (bytes(900),), alpha=b"\0\7")))
    code = 7 if words == "cannot hold alpha" else 2
    fails(capsys, ["decode", "photo.rgn", target], code, target.removeprefix("out"), words)
    assert not codec.calls


def test_what_encode_does_not_keep_is_a_line_with_the_name_of_the_file(photo, capsys, caplog):
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green")]
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    before = Image.MAX_IMAGE_PIXELS
    assert main(["encode", "pages.tif", "--max-pixels", "5k"]) == 0
    assert caplog.messages == ["pages.tif: only the first of its frames or pages is kept"]
    assert before == Image.MAX_IMAGE_PIXELS


def test_what_a_format_has_no_place_for_is_a_line_with_the_name_of_the_file(photo, codec, caplog):
    main(["encode", "photo.png"])
    pixels, exif = np.zeros((48, 64, 3), np.uint8), b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    codec.decode = lambda data, **rest: image.Picture(pixels, None, image.Metadata(exif=exif))
    assert main(["decode", "photo.rgn", "out.bmp"]) == 0
    assert caplog.messages == ["out.bmp: BMP has no place for EXIF, left out"]


def test_compare_prints_a_table(photo, capsys):
    assert main(["compare", "photo.png", "out.png", "-q", "10"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["codec", "bytes", "bpp", "PSNR", "MS-SSIM"]
    assert {"JPEG", "regrain"} <= {line.split()[0] for line in out.splitlines()}
    assert "out.png" in err


def test_compare_wants_the_lpips_weights_it_is_told_of_first(photo, codec, capsys, monkeypatch):
    monkeypatch.setenv("REGRAIN_LPIPS", "absent.safetensors")
    fails(capsys, ["compare", "photo.png"], 5, "absent.safetensors")
    assert codec.calls == []


@pytest.fixture
def folder(photo, monkeypatch):
    """The photo, and a text, in `photos`; weights are a stand-in, charts cost nothing, and nobody takes times."""
    from regrain_lab.evaluation import charts, timing

    (photo.parent / "photos").mkdir()
    photo.rename(photo.parent / "photos" / "photo.png")
    (photo.parent / "photos" / "notes.txt").write_text("no picture")
    weights = {"fingerprint": b"\1\2\3\4", "device": "onnx", "recipe": "default"}
    stand_in = types.SimpleNamespace(**weights, method=bitstream.Method.CONDITIONAL)
    monkeypatch.setattr(regrain, "load", lambda path, name: stand_in)
    monkeypatch.setattr(charts, "draw", lambda panels, colours: {"png": b"png", "svg": b"<svg/>"})
    monkeypatch.setattr(timing, "measure", lambda *arguments, **named: [])
    return photo.parent / "photos"


EVALUATE = ["evaluate", "photos", "--codecs", "regrain", "JPEG=10,90", "--qualities", "20", "40", "--realism", "0", "1"]


def test_evaluate_measures_and_reports(folder, codec, capsys):
    assert main([*EVALUATE, "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert err == ""
    assert (facts["output"], facts["pictures"], facts["rows"], facts["failed"]) == ("photos.results", 1, 6, 0)
    assert [note.split()[0] for note in facts["notes"]] == [
        "notes.txt",
        "LPIPS",
        "LPIPS",
        "LPIPS",
        "DISTS",
        "PieAPP",
        "KID",
    ]
    assert all(os.path.isfile(path) for path in facts["files"])
    assert sorted(os.listdir("photos.results")) == ["RESULTS.md", "results", "results.csv", "results.html"]
    assert "regrain realism 1" in (folder.parent / "photos.results" / "RESULTS.md").read_text()
    assert {call.get("realism") for call in codec.calls} >= {0.0, 1.0}


def test_evaluate_goes_on_in_the_same_table(folder, codec, capsys):
    assert main(["evaluate", "photos", "out", *EVALUATE[2:], "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    before = len(codec.calls)
    assert main(["evaluate", "photos", "out", "--codecs", "JPEG=10,90", "WebP=50"]) == 0
    assert len(codec.calls) == before
    assert (folder.parent / "out" / "results.csv").read_text().count("\n") == 1 + 7
    err = capsys.readouterr().err
    assert err.startswith("notes.txt skipped: ")
    assert err.endswith("photos -> out: pictures 1, rows 3, failed 0\n")
    fails(capsys, ["evaluate", "photos", "out", "--no-overwrite"], 7, "results.csv exists")
    fails(capsys, ["evaluate", "photos", "photos/notes.txt"], 7, "notes.txt")


def test_evaluate_adds_a_table_of_distributions_where_its_networks_are_named(folder, codec, capsys, monkeypatch):
    import torch

    from regrain_lab.cli import evaluate
    from regrain_lab.metrics.realism import Features

    class Network:
        def features(self, pixels: np.ndarray) -> Features:
            return Features(*torch.tensor(pixels.reshape(2, -1)).float()[None].repeat(2, 1, 1))

    for name in ("photo", "other"):
        image.write(image.Picture(np.zeros((128, 256, 3), np.uint8)), folder / f"{name}.png")
    monkeypatch.setattr(evaluate, "_load_realism", lambda weights: Network())
    assert main(["evaluate", "photos", "--codecs", "JPEG=10,90", "--json"]) == 0
    assert (folder.parent / "photos.results" / "distributions.csv").read_text().count("\n") == 1 + 2
    assert "the 4 patches of 128 x 128" in (folder.parent / "photos.results" / "RESULTS.md").read_text()


def test_evaluate_refuses_before_it_makes_anything(folder, codec, capsys):
    from safetensors.torch import save_file
    from torch import zeros

    os.mkdir("empty")
    fails(capsys, ["evaluate", "empty", "--quiet"], 2, "no picture in empty")
    fails(capsys, ["evaluate", "photos", "--codecs", "JPEG", "--weights", "absent.st", "--quiet"], 5, "absent.st")
    fails(capsys, ["evaluate", "photos", "photos/photo.png/out", "--quiet"], 7, "photo.png is no folder")
    kinds = {"heads": "lin0.weight", "vgg16": "features.28.weight", "alex": "lin0.weight"}
    for name, tensor in kinds.items():
        save_file({tensor: zeros(1)} | ({"features.3.weight": zeros(1)} if name == "alex" else {}), name)
    fails(capsys, ["evaluate", "photos", "--codecs", "JPEG", "--quiet", "--weights", *kinds], 5, "heads", "LPIPS")
    assert codec.calls == []


@pytest.mark.parametrize("command", [["evaluate", "photos"], ["compare", "photos/photo.png"]])
def test_what_needs_the_extra_says_what_to_install(folder, codec, capsys, monkeypatch, command):
    module = importlib.import_module(f"regrain_lab.cli.{command[0]}")
    monkeypatch.setattr(module, "_EXTRA", ("no_such_package",))
    fails(capsys, command, 2, "pip install 'regrain[lab]'")
    assert codec.calls == []


@pytest.mark.skipif(importlib.util.find_spec("regrain.codec") is None, reason="there is no codec yet")
@pytest.mark.parametrize(
    "arguments", [["--version"], ["decode", "bad.rgn"], ["inspect", "bad.rgn"], ["decode", "none"]]
)
def test_torch_is_not_loaded_for_what_does_not_need_it(photo, arguments):
    assert main(["encode", "photo.png", "bad.rgn", "--quiet"]) == 0
    data = bytearray((photo.parent / "bad.rgn").read_bytes())
    data[-1] ^= 1
    (photo.parent / "bad.rgn").write_bytes(data)
    code = "import sys\nfrom regrain.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1] == "False"
    assert "Traceback" not in run.stderr
