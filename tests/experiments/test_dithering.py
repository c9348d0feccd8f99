"""Noise that is uniform and knows nothing of the shift, in as many bits as it says of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import ks_2samp, kstest, norm, spearmanr

from experiments.progressive.dithering import WIDTH, _dither, ideal_bits, nearest, receive, send, spreads
from regrain.diffusion import noise
from regrain.errors import UsageError

HALF = math.sqrt(3)
SIZE = 2**15


def shifted(spread, size=SIZE):
    return (spread * np.random.default_rng(0).standard_normal(size)).astype(np.float32)


def sent(shift, step=3):
    return receive(send(shift, 11, step), 11, step)


def information(spread):
    """I(shift; shift + u) in bits, from the density of the sum."""

    def surprise(z):
        density = (norm.cdf((z + HALF) / spread) - norm.cdf((z - HALF) / spread)) / WIDTH
        return -density * math.log2(density * WIDTH) if density > 0 else 0.0

    edges = [0, max(0.0, HALF - 9 * spread), HALF, HALF + 9 * spread]
    return 2 * sum(quad(surprise, low, high)[0] for low, high in pairwise(edges))


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5, 2.0, 1000.0])
def test_the_noise_is_uniform_with_variance_one(spread):
    shift = shifted(spread)
    rest = sent(shift).astype(np.float64) - shift
    assert kstest(rest, "uniform", (-HALF, WIDTH)).pvalue > 0.01
    assert rest.var() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
def test_the_noise_is_independent_of_the_shift(spread):
    """Of its size, of its magnitude, and of its place between whole widths, which plain rounding's error is made of."""
    shift = shifted(spread)
    rest = sent(shift) - shift
    for seen in (shift, np.abs(shift), shift / WIDTH - np.rint(shift / WIDTH)):
        assert spearmanr(seen, rest).pvalue > 0.01
        assert spearmanr(seen, np.abs(rest)).pvalue > 0.01
        high = seen > np.median(seen)
        assert ks_2samp(rest[high], rest[~high]).pvalue > 0.01


@pytest.mark.parametrize("spread", [0.2, 1.0, 4.0, 30.0])
def test_bits_are_the_information_that_the_sample_has_of_the_shift(spread):
    index = nearest(spread)
    shift = shifted(spreads()[index], 2**18)
    bits = ideal_bits(send(shift, 2, 5), index, 2, 5) / shift.size
    assert bits == pytest.approx(information(spreads()[index]), rel=0.012)


def test_noise_with_edges_costs_bits_as_the_spread_and_at_most_a_quarter_more_than_gaussian_noise():
    """For s << w only the edges tell: 2 s / w times the integral of -Phi log2 Phi. For s >> w: h(u) against h(N)."""
    edge = quad(lambda x: -norm.cdf(x) * norm.logcdf(x) / math.log(2), -30, 30)[0]
    assert information(0.02) == pytest.approx(2 * 0.02 / WIDTH * edge, rel=1e-3)
    assert information(60.0) - math.log2(1 + 60.0**2) / 2 == pytest.approx(
        math.log2(math.pi * math.e / 6) / 2, abs=1e-3
    )


def test_probabilities_sum_to_one():
    symbols = np.arange(-40, 41, dtype=np.int32)
    for index in (nearest(0.3), nearest(3.0)):
        lengths = [ideal_bits(np.array([symbol], np.int32), index, 0, 0) for symbol in symbols]
        assert np.exp2(-np.array(lengths)).sum() == pytest.approx(1, abs=1e-12)


def test_no_symbol_costs_more_than_floats_hold():
    assert 1e6 < ideal_bits(np.array([2**31 - 1], np.int32), 0, 0, 0) < math.inf


def test_sender_and_receiver_share_nothing_but_seed_step_and_symbols():
    symbols = send(shifted(2.0), 5, 9)
    assert symbols.dtype == np.int32
    one = receive(symbols, 5, 9)
    assert one.dtype == np.float32
    assert np.array_equal(one, receive(symbols.copy(), 5, 9))
    assert not np.array_equal(one, receive(symbols, 5, 10))
    assert not np.array_equal(one, receive(symbols, 6, 9))
    assert np.array_equal(one[:100], receive(symbols[:100], 5, 9))


def test_received_values_are_these():
    expected = np.float32([-1.378646, -1.1799777, 5.082175, -7.043677, 346410.28])
    assert np.array_equal(receive(np.array([0, 0, 1, -2, 100000], np.int32), 3, 4), expected)


def test_the_dither_is_none_of_the_noise():
    normal = noise.normal(0, 0, 0, 0, 1, 4096)
    assert np.abs(np.corrcoef([_dither(4096, 0, 0), *normal[:, 0]])[0, 1:]).max() < 0.06


def test_the_nearest_spread_is_within_a_sixteenth_of_an_octave():
    for deviation in (0.0025, 0.3, 7.0):
        assert abs(math.log2(spreads()[nearest(deviation)] / deviation)) <= 1 / 16
    assert (nearest(0.0), nearest(1e9)) == (0, 255)


@pytest.mark.parametrize("shift", [[math.nan], [math.inf, 1.0], [1e11]])
def test_a_shift_that_no_symbol_holds_is_refused(shift):
    with pytest.raises(UsageError, match="2\\^31"):
        send(np.array(shift, np.float32), 0, 0)


@pytest.mark.parametrize(("spread", "seed", "step"), [(-1, 0, 0), (256, 0, 0), (0, -1, 0), (0, 0, 2**64)])
def test_what_is_out_of_range_is_refused(spread, seed, step):
    with pytest.raises(UsageError):
        ideal_bits(np.zeros(1, np.int32), spread, seed, step)
