"""The yardstick: its two fences on decoders that use their noise and on one that does not, and sums over pictures."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regrain.diffusion import schedule
from regrain.errors import UsageError
from regrain.image import to_signed
from regrain.options import DecodeOptions
from regrain_lab.evaluation import yardstick
from regrain_lab.evaluation.yardstick import Judges, Reading, Reference, gain, seeds_apart, summary
from regrain_lab.metrics import realism
from regrain_lab.metrics.spread import Spread

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def sample(estimate) -> SimpleNamespace:
    denoiser = SimpleNamespace(
        config=SimpleNamespace(init_noise=0.8),
        estimate=estimate,
        samples=lambda realism: False,
        schedule=lambda realism: schedule.get("cosine"),
        context=lambda y_hat, quality, realism: None,
        start=lambda noise, context, realism: 0.8 * realism * noise,
    )
    denoiser.for_steps = lambda steps: denoiser
    return SimpleNamespace(model=SimpleNamespace(denoiser=denoiser), header=SimpleNamespace(quality=0), y_hat=None)


def test_a_denoiser_that_ignores_its_noise_gains_nothing():
    mean = np.zeros((3, 32, 48))
    assert gain(sample(lambda *arguments: mean), PIXELS, DecodeOptions()) == 0


def test_one_that_returns_what_it_gets_gains_all_but_the_noise():
    """The error falls from about that of the noise and the picture to that of noise 0.063 alone, at t = 0.05."""
    found = gain(sample(lambda x_t, *arguments: x_t), PIXELS, DecodeOptions())
    power = float(np.square(to_signed(PIXELS)).mean())
    angle = math.atan(2 * 10**-1.5 / 0.8)
    wanted = 10 * math.log10((0.64 + power) / (0.64 * math.sin(angle) ** 2 + power * (1 - math.cos(angle)) ** 2))
    assert found == pytest.approx(wanted, abs=0.1)


def test_seeds_are_compared_at_the_lowest_quality(monkeypatch):
    asked = []
    monkeypatch.setattr(yardstick.regrain, "encode", lambda pixels, **named: asked.append(named["quality"]) or b"")
    monkeypatch.setattr(
        yardstick.Sample, "decode", lambda self, options: np.full((4, 4, 3), 10 + 3 * options.seed, np.uint8)
    )
    assert seeds_apart(None, PIXELS, DecodeOptions(seed=7)) == 3
    assert asked == [0]


def reading(number: int) -> Reading:
    features = realism.Features(torch.full((2, 3), float(number)), torch.ones(2, 2))
    other = realism.Features(torch.full((2, 3), number + 1.0), torch.ones(2, 2))
    energies = np.full(8, 10.0 * number), np.full(8, 10.0)
    return Reading({"psnr": 20.0 + number}, energies, (features, other), {"texture": Spread(2, 1.0, 4.0 * number)})


def test_a_summary_is_of_all_pictures_together():
    found = summary([reading(1), reading(3)])
    assert found["psnr"] == 22
    assert found["band_1"] == found["band_8"] == pytest.approx(10 * math.log10(20 / 40))
    assert found["spread_texture"] == pytest.approx(math.sqrt(2 / 16))
    assert found["squares_texture"] == 4
    assert found["kid"] > 0
    assert found["gram"] == 0
    assert "kid_error" not in found
    assert {"kid_error", "gram_error"} <= summary([reading(1), reading(2), reading(3)]).keys()
    assert "kid" not in summary([reading(1)])


def test_what_the_judges_need_is_said(tmp_path):
    with pytest.raises(UsageError, match="lacks weights: dists, lpips_alex, lpips_squeeze, lpips_vgg, vgg16"):
        Judges.load(tmp_path)
    with pytest.raises(UsageError, match="a picture is 48 x 32"):
        Reference(Judges({}, None), PIXELS)
