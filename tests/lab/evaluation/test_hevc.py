"""HEVC through ffmpeg: exact colour, a stream that explains itself, and every failure in one line."""

import subprocess

import numpy as np
import pytest

from regrain.errors import ImageError
from regrain_lab.evaluation import hevc
from regrain_lab.metrics import fidelity

needs_ffmpeg = pytest.mark.skipif(not hevc.version(), reason="needs ffmpeg with libx265 (Debian: ffmpeg)")


def patches(height: int, width: int) -> np.ndarray:
    """Squares of 8x8 in strong colours."""
    colours = np.random.default_rng(2).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def test_ten_bits_hold_every_colour_exactly():
    levels = np.unique(np.append(np.arange(0, 256, 5), [1, 127, 128, 254, 255])).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    planes = hevc._planes(colours)
    assert planes.dtype == np.dtype("<u2")
    assert planes.max() <= 1023
    assert np.array_equal(hevc._picture(planes), colours)


def test_grey_has_no_chroma():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    luma, *chroma = hevc._planes(grey)
    assert np.array_equal(luma.reshape(-1), np.rint(np.arange(256) / 255 * 1023))
    assert all((plane == 512).all() for plane in chroma)


@needs_ffmpeg
@pytest.mark.parametrize("size", [(16, 16), (17, 33), (64, 40)])
def test_every_size_comes_back(size):
    decoded = hevc.decode(hevc.encode(patches(*size), 4))
    assert decoded.shape == (*size, 3)
    assert fidelity.psnr(patches(*size), decoded) > 50


@needs_ffmpeg
def test_the_stream_alone_says_how_to_show_it():
    data = hevc.encode(patches(48, 64), 4)
    flags = "accurate_rnd+full_chroma_int+full_chroma_inp"
    command = ["ffmpeg", "-v", "error", "-f", "hevc", "-i", "-", "-sws_flags", flags, "-pix_fmt", "rgb24"]
    shown = subprocess.run([*command, "-f", "rawvideo", "-"], input=data, capture_output=True, check=True).stdout
    theirs = np.frombuffer(shown, np.uint8).reshape(48, 64, 3)
    assert np.abs(theirs.astype(int) - hevc.decode(data)).max() <= 2


@needs_ffmpeg
def test_the_options_are_not_written_into_the_file():
    data = hevc.encode(patches(16, 16), 51)
    assert b"x265" not in data
    assert len(data) < 300


@needs_ffmpeg
def test_versions_are_named():
    assert hevc.version().startswith("x265 ")
    assert ", ffmpeg " in hevc.version()
    assert "unknown" not in hevc.version()


@pytest.mark.parametrize("size", [(1, 1), (15, 64), (7, 5000)])
def test_pictures_too_small_for_x265_are_refused(size):
    with pytest.raises(ImageError, match=rf"{size[1]}x{size[0]}: sides of 16 at least"):
        hevc.encode(np.zeros((*size, 3), np.uint8), 30)


@needs_ffmpeg
def test_what_is_no_stream_is_an_image_error():
    with pytest.raises(ImageError, match=r"^ffmpeg failed [^\n]+$"):
        hevc.decode(b"not a stream" * 10)


@needs_ffmpeg
def test_a_program_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(hevc, "_SECONDS", 0.001)
    with pytest.raises(ImageError, match="took more than"):
        hevc.encode(patches(64, 64), 30)


def test_without_ffmpeg_it_is_absent_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hevc.version() == ""
    with pytest.raises(ImageError, match=r"^ffmpeg does not run[^\n]+$"):
        hevc.encode(patches(16, 16), 30)


def test_an_ffmpeg_that_only_fails_is_absent(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hevc.version() == ""
