"""Baseline encoders: files that come back, quality that means something, and sizes that are hit."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.errors import ImageError, UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.baselines import ALL, BASELINES, JPEG, WEBP, at_equal_bytes, at_size, available
from regrain_lab.evaluation.codecs import BenchmarkCodec
from regrain_lab.metrics import fidelity


def stepped(qualities: range, sizes: dict[int, int]) -> BenchmarkCodec:
    """A codec whose file at quality q has sizes[q] bytes."""
    return BenchmarkCodec(
        name="stepped",
        version=lambda: "1",
        settings=(),
        qualities=qualities,
        encode=lambda picture, quality: bytes(sizes[quality]),
        decode=lambda data, decode_setting: np.zeros((1, 1, 3), np.uint8),
    )


def landscape() -> np.ndarray:
    across, down = np.meshgrid(np.linspace(0, 9, 96), np.linspace(0, 7, 64))
    rough = np.random.default_rng(5).normal(0, 12, (64, 96, 3))
    waves = np.stack([np.sin(across), np.cos(down), np.sin(across * down)], axis=-1)
    return np.clip(128 + 80 * waves + rough, 0, 255).astype(np.uint8)


@pytest.fixture(params=ALL, ids=lambda codec: codec.name)
def codec(request) -> BenchmarkCodec:
    if not request.param.installed():
        pytest.skip(f"needs {request.param.package}")
    return request.param


def test_a_file_comes_back_and_quality_buys_fidelity(codec):
    picture = landscape()
    worst, best = (codec.encode(picture, codec.qualities[i]) for i in (0, len(codec.qualities) - 11))
    assert len(worst) < len(best)
    for data in (worst, best):
        decoded = codec.decode(data)
        assert decoded.shape == picture.shape
        assert decoded.dtype == np.uint8
    assert fidelity.psnr(picture, codec.decode(worst)) + 5 < fidelity.psnr(picture, codec.decode(best))


def test_a_file_is_the_same_each_time(codec):
    assert codec.encode(landscape(), 20) == codec.encode(landscape(), 20)


def test_size_is_hit_from_below(codec):
    picture, qualities = landscape(), codec.qualities
    near, far = (codec.encode(picture, qualities[len(qualities) * part // 10]) for part in (2, 7))
    target = (len(near) + len(far)) // 2
    fitted = at_size(codec, picture, target)
    assert fitted.fits
    assert len(fitted.data) <= target
    assert fitted.data == codec.encode(picture, fitted.quality)
    assert len(codec.encode(picture, fitted.quality + qualities.step)) > target


def test_bytes_rise_with_quality(codec):
    lengths = [len(codec.encode(landscape(), codec.qualities[i])) for i in range(0, len(codec.qualities) // 2, 12)]
    assert lengths == sorted(lengths)


def test_the_version_and_the_settings_are_named(codec):
    assert any(figure.isdigit() for figure in codec.version())
    assert codec.options
    assert codec.threads in (1, None)


def test_the_tuples_are_what_they_say():
    assert [codec.name for codec in BASELINES] == ["JPEG", "WebP", "AVIF"]
    assert set(BASELINES) < set(ALL)
    assert len({codec.name for codec in ALL}) == len(ALL) == 9


@pytest.mark.parametrize(
    ("codec", "sharp"),
    [(baselines.AVIF, True), (baselines.HEVC, True), (baselines.AVIF_420, False), (baselines.MOZJPEG, False)],
    ids=lambda value: getattr(value, "name", None),
)
def test_colour_keeps_the_resolution_that_the_settings_say(codec, sharp):
    if not codec.installed():
        pytest.skip(f"needs {codec.package}")
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (200, 0, 0)
    stripes[:, 1::2] = (0, 0, 200)
    finest = codec.qualities[int(0.95 * len(codec.qualities))]
    assert (fidelity.psnr(stripes, codec.decode(codec.encode(stripes, finest))) > 35) is sharp


@pytest.mark.parametrize("rate", [20, 100, 250])
def test_quality_of_jpeg_2000_is_its_rate(rate):
    if not baselines.JPEG_2000.installed():
        pytest.skip(f"needs {baselines.JPEG_2000.package}")
    picture = np.tile(landscape(), (4, 4, 1))
    bits = 8 * len(baselines.JPEG_2000.encode(picture, rate)) / (picture.size / 3)
    assert bits == pytest.approx(rate / 100, rel=0.05)


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (33, 1)])
def test_small_and_thin_pictures_come_back_or_are_refused(codec, size):
    picture, middle = np.full((*size, 3), 90, np.uint8), codec.qualities[len(codec.qualities) // 2]
    if codec is baselines.HEVC:
        with pytest.raises(ImageError, match=r"^HEVC cannot hold[^\n]+$"):
            codec.encode(picture, middle)
    else:
        assert codec.decode(codec.encode(picture, middle)).shape == picture.shape


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    target=st.integers(1, 80),
    backwards=st.booleans(),
)
def test_bisection_finds_what_a_search_of_all_finds(sizes, target, backwards):
    qualities = range(len(sizes) - 1, -1, -1) if backwards else range(len(sizes))
    growing = dict(zip(qualities, sorted(sizes), strict=True))
    fitted = at_size(stepped(qualities, growing), np.zeros((1, 1, 3), np.uint8), target)
    allowed = [quality for quality in qualities if growing[quality] <= target]
    assert fitted.fits == bool(allowed)
    assert fitted.quality == (allowed[-1] if allowed else qualities[0])
    assert len(fitted.data) == growing[fitted.quality]


def test_a_hopeless_target_gives_the_smallest_file_and_says_so():
    sizes = {quality: 100 + quality for quality in range(10)}
    fitted = at_size(stepped(range(10), sizes), np.zeros((1, 1, 3), np.uint8), 99)
    assert (len(fitted.data), fitted.quality, fitted.fits) == (100, 0, False)


def test_a_target_of_nothing_is_refused(codec):
    with pytest.raises(UsageError, match="target of 0 bytes"):
        at_size(codec, landscape(), 0)


@pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)
def test_a_missing_encoder_is_one_line_and_the_rest_go_on(codec):
    gone = dataclasses.replace(codec, version=str)
    codecs, lines = available([stepped(range(1), {0: 1}), gone])
    assert [codec.name for codec in codecs] == ["stepped"]
    assert len(lines) == 1
    assert gone.name in lines[0]
    assert gone.package in lines[0]
    assert "\n" not in lines[0]


def test_a_bare_machine_has_lines_that_name_the_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    codecs, lines = available([baselines.JPEG, baselines.JPEG_XL, baselines.HEVC])
    assert codecs == [baselines.JPEG]
    assert ["pillow-jxl-plugin" in lines[0], "ffmpeg" in lines[1]] == [True, True]
    assert baselines.JPEG_XL.version() == baselines.HEVC.version() == ""


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 4)])
def test_only_rgb_is_taken(codec, shape):
    with pytest.raises(UsageError, match="takes uint8"):
        codec.encode(np.zeros(shape, np.uint8), 50)


def test_a_picture_beyond_the_format_is_an_image_error():
    with pytest.raises(ImageError, match="70000x1"):
        baselines.JPEG.encode(np.zeros((1, 70000, 3), np.uint8), 50)


PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8) // 4


def refuse(pixels, quality):
    raise ImageError("too wide")


def test_at_equal_bytes_each_file_is_the_largest_that_fits():
    pictures, notes = at_equal_bytes([JPEG, WEBP], PHOTO, 1500)
    assert notes == []
    for encoded, codec in zip(pictures, (JPEG, WEBP), strict=True):
        assert encoded.codec == codec.name
        assert encoded.fits
        assert encoded.data == codec.encode(PHOTO, int(encoded.quality))
        assert len(encoded.data) <= 1500
        assert encoded.bpp == 8 * len(encoded.data) / (64 * 96)
        assert encoded.pixels.shape == PHOTO.shape


def test_at_equal_bytes_the_smallest_and_the_failing_are_named():
    pictures, notes = at_equal_bytes([JPEG, dataclasses.replace(WEBP, encode=refuse)], PHOTO, 1)
    assert [encoded.fits for encoded in pictures] == [False]
    assert notes == ["JPEG cannot be as small: shown is its smallest file", "WebP skipped: too wide"]


def test_the_usual_settings_are_allowed_ones_smallest_files_first():
    for codec in ALL:
        places = [codec.qualities.index(setting) for setting in codec.settings]
        assert len(places) > 5
        assert places == sorted(set(places))
