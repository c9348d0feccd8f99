"""Drawings: what they are made of, and that they are a function of chance alone."""

import numpy as np
import pytest
import torch

from regrain_lab.training.synthetic_images import RULES, synthetic_image


@pytest.fixture(scope="module")
def drawings():
    return [synthetic_image(64, np.random.default_rng(number)) for number in range(60)]


def test_a_drawing_is_a_picture_and_a_function_of_chance(drawings):
    for number, drawing in enumerate(drawings):
        assert (drawing.shape, drawing.dtype) == ((3, 64, 64), torch.float32)
        assert drawing.isfinite().all()
        assert drawing.abs().max() <= 1
        assert torch.equal(drawing, synthetic_image(64, np.random.default_rng(number)))


def test_they_differ_and_have_what_photos_lack(drawings):
    assert len({drawing.numpy().tobytes() for drawing in drawings}) == len(drawings)
    flat = [float((drawing.diff(dim=2) == 0).all(0).float().mean()) for drawing in drawings]
    edge = [float(drawing.diff(dim=2).abs().max()) for drawing in drawings]
    assert np.median(flat) > 0.3
    assert np.median(edge) > 0.5


@pytest.mark.parametrize("rule", sorted(set(RULES), key=lambda rule: rule.__name__))
def test_every_rule_picks_some_points_of_its_box_and_none_outside(rule):
    v, u = np.mgrid[-2:2:200j, -2:2:200j].astype(np.float32)
    for seed in range(10):
        picked = rule(u, v, np.random.default_rng(seed))
        assert 0 < picked.mean() <= 0.26
        assert not picked[(abs(u) >= 1) | (abs(v) >= 1)].any()
