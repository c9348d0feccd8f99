"""FSIM: closed forms, symmetries, limits, and values of an independent implementation."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from regrain.errors import UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.metrics import fidelity, fsim

SHARED = Path(os.environ.get("REGRAIN_SHARED", Path(__file__).parents[3] / "shared"))
KODAK = SHARED / "data" / "kodak"
# FSIMc by piq 0.8.0 (github.com/photosynthesis-team/piq, piq.fsim in double precision, data_range 255), which
# its own tests hold to the authors' program. It rounds YIQ otherwise, and adds another eps: hence the tolerance.
INDEPENDENT = {
    (96, 128): 0.838297,
    (200, 120): 0.941044,
    (300, 480): 0.978819,
    (512, 600): 0.987763,
}
INDEPENDENT_KODAK = {"kodim05.png": 0.986610, "kodim19.png": 0.965337}
TOLERANCE = 5e-5
SAME_LUMA = (-15, 9, -7)


def noisy(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def weave(height: int, width: int) -> np.ndarray:
    """A picture of curved lines at all scales, in integers, so the same everywhere."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    planes = (x * x + 3 * y * x) // 64, (x * y + 7 * y * y) // 97, (x * x + y * y) // 150
    return (np.stack(planes, axis=-1) % 256).astype(np.uint8)


def coarse(picture: np.ndarray, step: int) -> np.ndarray:
    return picture // step * step + step // 2


@pytest.mark.parametrize("size", INDEPENDENT)
def test_values_of_another_implementation_are_reproduced(size):
    pair = weave(*size), coarse(weave(*size), 32)
    assert fidelity.fsim(*pair) == pytest.approx(INDEPENDENT[size], abs=TOLERANCE)


@pytest.mark.skipif(not KODAK.exists(), reason="needs shared/data/kodak")
@pytest.mark.parametrize("image", INDEPENDENT_KODAK)
def test_values_of_another_implementation_are_reproduced_on_photos(image):
    photo = baselines.JPEG.decode((KODAK / image).read_bytes())
    assert fidelity.fsim(photo, coarse(photo, 24)) == pytest.approx(INDEPENDENT_KODAK[image], abs=TOLERANCE)


def test_equal_pictures_reach_one_and_order_does_not_matter():
    a, b = weave(90, 130), coarse(weave(90, 130), 64)
    assert fidelity.fsim(a, a) == pytest.approx(1, abs=1e-12)
    assert fidelity.fsim(a, b) == pytest.approx(fidelity.fsim(b, a), rel=1e-12)
    assert fidelity.fsim(a, b) < fidelity.fsim(a, coarse(a, 16)) < 1


def test_turning_both_pictures_changes_nothing():
    a, b = weave(97, 131), coarse(weave(97, 131), 64)
    for turn in (lambda p: p.transpose(1, 0, 2), lambda p: p[::-1], lambda p: p[:, ::-1]):
        assert fidelity.fsim(turn(a), turn(b)) == pytest.approx(fidelity.fsim(a, b), rel=1e-9)


def test_a_shift_of_colour_alone_has_a_closed_form():
    grey = np.repeat(coarse(weave(100, 120)[..., :1], 8) // 2 + 60, 3, axis=2)
    shifted = (grey.astype(int) + SAME_LUMA).astype(np.uint8)
    red, green, blue = SAME_LUMA
    chroma = 0.596 * red - 0.274 * green - 0.322 * blue, 0.211 * red - 0.523 * green + 0.312 * blue
    expected = math.prod((200 / (value**2 + 200)) ** 0.03 for value in chroma)
    assert fidelity.fsim(grey, shifted) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("down", "across"), [(0, 8), (8, 0), (5, 9), (3, -6)])
def test_a_grating_is_congruent_everywhere_but_for_the_noise_floor(monkeypatch, down, across):
    y, x = np.mgrid[:96, :64]
    luma = 128 + 100 * np.cos(2 * np.pi * (down * y / 96 + across * x / 64) + 0.3)[None]
    floored = fsim._congruency(luma)
    monkeypatch.setattr(fsim, "_NOISE", 0)
    np.testing.assert_allclose(fsim._congruency(luma), 1, atol=0.02)
    assert floored.max() < 0.9


