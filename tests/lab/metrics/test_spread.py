"""Spread over seeds: its closed forms, and which squares count as texture and which as edges."""

import math

import numpy as np
import pytest

from regrain_lab.metrics.spread import Spread, classify_squares, spreads


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def scene() -> np.ndarray:
    """Three squares across: texture, an edge that leans, nothing; noise of 12 levels, a step of 150 over 5 pixels."""
    rough = 128 + 12 * np.random.default_rng(0).normal(size=(16, 16))
    down, across = np.mgrid[:16, :16]
    edge = 50 + np.clip(30 * (across - 5 + 0.2 * down), 0, 150)
    return grey(np.hstack([rough, edge, np.full((16, 16), 90)]))


def test_squares_are_told_apart():
    found = classify_squares(scene())
    assert found["texture"].tolist() == [[True, False, False]]
    assert found["edges"].tolist() == [[False, True, False]]


def test_a_fine_stripe_is_neither_texture_nor_a_strong_edge():
    across = np.mgrid[:16, :32][1]
    found = classify_squares(grey(128 + 10 * np.sin(across)))
    assert not found["texture"].any()
    assert not found["edges"].any()


def test_turning_the_picture_turns_its_squares():
    scenes = scene()
    for name, where in classify_squares(scenes).items():
        assert (classify_squares(np.rot90(scenes))[name] == np.rot90(where)).all()


def test_one_picture_always_has_no_spread():
    original = scene()
    found = spreads(original, [original ^ 1] * 3)
    assert {name: (one.squares, one.ratio) for name, one in found.items()} == {"texture": (1, 0), "edges": (1, 0)}
    assert all(math.isnan(one.ratio) for one in spreads(original, [original] * 2).values())


def test_independent_draws_have_the_spread_of_the_posterior():
    """Draws of one distribution about a common mean, of which the original is one too: sqrt(1/2)."""
    random = np.random.default_rng(1)
    mean = random.uniform(60, 190, (160, 160, 1)) + np.zeros(3)
    original, *draws = (np.rint(mean + 10 * random.normal(size=mean.shape)).astype(np.uint8) for _ in range(9))
    found = spreads(original, draws)["texture"]
    assert found.squares == 100
    assert found.ratio == pytest.approx(math.sqrt(0.5), rel=0.01)


def test_pictures_add_up():
    total = Spread.total([Spread(2, 1.0, 8.0), Spread(1, 1.0, 0.0)])
    assert total == Spread(3, 2.0, 8.0)
    assert total.ratio == 0.5
