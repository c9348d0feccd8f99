"""`regrain pack`: what it says of a tree, a tar or zip file, a recipe, and of what is hostile."""

import csv
import io
import json
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from regrain.cli import main

FEW = ["--crop", "64", "--crops", "1"]


def picture(seed, side=96):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file, "png")
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
BOMB += chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_tar(name, *members):
    with tarfile.open(name, "w") as tar:
        for title, data, kind in members:
            info = tarfile.TarInfo(title)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            tar.addfile(info, io.BytesIO(data))


def sources(folder="out"):
    with open(f"{folder}/index.csv", newline="", encoding="utf-8") as file:
        return [row["source"] for row in csv.DictReader(file)]


def test_a_tree_is_packed_and_summed_up(place, capsys):
    for number in range(3):
        (place / "in" / "sub").mkdir(parents=True, exist_ok=True)
        (place / "in" / "sub" / f"{number}.png").write_bytes(picture(number))
    (place / "in" / "bro\nken.png").write_bytes(b"no picture")
    assert main(["pack", "in", "out", *FEW, "--licence", "free"]) == 0
    warning, line = capsys.readouterr().err.splitlines()
    assert warning == r"regrain: warning: left out: bro\nken.png: not a picture of a known format"
    assert line.startswith("in -> out: pictures 4, packed 3, shards 1, ")
    assert "; left out: 1 broken; " in line
    assert main(["pack", "in", "out", *FEW]) == 7
    assert capsys.readouterr().err == "regrain: error: out/packed-00000.tar exists; --overwrite replaces it\n"
    assert main(["pack", "in", "out", *FEW, "--overwrite", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["pictures"], facts["packed"], facts["broken"], facts["flat"]) == (4, 3, 1, 0)
    assert facts["bytes"] == (place / "out" / "packed-00000.tar").stat().st_size


def test_of_many_broken_pictures_some_are_named(place, capsys):
    (place / "in").mkdir()
    (place / "in" / "good.png").write_bytes(picture(0))
    for number in range(30):
        (place / "in" / f"{number}.png").touch()
    assert main(["pack", "in", "out", *FEW]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[-2] == "regrain: warning: and 10 more are broken"


def test_a_hostile_tar_costs_a_line_a_member_and_writes_nothing_outside(place, capsys):
    write_tar(
        "in.tar", ("/etc/abs.png", picture(1), tarfile.REGTYPE), ("../../up.png", picture(2), tarfile.REGTYPE),
        ("link.png", b"", tarfile.SYMTYPE), ("hard.png", b"", tarfile.LNKTYPE), ("pipe.png", b"", tarfile.FIFOTYPE),
        ("bomb.png", BOMB, tarfile.REGTYPE), ("cut.png", picture(3)[:400], tarfile.REGTYPE),
    )  # fmt: skip
    assert main(["pack", "in.tar", "out", *FEW]) == 0
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("regrain: warning: left out: in.tar/bomb.png: it has 60000 x 60000 = 3600000000 pixels")
    assert second.startswith("regrain: warning: left out: in.tar/cut.png: ")
    assert sources() == ["/etc/abs.png", "../../up.png"]
    with tarfile.open("out/packed-00000.tar") as tar:
        assert tar.getnames() == ["00000000.png", "00000001.png"]
    assert sorted(path.name for path in place.iterdir()) == ["in.tar", "out"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("link.png", b"", tarfile.SYMTYPE), ("hard.png", b"", tarfile.LNKTYPE)], "in.tar: there is no picture"),
        ([("bomb.png", BOMB, tarfile.REGTYPE)], "none of 1 pictures is of use: 1 broken; the first that is broken: in"),
    ],
)  # fmt: skip
def test_a_tar_of_nothing_else_is_one_line(place, capsys, members, words):
    write_tar("in.tar", *members)
    assert main(["pack", "in.tar", "out", *FEW]) == 3
    err = capsys.readouterr().err
    assert err.startswith("regrain: error: in.tar: ")
    assert words in err
    assert err.count("\n") == 1
    assert not (place / "out").exists()


def test_a_hostile_zip_is_read_within_bounds(place, capsys):
    pytest.importorskip("fsspec")
    with zipfile.ZipFile("in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (("a/a.png", picture(1)), ("../up.png", picture(2)), ("bomb.png", BOMB)):
            archive.writestr(name, data)
        archive.writestr("vast.png", bytes(2**28 + 1))
    assert main(["pack", "in.zip", "out", *FEW]) == 0
    bomb, vast, _ = capsys.readouterr().err.splitlines()
    assert "60000 x 60000" in bomb
    assert vast == "regrain: warning: left out: vast.png: 268435457 bytes; up to 268435456 are allowed"
    assert sorted(sources()) == ["../up.png", "a/a.png"]


def test_of_a_recipe_its_pictures_are_packed_those_held_out_first(place, capsys):
    pytest.importorskip("torch")
    from lab.training.tiny import HEAD, STAGES, write_recipe, write_shards

    write_shards(place / "shards")
    write_recipe(place, HEAD + STAGES)
    everything = ["--crop", "0", "--duplicates", "0", "--flat", "0", "--clipped", "1"]
    assert main(["pack", "tiny.toml", "out", *everything, "--quiet"]) == 0
    assert sources() == [f"000{number}.png" for number in (3, 6, 0, 1, 2, 7)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["absent", "out"], 3, "absent: No such file"),
        (["empty", "out"], 3, "empty: there is no picture"),
        (["absent.toml", "out"], 2, "absent.toml"),
        (["empty", "out", "--crop", "31"], 2, "crop is 31"),
        (["empty", "out", "--clipped", "1.5"], 2, "clipped is 1.5; 0 to 1 is allowed"),
        (["empty", "out", "--flat", "nan"], 2, "flat is nan"),
        (["empty", "memory://out"], 7, "a folder of this machine"),
        (["empty", "file/out"], 7, "file is no folder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(place, capsys, arguments, code, words):
    (place / "empty").mkdir()
    (place / "file").touch()
    assert main(["pack", *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert sorted(path.name for path in place.iterdir()) == ["empty", "file"]