def test_congruency_is_a_share_and_blind_to_contrast():
    luma = weave(96, 128)[None, ..., 0].astype(float)
    congruency = fsim._congruency(luma)
    assert congruency.min() >= 0
    assert congruency.max() <= 1
    np.testing.assert_allclose(fsim._congruency(luma / 4 + 90), congruency, atol=1e-4)


def test_congruency_is_that_of_the_formula_written_out():
    luma = weave(48, 60)[..., 0].astype(float)
    np.testing.assert_allclose(fsim._congruency(luma[None])[0], written_out(luma), atol=1e-6)


def written_out(luma: np.ndarray) -> np.ndarray:
    """Phase congruency one filter at a time, even and odd parts apart, the noise summed scale by scale."""
    height, width = luma.shape
    v, u = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    radius, theta = np.sqrt(u**2 + v**2), np.arctan2(-v, u)
    above = below = np.zeros(luma.shape)
    for direction in np.arange(4) * np.pi / 4:
        away = np.abs(np.arctan2(np.sin(theta - direction), np.cos(theta - direction)))
        filters = []
        for scale in range(4):
            with np.errstate(divide="ignore"):
                log_gabor = np.exp(-(np.log(radius * 6 * 2**scale) ** 2) / (2 * np.log(0.55) ** 2))
            low_pass = 1 / (1 + (radius / 0.45) ** 30)
            filters.append(log_gabor * low_pass * np.exp(-(away**2) / (2 * (np.pi / 4 / 1.2) ** 2)))
        answers = [np.fft.ifft2(np.fft.fft2(luma) * one) for one in filters]
        even, odd = sum(z.real for z in answers), sum(z.imag for z in answers)
        length = np.sqrt(even**2 + odd**2) + 1e-4
        energy = np.zeros(luma.shape)
        for z in answers:
            energy += (z.real * even + z.imag * odd) / length - np.abs(z.real * odd - z.imag * even) / length
        power = np.median(np.abs(answers[0]) ** 2) / np.log(2) / np.sum(filters[0] ** 2)
        shapes = [np.fft.ifft2(one).real * np.sqrt(luma.size) for one in filters]
        squares = sum(np.sum(one**2) for one in shapes)
        products = sum(np.sum(shapes[i] * shapes[j]) for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * power * squares + 4 * power * products) / 2)
        floor = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7
        above = above + np.maximum(energy - floor, 0)
        below = below + sum(np.abs(z) for z in answers)
    return above / (below + 1e-4)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_shrinking_takes_means_about_every_nth_pixel(factor):
    picture = noisy(13, 10, 2)
    shrunk = fsim._downsample(picture, factor)
    assert shrunk.shape == (math.ceil(13 / factor), math.ceil(10 / factor), 2)
    before = (factor - 1) // 2
    for row, column in np.ndindex(*shrunk.shape[:2]):
        top, left = row * factor - before, column * factor - before
        block = picture[max(top, 0) : top + factor, max(left, 0) : left + factor].astype(float)
        np.testing.assert_allclose(shrunk[row, column], block.sum(axis=(0, 1)) / factor**2)


def test_the_gradient_of_a_slope_is_its_steepness():
    y, x = np.mgrid[:9, :12].astype(float)
    np.testing.assert_allclose(fsim._gradient((3 * x + 4 * y)[None])[0, 1:-1, 1:-1], 10)


def test_without_room_or_features_there_is_no_figure():
    assert fidelity.fsim(noisy(1, 1), noisy(1, 1)) is None
    assert fidelity.fsim(noisy(47, 400), noisy(47, 400)) is None
    assert fidelity.fsim(noisy(48, 48), noisy(48, 48)) == pytest.approx(1)
    flat = np.full((97, 101, 3), 37, np.uint8)
    assert fidelity.fsim(flat, flat) is None
    assert fidelity.fsim(flat, flat + np.uint8(9)) is None
    assert 0 <= fidelity.fsim(flat, noisy(97, 101)) < 0.8


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (noisy(60, 60), noisy(60, 61)),
        (noisy(60, 60), noisy(60, 60).astype(np.float32)),
        (noisy(60, 60, 4), noisy(60, 60, 4)),
        (noisy(60, 60, 1), noisy(60, 60, 1)),
    ],
)
def test_other_pictures_are_refused_in_one_line(a, b):
    with pytest.raises(UsageError, match=r"^pictures are [^\n]+$"):
        fidelity.fsim(a, b)
