import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrain.diffusion.noise import SIDE_MAX, _quantiles, _upper_quantiles, normal
from regrain.errors import UsageError

STORED = [  # seed 0, step 0, rows 0 and 1, columns 0 to 3, times 2^16
    [[-56915, -100830, -87272, 22395], [-15652, 36424, -20373, -87084]],
    [[52826, -16089, 77319, 93770], [34728, 45125, -35289, 74826]],
    [[-33765, 167019, -8490, 36852], [29859, -13978, 73678, -67743]],
]
DIGEST = "60a71c7835a6bdca0ddb233d58f1a7feb6501a8324c2fb8bee3602d0bfae1f44"
MASK = 2**64 - 1
words = st.integers(0, MASK)
light = settings(max_examples=50, deadline=None)


def _philox(counter, key):
    """Philox4x64 with ten rounds, from the paper (Salmon et al. 2011, section 3.2)."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ k, right & MASK, (left >> 64) ^ d ^ m, left & MASK
        k, m = (k + 0x9E3779B97F4A7C15) & MASK, (m + 0xBB67AE8584CAA73B) & MASK
    return a, b, c, d


def _pixel(seed, step, row, column):
    word = _philox((column // 4, row, step, 0), (seed, 0))[column % 4]
    return [float(_quantiles()[word >> 16 * lane & 0xFFFF]) for lane in range(4)]


def test_stored_values():
    assert (normal(0, 0, 0, 0, 2, 4) * 65536).astype(int).tolist() == STORED


def test_stored_digest_of_a_block_far_out():
    block = normal(0x0123456789ABCDEF, 7, 1000, 2_000_001, 64, 96, 4)
    assert hashlib.sha256(block.astype("<f4").tobytes()).hexdigest() == DIGEST


def test_philox_known_answer():
    assert _philox((0, 0, 0, 0), (0, 0))[:2] == (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC)


@light
@given(seed=words, step=words, row=st.integers(0, SIDE_MAX - 2), column=st.integers(0, SIDE_MAX - 6))
def test_every_value_follows_from_its_address(seed, step, row, column):
    window = normal(seed, step, row, column, 2, 6, 4)
    expected = [[_pixel(seed, step, row + i, column + j) for j in range(6)] for i in range(2)]
    assert window.transpose(1, 2, 0).tolist() == expected


@pytest.mark.parametrize("seed", [0, MASK])
def test_counter_at_its_ends(seed):
    assert normal(seed, 0, 0, 0, 1, 1, 4)[:, 0, 0].tolist() == _pixel(seed, 0, 0, 0)
    last = SIDE_MAX - 1
    assert normal(seed, MASK, last, last, 1, 1, 4)[:, 0, 0].tolist() == _pixel(seed, MASK, last, last)


@light
@given(data=st.data(), row=st.integers(0, SIDE_MAX - 40), column=st.integers(0, SIDE_MAX - 40))
def test_a_window_is_cut_from_any_larger_one(data, row, column):
    i, j = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 39))
    height, width = data.draw(st.integers(1, 40 - i)), data.draw(st.integers(1, 40 - j))
    channels = data.draw(st.integers(1, 4))
    whole = normal(3, 5, row, column, 40, 40, 4)
    part = normal(3, 5, row + i, column + j, height, width, channels)
    assert part.shape == (channels, height, width)
    assert np.array_equal(part, whole[:channels, i : i + height, j : j + width])


def test_form():
    block = normal(1, 2, 3, 4, 5, 6)
    assert block.shape == (3, 5, 6)
    assert block.dtype == np.float32
    assert block.flags.c_contiguous


def test_moments():
    values = normal(11, 0, 0, 0, 512, 512, 4).astype(np.float64).ravel()
    count = values.size
    assert abs(values.mean()) < 5 / math.sqrt(count)
    assert abs((values**2).mean() - 1) < 5 * math.sqrt(2 / count)
    assert abs((values**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / count)


@pytest.mark.parametrize(
    "other",
    [(1, 0, 0, 0), (2**63, 0, 0, 0), (0, 1, 0, 0), (0, 0, 256, 0), (0, 0, 0, 256), (0, 0, 1, 0), (0, 0, 0, 1)],
)
def test_seeds_steps_and_places_do_not_correlate(other):
    here, there = normal(0, 0, 0, 0, 256, 256).ravel(), normal(*other, 256, 256).ravel()
    assert abs(np.corrcoef(here, there)[0, 1]) < 5 / math.sqrt(here.size)


def test_channels_do_not_correlate():
    channels = normal(0, 0, 0, 0, 512, 512, 4).reshape(4, -1)
    for matrix in (np.corrcoef(channels), np.corrcoef(channels**2)):
        assert np.abs(matrix - np.eye(4)).max() < 5 / 512


def test_quantiles_are_far_from_rounding_borders():
    distance = min(abs(value - math.floor(value) - 0.5) for value in _upper_quantiles())
    assert distance > 1e-9
    assert distance > 1e4 * math.ulp(max(_upper_quantiles()))


def test_quantiles_are_antisymmetric_distinct_and_on_the_grid():
    table = _quantiles()
    assert np.array_equal(table, -table[::-1])
    assert (np.diff(table) > 0).all()
    scaled = table.astype(np.float64) * 65536
    assert np.array_equal(scaled, np.rint(scaled))


def test_quantiles_invert_the_error_function():
    table = _quantiles()
    for k in range(0, 65536, 97):
        probability = float(Fraction(2 * k + 1, 131072))
        assert 0.5 * math.erfc(-float(table[k]) / math.sqrt(2)) == pytest.approx(probability, rel=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        (-1, 0, 0, 0, 1, 1, 3),
        (2**64, 0, 0, 0, 1, 1, 3),
        (0, -1, 0, 0, 1, 1, 3),
        (0, 2**64, 0, 0, 1, 1, 3),
        (0, 0, -1, 0, 1, 1, 3),
        (0, 0, 0, SIDE_MAX, 1, 1, 3),
        (0, 0, 0, 0, 0, 1, 3),
        (0, 0, 0, SIDE_MAX - 1, 1, 2, 3),
        (0, 0, 0, 0, 1, 1, 0),
        (0, 0, 0, 0, 1, 1, 5),
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(UsageError, match="is out of range"):
        normal(*arguments)
