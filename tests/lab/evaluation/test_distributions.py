"""KID and the Gram distance of a folder: a record of everything once, failures as records, and the report of them."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regrain_lab.evaluation import tables
from regrain_lab.evaluation.codecs import BenchmarkCodec, DecodeSetting
from regrain_lab.evaluation.distributions import measure
from regrain_lab.evaluation.table import Distribution, read
from regrain_lab.metrics.realism import Features

WAYS = (DecodeSetting(0, 1, 0.0), DecodeSetting(0, 1, 1 / 3))


class Network:
    """In place of AlexNet and VGG16: pixels of each patch."""

    def features(self, pixels: np.ndarray) -> Features:
        height, width = (side // 128 for side in pixels.shape[:2])
        whole = torch.from_numpy(pixels[: 128 * height, : 128 * width].copy()).float() / 255
        rows = whole.reshape(height, 128, width, 384).transpose(1, 2).reshape(height * width, 128 * 384)[:, ::384]
        return Features(rows, rows[:, :9])


class Codec:
    """Keeps pixels, coarser at a coarser setting, and remembers what it was asked."""

    def __init__(self, *, stop_after: int = 10**9) -> None:
        self.calls: list[float] = []
        self.stop_after = stop_after

    def encode(self, pixels: np.ndarray, setting: float) -> bytes:
        if len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(setting)
        file = io.BytesIO()
        np.save(file, pixels // int(setting) * int(setting))
        return file.getvalue()

    def codecs(self) -> list[BenchmarkCodec]:
        plain = BenchmarkCodec("plain", lambda: "1", (64, 1), self.encode, loaded)
        return [
            plain,
            BenchmarkCodec("ways", lambda: "1", (1,), self.encode, loaded, fingerprint="0102", decode_settings=WAYS),
        ]


def loaded(data: bytes, setting: DecodeSetting) -> np.ndarray:
    pixels = np.load(io.BytesIO(data))
    return pixels // 2 if setting.realism else pixels


def failing(*arguments):
    raise OSError("it is\nbroken")


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Two pictures of two patches each."""
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(random.integers(0, 256, (128, 256, 3), np.uint8)).save(tmp_path / name)
    return sorted(tmp_path.glob("*.png"))


def run(files: list[Path], codecs: list[BenchmarkCodec]) -> list[Distribution]:
    return measure(files, codecs, Network(), files[0].with_name("t.csv"))


def test_there_is_a_row_of_everything_and_equal_pictures_are_at_0(files):
    rows = run(files, Codec().codecs())
    assert rows == read(Distribution, files[0].with_name("t.csv"))
    ways = [("plain", "64", None), ("plain", "1", None), ("ways", "1", 0.0), ("ways", "1", 0.3333333)]
    assert [(row.codec, row.setting, row.realism) for row in rows] == ways
    for row in rows:
        assert (row.patches, row.side, row.error) == (4, 128, "")
        assert row.bpp == pytest.approx(24 + 8 * 128 / (128 * 256), rel=1e-6)
    coarse, whole, same, halved = rows
    for row in (whole, same):
        assert (row.kid, row.gram) == pytest.approx((0, 0), abs=1e-6)
        assert row.kid_error is None
    assert min(coarse.kid, coarse.gram, halved.kid, halved.gram) > 0.01


def test_what_is_there_is_not_measured_again(files, monkeypatch):
    first = run(files, Codec().codecs())
    codec = Codec()
    monkeypatch.setattr(Network, "features", failing)
    assert run(files, codec.codecs()) == first
    assert codec.calls == []


def test_a_run_that_was_stopped_goes_on(files):
    with pytest.raises(KeyboardInterrupt):
        run(files, Codec(stop_after=3).codecs())
    assert len(read(Distribution, files[0].with_name("t.csv"))) == 1
    codec = Codec()
    assert len(run(files, codec.codecs())) == 4
    assert codec.calls == [1, 1, 1, 1]


def test_other_patches_are_other_rows(files):
    run(files, Codec().codecs())
    codec = Codec()
    (row, *_), (other, *_) = (run(own, codec.codecs()) for own in (files + files[:1], files[:1]))
    assert (row.patches, row.error, other.patches) == (6, "", 2)
    assert "pairs from two pictures at least" in other.error
    assert len(read(Distribution, files[0].with_name("t.csv"))) == 12


def test_what_fails_is_a_row_and_the_rest_goes_on(files):
    codec = Codec()
    no_file = BenchmarkCodec("no file", lambda: "1", (1,), failing, loaded, decode_settings=WAYS)
    no_picture = BenchmarkCodec("no picture", lambda: "1", (1,), codec.encode, failing)
    smaller = BenchmarkCodec("smaller", lambda: "1", (1,), codec.encode, lambda *given: loaded(*given)[:127])
    rows = run(files, [no_file, no_picture, smaller, *codec.codecs()[:1]])
    errors = [row.error for row in rows]
    assert errors[:3] == ["OSError: it is broken"] * 3
    assert errors[3].startswith("patches are [(2, 128), (2, 128)] and ")
    assert errors[4:] == ["", ""]
    assert rows[0].bpp is None
    assert rows[2].bpp > 1


def record(codec: str = "regrain", **figures) -> Distribution:
    return Distribution(codec, "1.0", "", "28", 0, 1, None, "0102", 192, 128, **figures)


def test_the_report_has_a_line_a_record():
    table = tables.distributions(
        [record(bpp=0.2, kid=0.0042, kid_error=0.0003, gram=0.01), record("JPEG", error="OSError: no")]
    )
    assert list(table.rows) == [
        ["regrain", "28", "0.200", "192", "4.200 ± 0.300", "10.000"],
        ["JPEG", "28", "", "192", "", ""],
    ]
