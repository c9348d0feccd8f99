"""The whole command on what a folder may hold: every picture is a row of every codec, the rest is named and skipped."""

import io
import math

import numpy as np
import pytest
from PIL import Image, features

from regrain.cli import main
from regrain_lab.evaluation import charts, timing
from regrain_lab.evaluation.table import Row, read

SHAPES = {"dot.png": (1, 1, 3), "grey.png": (40, 50), "long.png": (7, 5000, 3), "rgba.png": (40, 50, 4)}
TOO_SMALL = {"dot.png", "long.png"}
CODECS = ["regrain", "JPEG=30", "WebP=30", *(["AVIF=20,95"] if features.check("avif") else [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Smooth pictures of odd shapes, one of 16 bits, one that breaks off, and a text."""
    here = tmp_path_factory.mktemp("odd") / "pictures"
    here.mkdir()
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        Image.fromarray(random.integers(90, 110, shape, np.uint8)).save(here / name)
    Image.fromarray(random.integers(20000, 30000, (40, 50), np.uint16)).save(here / "sixteen.png")
    whole = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(whole, "PNG")
    (here / "broken.png").write_bytes(whole.getvalue()[:-2000])
    (here / "notes.txt").write_text("no picture")
    return here


def test_odd_pictures_are_rows_and_what_is_none_is_named(folder, monkeypatch, capsys):
    monkeypatch.setattr(charts, "draw", lambda panels, colours: {"png": b"png", "svg": b"<svg/>"})
    monkeypatch.setattr(timing, "measure", lambda *arguments, **named: [])
    out = folder.parent / "out"
    how = ["--codecs", *CODECS, "--qualities", "40", "--realism", "1"]
    assert main(["evaluate", str(folder), str(out), *how]) == 0
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(" skipped: ")[0] for line in err[:2]] == ["broken.png", "notes.txt"]
    rows = read(Row, out / "results.csv")
    assert not [row.error for row in rows if row.error]
    assert {row.image for row in rows} == {*SHAPES, "sixteen.png"}
    assert {row.codec for row in rows} == {name.partition("=")[0] for name in CODECS}
    assert len(rows) == 5 * (3 + 2 * (len(CODECS) > 3))
    for row in rows:
        assert row.bytes > 0
        assert row.metrics["psnr"] is not None
        assert (row.metrics["ssim"] is None) == (row.image in TOO_SMALL)
        assert row.metrics["ms_ssim"] is None
    lines = (out / "results.csv").read_text().splitlines()
    cells = dict(zip(lines[0].split(","), lines[1].split('"')[0].split(","), strict=False))
    assert cells["image"] == "dot.png"
    assert math.isnan(float(cells["ssim"]))
    assert (out / "results.html").stat().st_size > 1000
