"""In two steps or more the decoder that ships samples: it reads its noise, seeds differ, steps are worth their time.

Each of the three was once false while every other figure was right. They are held on the weights that ship.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import regrain
from regrain.image import to_signed
from regrain.options import DecodeOptions
from regrain_lab.evaluation.yardstick import Sample, gain, seeds_apart
from regrain_lab.metrics.lpips import Lpips

SAMPLED = DecodeOptions(steps=2)
"""The fewest steps that the sampler takes: one step is the faithful network's."""


@pytest.fixture(scope="module")
def photo():
    """A part of the bundled photo, (192, 192, 3)."""
    with Image.open(Path(__file__).parent.parent / "demo" / "photo.png") as image:
        return np.asarray(image.convert("RGB"))[64:256, 96:288].copy()


@pytest.fixture(scope="module")
def model():
    return regrain.load()


def test_the_estimate_from_the_picture_under_little_noise_beats_the_one_from_noise(photo, model):
    sample = Sample(model, regrain.encode(photo, quality=28, model=model))
    assert gain(sample, photo, SAMPLED) >= 1


def test_two_seeds_differ_by_a_level_at_the_lowest_quality(photo, model):
    assert seeds_apart(model, photo, SAMPLED) >= 1


def test_the_steps_are_worth_something(photo, model, lpips_weights):
    """8 steps have no worse LPIPS than 1, and another picture: the same to a level would be no gain either."""
    lpips = Lpips.load(lpips_weights)
    sample = Sample(model, regrain.encode(photo, quality=28, model=model))
    one, eight = (sample.decode(DecodeOptions(steps=steps)) for steps in (1, 8))
    original, first, last = (torch.from_numpy(to_signed(pixels))[None] for pixels in (photo, one, eight))
    assert float(lpips(last, original)) <= float(lpips(first, original))
    assert np.abs(one.astype(float) - eight).mean() >= 1
