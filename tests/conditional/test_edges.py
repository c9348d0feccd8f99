"""The gate of noise: shut on strong edges, open on texture, faint edges and flat squares; what it does to seeds."""

import numpy as np
import pytest

import regrain
from regrain.conditional.edges import noise_gate


def gate(luma):
    return noise_gate(np.broadcast_to(luma, (3, 64, 64)).astype(np.float32))[0]


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (1, 1), (2, -1)])
def test_a_strong_edge_of_any_direction_is_shut_and_what_is_far_from_it_open(direction):
    down, across = np.indices((64, 64)) - 31.5
    away = (direction[0] * down + direction[1] * across) / np.hypot(*direction)
    shut = gate(0.4 * np.tanh(away))
    inner = np.pad(np.ones((48, 48), bool), 8)
    assert shut[inner & (np.abs(away) < 2)].max() < 0.1
    assert shut[np.abs(away) > 18].min() == 1


def test_noise_flat_squares_and_faint_edges_are_open():
    noise = np.random.default_rng(5).normal(0, 0.4, (64, 64))
    assert gate(noise).mean() > 0.95
    assert gate(np.zeros((64, 64))).min() == 1
    assert gate(0.03 * (np.arange(64) > 31) * np.ones((64, 1))).min() == 1


def test_a_gate_is_of_the_place_not_of_what_surrounds_it():
    """A part of a picture has the gate of the whole but near its rim: windows that overlap agree."""
    rng = np.random.default_rng(6)
    picture = np.repeat(np.repeat(rng.uniform(-1, 1, (3, 12, 12)), 16, 1), 16, 2).astype(np.float32)
    whole, part = noise_gate(picture), noise_gate(picture[:, 32:160, 32:160])
    np.testing.assert_allclose(part[:, 16:-16, 16:-16], whole[:, 48:144, 48:144], atol=1e-6)


@pytest.mark.parametrize("eta", [0, 1])
def test_seeds_agree_on_a_strong_edge_and_differ_beside_it(eta):
    """Two pictures of the weights that ship, in steps with and without noise of their own."""
    rng, picture = np.random.default_rng(7), np.full((128, 128, 3), 60, np.uint8)
    picture[:, 64:] = 190
    picture[:, :40] = (120 + rng.normal(0, 25, (128, 40, 1))).clip(0, 255)
    data = regrain.encode(picture, quality=10)
    first, second = (np.asarray(regrain.decode(data, steps=4, eta=eta, seed=seed), float) for seed in (1, 2))
    apart = np.abs(first - second).mean((0, 2))
    assert apart[:32].mean() > 4 * apart[61:67].mean()
