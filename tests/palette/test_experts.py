"""Experts: whole numbers that agree with real logarithms and powers, and favour what is around."""

import math

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.palette import experts
from regrain.palette.experts import BIT, LARGEST, Experts, fit, log2
from regrain.palette.interlace import KINDS, WEIGHT_UNIT, passes


def some(channels=3, colours=12, seed=0):
    random = np.random.default_rng(seed)
    metric = np.tril(random.integers(-127, 128, (channels, channels))).astype(np.int8)
    palette = np.unique(random.integers(0, 256, (colours, channels)), axis=0).astype(np.uint8)
    return Experts(metric, 70, (32, 40, 25)), palette


def test_log2_is_rounded_down_and_never_falls():
    values = np.concatenate([np.arange(1, 70000), 2 ** np.arange(17, 53), 3 ** np.arange(11, 33)])
    found, real = log2(values), BIT * np.log2(values)
    assert ((found <= real + 1e-9) & (found > real - 1.4)).all()
    assert (np.diff(found[:69999]) >= 0).all()
    assert (log2(2 ** np.arange(53)) == BIT * np.arange(53)).all()


def test_powers_are_rounded_down():
    powers = experts._powers()
    real = 2.0 ** (LARGEST - np.arange(powers.size) / BIT)
    assert ((powers <= real * (1 + 1e-12)) & (powers > real - 1 - 1e-6)).all()
    assert (powers[0], powers[-1]) == (2**LARGEST, 1)


def test_bytes_come_back_and_a_reach_too_far_is_refused():
    told, _ = some()
    data = told.to_bytes()
    assert len(data) == Experts.size(3) == 6 + KINDS
    again = Experts.from_bytes(data, 3)
    assert (again.metric == told.metric).all()
    assert (again.reach, again.sharpness) == (told.reach, told.sharpness)
    with pytest.raises(Corrupt):
        Experts.from_bytes(data[:-KINDS] + bytes([161, 1, 1, 1]), 3)


def test_costs_are_logarithms_of_distances():
    told, palette = some()
    points = palette.astype(float) @ told.metric
    squares = np.square(points[:, None] - points).sum(2)
    costs = told.costs(palette)
    assert (costs == costs.T).all()
    assert np.abs(costs / BIT - np.log2(squares + (4 + 70 % 4) * 2 ** (70 // 4))).max() < 1.4 / BIT


def test_weights_are_the_product_of_experts():
    told, palette = some()
    indices = np.random.default_rng(2).integers(0, len(palette), (20, 20))
    known, costs = np.append(indices.reshape(-1), len(palette)), told.costs(palette)
    for one in passes(20, 20):
        weights = told.weights(costs, known, one)
        for row, around in zip(weights, one.neighbours, strict=True):
            sharp = told.sharpness[one.kind - 1] / experts.SHARP
            pairs = [(known[n], w) for n, w in zip(around, one.weights, strict=True) if n >= 0]
            real = sum((-sharp * w / WEIGHT_UNIT / BIT * costs[n] for n, w in pairs), np.zeros(len(palette)))
            real = np.maximum(real - real.max(), -LARGEST)
            assert np.abs(np.log2(row) - LARGEST - real)[real > 2 - LARGEST / 2].max() < 2.1 / BIT
        assert weights.min() >= 1
        assert (weights.max(1) == 2**LARGEST).all()
        assert one.kind or (weights == 2**LARGEST).all()


def test_what_comes_later_changes_nothing():
    told, palette = some()
    random = np.random.default_rng(5)
    indices = np.append(random.integers(0, len(palette), 15 * 22), len(palette))
    known, costs = np.full_like(indices, len(palette)), told.costs(palette)
    known[:-1] = random.integers(0, len(palette), 15 * 22)
    for one in passes(15, 22):
        assert (told.weights(costs, known, one) == told.weights(costs, indices, one)).all()
        known[one.places] = indices[one.places]


def waves(side, seed=0):
    """A palette of 30 and smooth indices."""
    rows, columns = np.mgrid[:side, :side] / 6
    smooth = np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], 2)
    palette = np.unique(np.random.default_rng(seed).integers(28, 228, (30, 3)), axis=0).astype(np.uint8)
    distances = np.square(127.5 + 100 * smooth[:, :, None] - palette).sum(3)
    return palette, distances.argmin(2).astype(np.uint8)


def ideal_bits(told, palette, indices):
    known, costs = np.append(indices.reshape(-1).astype(int), len(palette)), told.costs(palette)
    return sum(experts._bits(told.weights(costs, known, one), known[one.places]) for one in passes(*indices.shape))


def test_fitted_experts_know_more_than_others():
    palette, indices = waves(40)
    best = ideal_bits(fit(palette, indices), palette, indices)
    blind = Experts(np.zeros((3, 3), np.int8), 0, (0, 0, 0))
    assert ideal_bits(blind, palette, indices) == pytest.approx(1600 * math.log2(30))
    assert best < 0.6 * ideal_bits(blind, palette, indices)
    assert best < 0.9 * ideal_bits(some()[0], palette, indices)


def test_a_metric_learns_which_channel_is_noise():
    palette = np.array([[a, b] for a in range(40, 200, 20) for b in range(40, 200, 20)], np.uint8)
    rows, columns = np.mgrid[:48, :48]
    noise = np.random.default_rng(0).integers(0, 8, (48, 48))
    indices = (((rows + columns) // 12) % 8 * 8 + noise).astype(np.uint8)
    told = fit(palette, indices)
    assert np.abs(told.metric[0, 0]) > 3 * np.abs(told.metric[1]).max()
    assert ideal_bits(told, palette, indices) < 48 * 48 * 4.5


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (3, 40)])
def test_any_size_is_fitted(size):
    palette, _ = waves(8)
    indices = np.zeros(size, np.uint8)
    assert len(fit(palette, indices).to_bytes()) == Experts.size(3)
    assert len(fit(palette[:1], indices).to_bytes()) == Experts.size(3)
