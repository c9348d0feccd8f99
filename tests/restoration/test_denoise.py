"""Repair as mathematics, with a denoiser that is known; and tiles that leave no seam."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from regrain.image import to_bytes, to_signed
from regrain.restoration import denoise
from regrain.restoration.denoise import Repair, repair


class Shrink:
    """The ideal denoiser of pictures N(0, deviation^2)."""

    def __init__(self, deviation=0.3):
        self.variance, self.calls = deviation**2, []

    def denoise(self, x_t, log_snr):
        self.calls.append(log_snr)
        alpha = math.sqrt(1 / (1 + math.exp(-log_snr)))
        return np.float32(alpha * self.variance / (alpha**2 * self.variance + 1 - alpha**2)) * x_t


def model(denoiser=None, student=None):
    return SimpleNamespace(denoiser=denoiser or Shrink(), student=student)


def worn(error=0.1, size=(64, 80)):
    """Pixels of a clean picture of values N(0, 0.3^2), and of the same under noise."""
    random = np.random.default_rng(0)
    clean = 0.3 * random.standard_normal((3, *size)).astype(np.float32)
    noisy = clean + error * random.standard_normal(clean.shape).astype(np.float32)
    return to_bytes(clean, False), to_bytes(noisy, False)


def distance(one, other):
    return float(np.square(one.astype(float) - other).mean())


def test_repair_is_the_wiener_filter_where_the_error_is_noise():
    clean, noisy = worn(0.1)
    repaired = repair(model(), noisy, 0.1, Repair())
    best = 127.5**2 * 0.09 * 0.01 / (0.09 + 0.01)
    assert distance(repaired, clean) == pytest.approx(best, rel=0.05)
    assert distance(repaired, clean) < distance(noisy, clean)


def test_the_level_is_that_of_the_error_times_the_strength():
    denoiser = Shrink()
    for strength in (1.0, 0.5):
        repair(model(denoiser), worn()[1], 0.1, Repair(strength))
    assert denoiser.calls == pytest.approx([-2 * math.log(0.1), -2 * math.log(0.05)])


@pytest.mark.parametrize(("error", "strength"), [(0.1, 0.0), (0.0, 4.0), (0.005, 1.0)])
def test_nothing_is_done_where_there_is_nothing_to_do(error, strength):
    denoiser, noisy = Shrink(), worn()[1]
    assert repair(model(denoiser), noisy, error, Repair(strength)) is noisy
    assert not denoiser.calls


def test_every_knob_turns_something():
    noisy, base = worn()[1], {"strength": 1.0, "steps": 4, "eta": 1.0, "seed": 1}
    first = repair(model(), noisy, 0.2, Repair(**base))
    assert np.array_equal(first, repair(model(), noisy, 0.2, Repair(**base)))
    for change in ({"strength": 0.5}, {"steps": 9}, {"eta": 0.0}, {"seed": 2}):
        assert not np.array_equal(first, repair(model(), noisy, 0.2, Repair(**base | change))), change


def test_more_steps_keep_more_of_the_variance():
    noisy = worn(0.3)[1]
    spreads = [repair(model(), noisy, 0.3, Repair(steps=steps)).std() for steps in (1, 4, 64)]
    assert spreads == sorted(spreads)


def test_a_jpeg_is_kept_within_its_steps():
    noisy, steps = worn()[1][..., :1], np.full((8, 8), 4, np.float32)
    free, kept = (repair(model(Shrink(0.02)), noisy, 0.1, Repair(), given) for given in (None, steps))
    assert distance(kept, noisy) < distance(free, noisy) / 4


def test_few_steps_are_the_students_and_one_and_many_are_not():
    heard = []

    class Student(Shrink):
        def denoise(self, x_t, log_snr, leap=0.0):
            heard.append(leap)
            return super().denoise(x_t, log_snr)

    for steps in (1, 32):
        repair(model(student=Student()), worn()[1], 0.1, Repair(steps=steps))
    repair(model(student=Student()), worn()[1], 0.1, Repair(steps=4, eta=1.0))
    assert not heard
    repair(model(student=Student()), worn()[1], 0.1, Repair(steps=4))
    length = (10 + 2 * math.log(0.1)) / 4
    assert heard == pytest.approx([length] * 3 + [10.0])


def test_tiles_see_around_them_and_are_told_of(monkeypatch):
    class Blur:
        """Looks 4 pixels far."""

        def denoise(self, x_t, log_snr):
            return sum(np.roll(x_t, shift, axis) for shift in (-4, 4) for axis in (1, 2)) / 4

    noisy, ended = worn(size=(72, 100))[1], []
    for eta in (0.0, 1.0):
        how = Repair(steps=3, eta=eta)
        whole = repair(model(Blur()), noisy, 0.1, how)
        monkeypatch.setattr(denoise, "SIDE", 32)
        monkeypatch.setattr(denoise, "HALO", 16)
        tiled = repair(model(Blur()), noisy, 0.1, how, progress=lambda done, count: ended.append((done, count)))
        monkeypatch.undo()
        inner = np.s_[16:56, 16:84]  # np.roll wraps around the border of a window
        assert np.abs(whole[inner].astype(int) - tiled[inner]).max() <= 1
    assert ended[:12] == [(number, 12) for number in range(1, 13)]


def test_grey_stays_grey_and_any_size_comes_back():
    for size in ((1, 1), (7, 300), (600, 9)):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
        assert repair(model(), pixels, 0.1, Repair()).shape == pixels.shape
    assert to_signed(pixels).shape[0] == 3
