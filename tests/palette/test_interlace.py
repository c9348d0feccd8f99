"""Passes: every position once, every neighbour before it, and predictions that are exact where they can be."""

import numpy as np
import pytest

from regrain.palette import interlace
from regrain.palette.interlace import KINDS, SPREAD_UNIT, STENCILS, passes, predict

SIZES = [(1, 1), (1, 2), (2, 1), (1, 70), (70, 1), (3, 3), (5, 7), (16, 16), (17, 33), (64, 64), (96, 64), (130, 201)]


@pytest.mark.parametrize("size", SIZES)
def test_every_position_is_in_one_pass_and_every_neighbour_before_it(size):
    when = np.full(size[0] * size[1] + 1, -1)
    for number, one in enumerate(passes(*size)):
        assert 1 <= one.places.size <= interlace.TOGETHER
        assert one.neighbours.shape == (one.places.size, one.weights.size)
        inside = one.neighbours[one.neighbours >= 0]
        assert (when[inside] >= 0).all()
        assert (when[one.places] < 0).all()
        when[one.places] = number
    assert (when[:-1] >= 0).all()
    assert when[-1] == -1


@pytest.mark.parametrize("size", SIZES)
def test_all_but_the_lattice_has_a_neighbour(size):
    for one in passes(*size):
        assert (one.kind > 0) == (one.weights.size > 0)
        assert one.kind == 0 or (one.neighbours >= 0).any(1).all()


def test_a_pass_too_large_is_cut(monkeypatch):
    whole = passes(40, 50)
    monkeypatch.setattr(interlace, "TOGETHER", 90)
    parts = passes.__wrapped__(40, 50)
    assert max(one.places.size for one in parts) == 90
    assert (np.concatenate([one.places for one in parts]) == np.concatenate([one.places for one in whole])).all()
    neighbours = [np.concatenate([one.neighbours for one in some if one.kind == 3]) for some in (parts, whole)]
    assert (neighbours[0] == neighbours[1]).all()


@pytest.mark.parametrize("kind", range(1, KINDS))
def test_stencils_are_symmetric(kind):
    """Far from borders, neighbours lie about a position: weighted, their mean place is it, both ways spread alike."""
    one = next(one for one in passes(64, 64)[::-1] if one.kind == kind)
    place, around = next(
        (place, around)
        for place, around in zip(one.places, one.neighbours, strict=True)
        if (around >= 0).all() and place // 64 > 20
    )
    offsets = np.stack([around // 64 - place // 64, around % 64 - place % 64])
    assert not (offsets * one.weights).sum(1).any()
    squares = (offsets[:, None] * offsets * one.weights).sum(2)
    assert squares[0, 0] == squares[1, 1] > 0
    assert squares[0, 1] == 0
    assert set(one.weights.tolist()) == {weight for *_, weight in STENCILS[kind]}


def plain(values, one, width):
    """`predict`, position by position."""
    means, spreads = [], []
    for around in one.neighbours:
        pairs = [(values[n], w) for n, w in zip(around, one.weights, strict=True) if n >= 0]
        total = sum(w for _, w in pairs)
        mean = np.array([(2 * sum(v * w for v, w in pairs) + total) // (2 * total)]).reshape(-1)
        means.append(mean)
        spreads.append(sum(np.abs(v - mean) * w for v, w in pairs) * SPREAD_UNIT // total)
    return np.array(means), np.array(spreads)


def test_predictions_are_those_of_a_plain_loop():
    values = np.random.default_rng(0).integers(0, 256, (19 * 23, 3))
    for one in passes(19, 23):
        if one.kind:
            for found, wanted in zip(predict(values, one), plain(values, one, 23), strict=True):
                assert (found == wanted).all()


def test_a_flat_picture_is_foreseen_and_a_ramp_away_from_borders():
    rows, columns = np.mgrid[:64, :64]
    ramp = np.stack([3 * rows + columns, np.full((64, 64), 77)], 2).reshape(-1, 2)
    for one in passes(64, 64):
        if one.kind:
            mean, spread = predict(ramp, one)
            whole = (one.neighbours >= 0).all(1)
            assert (mean[whole] == ramp[one.places[whole]]).all()
            assert (mean[:, 1] == 77).all()
            assert not spread[:, 1].any()
            assert spread[:, 0].all()


def test_what_comes_later_is_not_looked_at():
    random = np.random.default_rng(1)
    values = random.integers(0, 256, (30 * 21, 4))
    known = random.integers(-1000, 1000, values.shape)
    for one in passes(30, 21):
        if one.kind:
            assert (predict(known, one)[0] == predict(values, one)[0]).all()
        known[one.places] = values[one.places]


def test_without_neighbours_the_middle_is_expected():
    mean, spread = predict(np.ones((25, 2), np.int64), passes(5, 5)[0])
    assert mean.tolist() == [[interlace.MIDDLE] * 2]
    assert spread.tolist() == [[interlace.SPREAD * SPREAD_UNIT] * 2]
