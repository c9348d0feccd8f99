"""Baseline encoders: files that come back, quality that means something, and sizes that are hit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.errors import ImageError, UsageError
from regrain.evaluation import baselines, metrics
from regrain.evaluation.baselines import BASELINES, Codec, at_size, present


def stepped(qualities: range, sizes: dict[int, int]) -> Codec:
    """A codec whose file at quality q has sizes[q] bytes."""
    return Codec(
        name="stepped",
        settings="",
        qualities=qualities,
        encode=lambda picture, quality: bytes(sizes[quality]),
        decode=lambda data: np.zeros((1, 1, 3), np.uint8),
        installed=lambda: True,
        package="",
    )


def landscape() -> np.ndarray:
    across, down = np.meshgrid(np.linspace(0, 9, 96), np.linspace(0, 7, 64))
    rough = np.random.default_rng(5).normal(0, 12, (64, 96, 3))
    waves = np.stack([np.sin(across), np.cos(down), np.sin(across * down)], axis=-1)
    return np.clip(128 + 80 * waves + rough, 0, 255).astype(np.uint8)


@pytest.fixture(params=BASELINES, ids=lambda codec: codec.name)
def codec(request) -> Codec:
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
    assert metrics.psnr(picture, codec.decode(worst)) + 5 < metrics.psnr(picture, codec.decode(best))


def test_a_file_is_the_same_each_time(codec):
    assert codec.encode(landscape(), 20) == codec.encode(landscape(), 20)


def test_size_is_hit_from_below(codec):
    picture = landscape()
    target = (len(codec.encode(picture, 20)) + len(codec.encode(picture, 70))) // 2
    fitted = at_size(codec, picture, target)
    assert fitted.fits
    assert len(fitted.data) <= target
    assert fitted.data == codec.encode(picture, fitted.quality)
    assert len(codec.encode(picture, fitted.quality + 1)) > target


def test_avif_keeps_colour_at_full_resolution():
    if not baselines.AVIF.installed():
        pytest.skip(f"needs {baselines.AVIF.package}")
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (200, 0, 0)
    stripes[:, 1::2] = (0, 0, 200)
    assert metrics.psnr(stripes, baselines.AVIF.decode(baselines.AVIF.encode(stripes, 95))) > 35


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


def test_a_missing_encoder_is_one_line_and_the_rest_go_on():
    gone = dataclasses.replace(baselines.AVIF, installed=lambda: False)
    codecs, lines = present([baselines.JPEG, gone])
    assert codecs == [baselines.JPEG]
    assert len(lines) == 1
    assert "AVIF" in lines[0]
    assert gone.package in lines[0]
    assert "\n" not in lines[0]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 4)])
def test_only_rgb_is_taken(codec, shape):
    with pytest.raises(UsageError, match="takes uint8"):
        codec.encode(np.zeros(shape, np.uint8), 50)


def test_a_picture_beyond_the_format_is_an_image_error():
    with pytest.raises(ImageError, match="70000x1"):
        baselines.JPEG.encode(np.zeros((1, 70000, 3), np.uint8), 50)
