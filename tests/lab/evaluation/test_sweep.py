"""The sweep: a row for everything, once; odd pictures and failing codecs are rows; a stopped run goes on."""

import io
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regrain import image
from regrain.errors import LimitError, ModelError, UsageError
from regrain_lab.evaluation import baselines, sweep
from regrain_lab.evaluation.codecs import BenchmarkCodec, DecodeSetting
from regrain_lab.evaluation.suite import Suite
from regrain_lab.evaluation.sweep import list_pictures, load_pixels
from regrain_lab.evaluation.table import Row, read
from regrain_lab.metrics.registry import load_metrics

WAYS = (DecodeSetting(0, 1, 0.0), DecodeSetting(0, 1, 1.0))


def stored(pixels: np.ndarray, setting: float) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels // int(setting) * int(setting))
    return file.getvalue()


def loaded(data: bytes, setting: DecodeSetting) -> np.ndarray:
    return np.load(io.BytesIO(data))


def gap(original: np.ndarray, decoded: np.ndarray) -> float | None:
    if original.size < 30:
        return None
    return float(np.abs(np.subtract(original, decoded, dtype=float)).mean())


@dataclass(frozen=True)
class Fake:
    """A bench of two codecs that store pixels; a value, so that a worker can have its own. `calls` tells of each."""

    calls: list = field(default_factory=list, compare=False)
    metrics: tuple[str, ...] = ("gap",)
    fingerprint: str = ""
    stop_after: int = 10**9

    def __call__(self) -> Suite:
        plain = BenchmarkCodec("plain", lambda: "1", (16, 4), self.encode, loaded)
        ways = BenchmarkCodec(
            "ways", lambda: "1", (8,), self.encode, loaded, fingerprint=self.fingerprint, decode_settings=WAYS
        )
        return Suite([plain, ways], dict.fromkeys(self.metrics, gap))

    def encode(self, pixels: np.ndarray, setting: float) -> bytes:
        if pixels.shape != (64, 64, 3):
            if len(self.calls) >= self.stop_after:
                raise KeyboardInterrupt
            self.calls.append(setting)
        return stored(pixels, setting)


