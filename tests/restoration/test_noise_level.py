"""The error that a picture shows by itself: of known noise, of known blocks, of nothing."""

import numpy as np
import pytest

from regrain.restoration.noise_level import noise_level

ROW, COLUMN = np.mgrid[:160, :192] / 40
SMOOTH = np.stack([np.sin(ROW), np.cos(COLUMN), np.sin(ROW + COLUMN)]).astype(np.float32) * np.float32(0.6)


@pytest.mark.parametrize("deviation", [0.02, 0.05, 0.15])
def test_noise_is_measured(deviation):
    noise = np.random.default_rng(0).normal(0, deviation, ROW.shape)
    x = (SMOOTH + noise).astype(np.float32)
    assert noise_level(x, None) == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_blocks_are_measured_wherever_their_corner_lies(corner):
    heights = np.random.default_rng(0).normal(0, 0.05, (22, 26))
    blocks = np.kron(heights, np.ones((8, 8)))[corner[0] : corner[0] + 160, corner[1] : corner[1] + 192]
    x = (SMOOTH + blocks).astype(np.float32)
    assert noise_level(x, None) == pytest.approx(0.05, rel=0.2)


def test_a_smooth_picture_shows_no_error():
    assert noise_level(SMOOTH, None) < 0.003


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (9, 15)])
def test_any_size_has_a_level(size):
    x = np.random.default_rng(0).uniform(-1, 1, (3, *size)).astype(np.float32)
    assert 0 <= noise_level(x, None) < 2
    assert 0 <= noise_level(x, np.full((8, 8), 16, np.float32)) < 2
