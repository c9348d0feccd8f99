"""Repair as mathematics: latents that are normal themselves, whose best estimate is known."""

import math

import numpy as np
import pytest

from regrain.options import DecodeOptions
from regrain.palette import decode
from regrain.palette.sections import Channel


class Shrink:
    """The ideal denoiser of latents N(0, deviation^2): E[z_0 | z_t], for z_t = alpha z_0 + sigma eps."""

    def __init__(self, deviation=1.0):
        self.variance, self.calls = deviation**2, []

    def denoise(self, z_t, log_snr):
        self.calls.append(log_snr)
        alpha = math.sqrt(1 / (1 + math.exp(-log_snr)))
        return alpha * self.variance / (alpha**2 * self.variance + 1 - alpha**2) * z_t


def repair(denoiser, latents, channel, strength=1.0, **options):
    """The whole repair, where nothing else is said."""
    return decode.repair(denoiser, latents, channel, DecodeOptions(**options, repair_strength=strength))


def broken(error, deviation=1.0, size=200):
    random = np.random.default_rng(0)
    clean = deviation * random.standard_normal((4, size, size), np.float32)
    return clean, clean + error * random.standard_normal(clean.shape, np.float32)


@pytest.mark.parametrize("error", [0.1, 0.3, 1.0])
def test_one_step_is_the_wiener_filter(error):
    """E|z - z_0|^2 = v r^2 / (v + r^2)."""
    clean, latents = broken(error, deviation=0.5)
    repaired = repair(Shrink(0.5), latents, Channel(1.0, error))
    best = 0.25 * error**2 / (0.25 + error**2)
    assert float(np.square(repaired - clean).mean()) == pytest.approx(best, rel=0.02)


def test_the_level_is_that_of_the_error_and_of_its_share():
    denoiser = Shrink()
    latents = np.zeros((4, 4, 4), np.float32)
    repair(denoiser, latents, Channel(1.0, 0.25))
    repair(denoiser, latents, Channel(1.0, 0.25), strength=0.5)
    assert denoiser.calls == pytest.approx([-2 * math.log(0.25), -2 * math.log(0.125)])


def test_more_steps_bring_back_the_variance_that_the_estimate_lacks():
    _, latents = broken(0.8)
    estimate, walked = (repair(Shrink(), latents, Channel(1.0, 0.8), steps=steps) for steps in (1, 64))
    sampled = repair(Shrink(), latents, Channel(1.0, 0.8), steps=64, eta=1.0)
    assert float(estimate.var()) == pytest.approx(1 / 1.64, rel=0.02)
    assert float(walked.var()) == pytest.approx(1.0, rel=0.03)
    assert float(sampled.var()) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(("strength", "error"), [(0.0, 0.5), (1.0, 0.0), (1.0, 0.02)])
def test_nothing_is_done_where_nothing_is_to_be_repaired(strength, error):
    denoiser, latents = Shrink(), np.ones((4, 5, 6), np.float32)
    assert repair(denoiser, latents, Channel(1.0, error), strength) is latents
    assert not denoiser.calls


def test_windows_are_the_whole():
    _, latents = broken(0.3, size=140)
    whole = Shrink().denoise(latents / math.sqrt(1.09), -2 * math.log(0.3))
    np.testing.assert_allclose(repair(Shrink(), latents, Channel(1.0, 0.3)), whole, rtol=1e-6)


def test_a_gain_is_undone_first():
    _, latents = broken(0.3, deviation=0.5)
    plain = repair(Shrink(0.5), latents, Channel(1.0, 0.3))
    gained = repair(Shrink(0.5), 0.7 * latents, Channel(0.7, 0.3))
    np.testing.assert_allclose(gained, plain, rtol=1e-5, atol=1e-6)
