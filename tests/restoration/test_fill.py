"""Filling: what is known stays, what is lost is drawn by the seed; in files, in windows, and in the report."""

import json

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import bitstream
from regrain.cli import main
from regrain.restoration import fill as room
from regrain.restoration.fill import fill, harmonic


class Shrink:
    """The ideal denoiser of pictures N(0, 0.3^2)."""

    def __init__(self):
        self.sizes = []

    def denoise(self, x_t, log_snr):
        self.sizes.append(x_t.shape[1:])
        snr = np.exp(log_snr)
        alpha = np.sqrt(snr / (1 + snr))
        return np.float32(0.09 * alpha / (0.09 * alpha**2 + 1 - alpha**2)) * x_t


def scene(height=40, width=72, channels=3):
    return np.random.default_rng(0).integers(60, 200, (height, width, channels), np.uint8)


def filled(pixels, *lost, seed=0, denoiser=None):
    drawn = pixels.copy()
    fill(denoiser or Shrink(), drawn, lost, seed)
    return drawn


INSIDE = slice(9, 20), slice(30, 41)
BORDER = slice(0, 13), slice(61, 72)


@pytest.mark.parametrize("place", [INSIDE, BORDER])
@pytest.mark.parametrize("channels", [1, 3])
def test_known_pixels_stay_and_the_seed_draws_the_others(place, channels):
    pixels = scene(channels=channels)
    one, same, other = filled(pixels, place), filled(pixels, place), filled(pixels, place, seed=1)
    known = np.ones(pixels.shape[:2], bool)
    known[place] = False
    assert (one[known] == pixels[known]).all()
    assert (other[known] == pixels[known]).all()
    assert (one == same).all()
    assert (one[place] != other[place]).mean() > 0.5


def test_what_was_there_before_does_not_matter():
    pixels, other = scene(), scene()
    other[INSIDE] = 0
    assert (filled(pixels, INSIDE) == filled(other, INSIDE)).all()


def test_what_stands_around_matters():
    pixels, other = scene(), scene()
    other[9:20, 20:30] = 255
    assert (filled(pixels, INSIDE)[INSIDE] != filled(other, INSIDE)[INSIDE]).any()


def test_nothing_lost_and_all_lost_leave_the_picture_as_it_is():
    pixels = scene()
    assert (filled(pixels) == pixels).all()
    assert (filled(pixels, (slice(0, 40), slice(0, 72))) == pixels).all()


def test_windows_are_bounded_and_the_far_ones_come_last(monkeypatch):
    monkeypatch.setattr(room, "SIDE", 128)
    monkeypatch.setattr(room, "STEPS", 1)
    pixels, denoiser = np.full((40, 400, 3), 7, np.uint8), Shrink()
    pixels[:, 390:] = 90
    drawn = filled(pixels, (slice(0, 40), slice(0, 390)), denoiser=denoiser)
    assert (drawn[:, :390] != 7).mean() > 0.9
    assert max(max(size) for size in denoiser.sizes) <= 128 + 2 * 64


def test_a_plane_is_continued():
    plane = np.add.outer(np.arange(40, dtype=np.float32), 2 * np.arange(48, dtype=np.float32))[None]
    mask = np.ones((1, 40, 48), bool)
    mask[:, 10:25, 15:30] = False
    assert np.abs(harmonic(np.where(mask, plane, -99), mask) - plane).max() < 3


@pytest.fixture(scope="module")
def files():
    """A file of two tiles, and the same with its last byte, of the second tile, spoilt."""
    across = np.linspace(40, 200, 128).astype(np.uint8)
    data = regrain.encode(np.broadcast_to(across[None, :, None], (64, 128, 3)).copy(), tile=64)
    return data, data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(room, "STEPS", 1)


@pytest.mark.usefixtures("quick")
def test_a_whole_file_is_as_without(files):
    plain, drawn = regrain.decode(files[0], partial=True), regrain.decode(files[0], partial=True, fill=True)
    assert (np.asarray(plain) == np.asarray(drawn)).all()
    assert "invented" not in drawn.info


@pytest.mark.usefixtures("quick")
def test_a_lost_tile_is_drawn_and_named(files):
    plain = np.asarray(regrain.decode(files[1], partial=True, realism=0))
    one, other = (regrain.decode(files[1], partial=True, realism=0, fill=True, seed=seed) for seed in (0, 1))
    assert one.info["invented"] == ((64, 0, 64, 64),)
    one, other = np.asarray(one), np.asarray(other)
    assert (one[:, :64] == plain[:, :64]).all()
    assert (other[:, :64] == plain[:, :64]).all()
    assert (one[:, 64:] != plain[:, 64:]).any()
    assert (one[:, 64:] != other[:, 64:]).any()
    part = regrain.decode(files[1], partial=True, realism=0, fill=True, region=(60, 8, 20, 30))
    assert part.info["invented"] == ((64, 8, 16, 30),)
    assert (np.asarray(part) == one[8:38, 60:80]).all()
    clear = regrain.decode(files[1], partial=True, realism=0, fill=True, region=(0, 0, 20, 30))
    assert "invented" not in clear.info
    small = regrain.decode(files[1], partial=True, realism=0, fill=True, max_size=8)
    assert small.size == (8, 4)
    assert small.info["invented"] == ((64, 0, 64, 64),)


def test_a_file_without_a_whole_tile_says_so(files):
    start = next(part.offset for part in bitstream.layout(files[0]) if part.name == "latents")
    with pytest.raises(regrain.Truncated, match="none of its 2 tiles is whole"):
        regrain.decode(files[0][:start], partial=True, fill=True)


def test_fill_without_partial_is_refused(files, tmp_path, capsys):
    with pytest.raises(regrain.UsageError, match="fill is given without partial"):
        regrain.decode(files[0], fill=True)
    with pytest.raises(regrain.UsageError, match="fill is given without partial"):
        regrain.Decoder(fill=True)
    (tmp_path / "a.rgn").write_bytes(files[0])
    assert main(["decode", str(tmp_path / "a.rgn"), str(tmp_path / "a.png"), "--fill"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


@pytest.mark.usefixtures("quick")
def test_the_report_names_what_was_invented(files, tmp_path, capsys):
    for name, data, boxes in (("whole", files[0], []), ("cut", files[1], [[64, 0, 64, 64]])):
        (tmp_path / f"{name}.rgn").write_bytes(data)
        target = tmp_path / f"{name}.png"
        assert main(["decode", str(tmp_path / f"{name}.rgn"), str(target), "--partial", "--fill", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["invented"] == boxes
        with Image.open(target) as image:
            assert image.size == (128, 64)
