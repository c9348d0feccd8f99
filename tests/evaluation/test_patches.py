"""FID and KID of a folder: its patches, a row of everything once, and failures as rows."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regrain.evaluation import inception
from regrain.evaluation.contestants import Contestant, Knobs
from regrain.evaluation.distributions import Distribution, read
from regrain.evaluation.patches import measure, patches

WAYS = (Knobs(0, 1, 0.0), Knobs(0, 1, 1 / 3))
WEIGHTS = Path("inception.pth")


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(512, 768, 6 + 2), (768, 512, 8), (256, 256, 1), (384, 384, 2), (383, 2000, 7), (255, 2000, 0), (1, 1, 0)],
)
def test_patches_are_two_grids_half_a_patch_apart(height, width, count):
    assert patches(np.zeros((height, width, 3), np.uint8)).shape == (count, 256, 256, 3)


def test_a_patch_is_what_stands_there():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    wanted = [pixels[y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 4, 8)]
    wanted += [pixels[2:6, x : x + 4] for x in (2, 6)]
    assert np.array_equal(patches(pixels, 4), np.stack(wanted))


def features(batch: torch.Tensor) -> torch.Tensor:
    """In place of Inception: 2048 pixels of each patch."""
    assert batch.dtype == torch.uint8
    return batch.flatten(1)[:, ::96].float() / 255


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

    def contestants(self) -> list[Contestant]:
        plain = Contestant("plain", "1", (64, 1), self.encode, loaded)
        return [plain, Contestant("ways", "1", (1,), self.encode, loaded, fingerprint="0102", knobs=WAYS)]


def loaded(data: bytes, knobs: Knobs) -> np.ndarray:
    pixels = np.load(io.BytesIO(data))
    return pixels // 2 if knobs.realism else pixels


def failing(*arguments):
    raise OSError("it is\nbroken")


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    """Two pictures of two patches each."""
    monkeypatch.setattr(inception, "Inception", lambda path: features)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(random.integers(0, 256, (256, 512, 3), np.uint8)).save(tmp_path / name)
    return sorted(tmp_path.glob("*.png"))


def run(files: list[Path], contestants: list[Contestant]) -> list[Distribution]:
    return measure(files, contestants, WEIGHTS, files[0].with_name("t.csv"))


def test_there_is_a_row_of_everything_and_equal_pictures_are_at_0(files):
    rows = run(files, Codec().contestants())
    assert rows == read(files[0].with_name("t.csv"))
    ways = [("plain", "64", None), ("plain", "1", None), ("ways", "1", 0.0), ("ways", "1", 0.3333333)]
    assert [(row.codec, row.setting, row.realism) for row in rows] == ways
    for row in rows:
        assert (row.patches, row.side, row.error) == (4, 256, "")
        assert row.bpp == pytest.approx(24 + 8 * 128 / (256 * 512), rel=1e-6)
    coarse, whole, same, halved = rows
    for row in (whole, same):
        assert row.fid == pytest.approx(0, abs=1e-6)
        assert row.kid == pytest.approx(0, abs=1e-9)
    assert min(coarse.fid, halved.fid) > 1
    assert halved.kid > 0.01


def test_what_is_there_is_not_measured_again(files, monkeypatch):
    first = run(files, Codec().contestants())
    codec = Codec()
    monkeypatch.setattr(inception, "Inception", failing)
    assert run(files, codec.contestants()) == first
    assert codec.calls == []


def test_a_run_that_was_stopped_goes_on(files):
    with pytest.raises(KeyboardInterrupt):
        run(files, Codec(stop_after=3).contestants())
    assert len(read(files[0].with_name("t.csv"))) == 1
    codec = Codec()
    assert len(run(files, codec.contestants())) == 4
    assert codec.calls == [1, 1, 1, 1]


def test_other_patches_are_other_rows(files):
    run(files, Codec().contestants())
    codec = Codec()
    assert {row.patches for row in run(files[:1], codec.contestants())} == {2}
    assert len(codec.calls) == 3
    assert len(read(files[0].with_name("t.csv"))) == 8


def test_what_fails_is_a_row_and_the_rest_goes_on(files):
    codec = Codec()
    no_file = Contestant("no file", "1", (1,), failing, loaded, knobs=WAYS)
    no_picture = Contestant("no picture", "1", (1,), codec.encode, failing)
    smaller = Contestant("smaller", "1", (1,), codec.encode, lambda data, knobs: loaded(data, knobs)[:255])
    rows = run(files, [no_file, no_picture, smaller, *codec.contestants()[:1]])
    errors = [row.error for row in rows]
    assert errors[:3] == ["OSError: it is broken"] * 3
    assert errors[3].startswith("UsageError: features are (4, 2048) and (0, 2048)")
    assert errors[4:] == ["", ""]
    assert rows[0].bpp is None
    assert rows[2].bpp > 1