def save(path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three pictures, a text, a picture that breaks off, a hidden file and a folder."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    here = tmp_path / "pictures"
    (here / "folder.png").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png"):
        save(here / name, noise)
    (here / "broken.png").write_bytes((here / "a.png").read_bytes()[:-900])
    (here / "notes.txt").write_text("no picture")
    (here / ".hidden.png").write_text("no picture")
    return here


def run(folder, prepare, **options):
    files, _ = list_pictures(folder)
    return sweep.sweep(files, prepare, folder.parent / "t.csv", **options)


def test_a_text_and_a_broken_picture_are_named_and_skipped(folder):
    files, skipped = list_pictures(folder)
    assert [path.name for path in files] == ["a.png", "b.png", "c.png"]
    assert [line.partition(" skipped: ")[0] for line in skipped] == ["broken.png", "notes.txt"]
    assert not any(str(folder) in line or "\n" in line for line in skipped)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no picture in"):
        list_pictures(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        list_pictures(tmp_path / "absent")


def test_there_is_a_row_of_everything_in_order(folder):
    rows = run(folder, Fake())
    assert rows == read(Row, folder.parent / "t.csv")
    wanted = [("plain", "16", None), ("plain", "4", None), ("ways", "8", 0.0), ("ways", "8", 1.0)]
    assert [(row.image, row.codec, row.setting, row.realism) for row in rows] == [
        (image, *rest) for image in ("a.png", "b.png", "c.png") for rest in wanted
    ]
    for row in rows:
        assert row.bytes == 128 + 20 * 30 * 3
        assert row.bpp == pytest.approx(8 * row.bytes / 600)
        assert (row.width, row.height, row.error) == (30, 20, "")
        assert row.encode_s > 0
        assert row.decode_s > 0
        assert row.machine
        assert (float(row.setting) - 1) / 2 == pytest.approx(row.metrics["gap"], rel=0.1)
        assert row.peak_mb > 5 or not sys.platform.startswith("linux")


def test_a_file_is_made_once_for_all_ways_to_decode_it(folder):
    fake = Fake()
    run(folder, fake)
    assert fake.calls == [16, 4, 8] * 3


def test_what_is_there_is_not_measured_again(folder):
    first = run(folder, Fake())
    fake = Fake()
    assert run(folder, fake) == first
    assert fake.calls == []


def test_a_run_that_was_stopped_goes_on(folder):
    with pytest.raises(KeyboardInterrupt):
        run(folder, Fake(stop_after=4))
    table = folder.parent / "t.csv"
    assert len(read(Row, table)) == 5
    table.write_bytes(table.read_bytes()[:-3])
    fake = Fake()
    rows = run(folder, fake)
    assert fake.calls == [16, 4, 8, 16, 4, 8, 16, 4, 8][3:]
    assert len(rows) == len(read(Row, table)) == 12


def test_other_weights_and_another_metric_are_measured_and_the_rest_is_not(folder):
    run(folder, Fake())
    fake = Fake(fingerprint="01020304-05060708")
    run(folder, fake)
    assert fake.calls == [8] * 3
    fake = Fake(fingerprint="01020304-05060708", metrics=("gap", "more"))
    rows = run(folder, fake)
    assert fake.calls == [16, 4, 8] * 3
    assert all({"gap", "more"} == row.metrics.keys() for row in rows)


def test_rows_of_other_pictures_are_not_mixed_in(folder):
    run(folder, Fake())
    (folder / "a.png").rename(folder / "d.png")
    with pytest.raises(UsageError, match=r"rows of other pictures, as a\.png"):
        run(folder, Fake())


def test_processes_give_the_same_rows(folder):
    alone = run(folder, Fake())
    (folder.parent / "t.csv").unlink()
    shared = run(folder, Fake(), jobs=2)
    timeless = {"encode_s": None, "decode_s": None, "peak_mb": None}
    assert [vars(row) | timeless for row in shared] == [vars(row) | timeless for row in alone]


@dataclass(frozen=True)
class Deadly:
    """A bench of which the first worker to encode at 4 is killed, once another has encoded all of the rest.

    Every encode leaves a mark, a file in the folder `marks`.
    """

    marks: Path

    def __call__(self) -> Suite:
        return bench(BenchmarkCodec("plain", lambda: "1", (16, 4), self.encode, loaded))

    def encode(self, pixels: np.ndarray, setting: float) -> bytes:
        if pixels.shape != (64, 64, 3):
            first = len(list(self.marks.glob("4-*"))) == 0
            (self.marks / f"{setting}-{time.perf_counter_ns()}").touch()
            if setting == 4 and first:
                self.die()
        return stored(pixels, setting)

    def die(self) -> None:
        end = time.monotonic() + 30
        while len(list(self.marks.iterdir())) < 6 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_killed_worker_costs_its_own_row_and_a_new_run_completes(folder):
    deadly = Deadly(folder.parent / "marks")
    deadly.marks.mkdir()
    with pytest.raises(LimitError, match=r"^a worker died[^\n]*a new run goes on here$"):
        run(folder, deadly, jobs=2)
    kept = read(Row, folder.parent / "t.csv")
    assert len(kept) in (4, 5)
    rows = run(folder, deadly, jobs=2)
    assert len(rows) == 6
    assert not any(row.error for row in rows)
    assert set(map(repr, kept)) <= set(map(repr, rows))


def failing(kind: type[Exception], *arguments):
    raise kind("it is\nbroken")


def bench(*contestants: BenchmarkCodec) -> Suite:
    return Suite(contestants, {"gap": gap})


def test_what_fails_is_a_row_and_the_rest_goes_on(folder):
    no_file = BenchmarkCodec("no file", lambda: "1", (1,), partial(failing, LimitError), loaded, decode_settings=WAYS)
    no_picture = BenchmarkCodec("no picture", lambda: "1", (1,), stored, partial(failing, KeyError))
    other_size = BenchmarkCodec(
        "other size", lambda: "1", (1,), lambda pixels, setting: stored(pixels[1:], setting), loaded
    )
    fine = BenchmarkCodec("fine", lambda: "1", (1,), stored, loaded)
    rows = run(folder, partial(bench, no_file, no_picture, other_size, fine))
    assert len(rows) == 3 * 5
    by_codec = {row.codec: row for row in rows}
    assert by_codec["no file"].error == "it is broken"
    assert by_codec["no file"].bytes is None
    assert by_codec["no file"].width == 30
    assert by_codec["no picture"].error.startswith("KeyError: ")
    assert by_codec["no picture"].bytes > 1000
    assert by_codec["no picture"].metrics == {}
    assert by_codec["other size"].error.startswith("ValueError: ")
    assert by_codec["fine"].error == ""
    assert by_codec["fine"].metrics == {"gap": 0.0}


def test_weights_that_are_missing_end_the_run_before_it_begins(folder):
    with pytest.raises(ModelError):
        run(folder, partial(failing, ModelError))
    assert not (folder.parent / "t.csv").exists()


def test_odd_pictures_are_rows(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    save(folder / "dot.png", random.integers(0, 256, (1, 1, 3), np.uint8))
    save(folder / "grey.png", random.integers(0, 256, (50, 60), np.uint8))
    save(folder / "long.png", random.integers(0, 256, (7, 5000, 3), np.uint8))
    save(folder / "rgba.png", random.integers(0, 256, (50, 60, 4), np.uint8))
    save(folder / "sixteen.png", random.integers(0, 65536, (50, 60), np.uint16))
    jpeg, webp = (replace(codec, settings=[50]) for codec in (baselines.JPEG, baselines.WEBP))
    rows = run(folder, lambda: Suite([jpeg, webp], load_metrics()))
    assert [row.error for row in rows] == [""] * 10
    sizes = {row.image: (row.width, row.height) for row in rows}
    assert sizes["dot.png"] == (1, 1)
    assert sizes["long.png"] == (5000, 7)
    for row in rows:
        assert row.metrics["psnr"] is not None
        assert row.metrics["ms_ssim"] is None
        assert (row.metrics["ssim"] is None) == (row.image in ("dot.png", "long.png"))
    assert read(Row, tmp_path / "t.csv") == rows


def test_everybody_gets_rgb_of_8_bits(tmp_path):
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    save(tmp_path / "sixteen.png", grey)
    save(tmp_path / "rgba.png", np.dstack([grey // 257] * 3 + [grey // 512]).astype(np.uint8))
    wanted = np.repeat((grey // 257).astype(np.uint8)[..., None], 3, axis=2)
    for name in ("sixteen.png", "rgba.png"):
        assert np.array_equal(load_pixels(tmp_path / name), wanted)
        assert load_pixels(tmp_path / name).flags.c_contiguous


def test_everybody_gets_the_picture_upright(tmp_path):
    pixels = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    image.write(image.Picture(pixels, None, image.Metadata(exif=exif)), tmp_path / "turned.png")
    assert np.array_equal(load_pixels(tmp_path / "turned.png"), np.rot90(pixels))


def test_the_bar_is_for_terminals_alone(folder, monkeypatch, capsys):
    run(folder, Fake(), progress=True)
    assert capsys.readouterr().err == ""
    (folder.parent / "t.csv").unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(folder, Fake(), progress=True)
    assert "12/12" in capsys.readouterr().err
