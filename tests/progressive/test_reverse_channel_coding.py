"""What is received is a sample of what was wanted, in about as many bits as the KL divergence says."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from regrain.errors import UsageError
from regrain.progressive import reverse_channel_coding as coding
from regrain.progressive.reverse_channel_coding import CANDIDATES_MOST, Message, chunks_most, divergence, receive, send


def shifted(size, bits, seed=0):
    """A shift (size,) whose KL divergence is `bits` but for what its spread loses in a byte: size log2(r) / 2."""
    return of_deviation(size, math.sqrt(4 ** (bits / size) - 1), seed)


def of_deviation(size, deviation, seed=0):
    """A shift (size,) of this deviation about 0."""
    shift = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return shift * np.float32(deviation / math.sqrt(np.square(shift).mean()))


def ratio(message):
    """r, the variance of candidates."""
    return 1 + (message.spread / 64) ** 2


def index_bits(indices):
    """Entropy of the numbers' bit lengths, and the bits below the first."""
    lengths = np.frexp(indices + 1)[1] - 1
    share = np.bincount(lengths) / lengths.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + lengths.mean())


def kept_and_left(bits, count):
    """Of a shift, 24.8 values a chunk of `bits`: the part that a sample keeps, and the variance of the rest.

    (count, 2), a message a row. They ask for a thousandth less, so that no rounding adds a chunk to the 50.
    """
    found = []
    for seed in range(count):
        shift = shifted(1240, 0.999 * bits * 50, seed)
        sample = receive(send(shift, seed, 2, chunk_bits=bits), shift.size, seed, 2)
        kept = float(sample @ shift / (shift @ shift))
        found.append((kept, float((sample - kept * shift).var())))
    return np.array(found)


def race(bits, candidates, count, values=24.8):
    """The same (count, 2) of single chunks that each draw candidates and exponential times of their own.

    All that counts of a candidate is its part along the shift, sqrt(r) u, and its square across it, r q.
    """
    random, wide = np.random.default_rng(0), 4 ** (bits / values)
    length, found = math.sqrt(values * (wide - 1)), []
    for _ in range(count):
        u, q = random.standard_normal(candidates), random.chisquare(values - 1, candidates)
        log_ratio = math.sqrt(wide) * length * u - (wide - 1) / 2 * (u * u + q)
        winner = (log_ratio - np.log(random.standard_exponential(candidates))).argmax()
        found.append((math.sqrt(wide) * u[winner] / length, wide * q[winner] / (values - 1)))
    return np.array(found)


@pytest.mark.parametrize("shift", [[0, 0, 0], [0.01, -0.02], [3, -4, 0], [1, 1, -1, 1], [300, -5]])
def test_divergence_is_the_mean_of_the_log_ratio(shift):
    """Of N(shift, I) to N(0, r I), value by value; the last shift is beyond what a byte can tell."""
    wide = math.sqrt(ratio(send(np.float32(shift), 0, 0)))

    def excess(z, mean):
        return norm.pdf(z - mean) * (norm.logpdf(z - mean) - norm.logpdf(z, scale=wide)) / math.log(2)

    parts = [quad(excess, mean - 12, mean + 12, args=(mean,))[0] for mean in shift]
    assert divergence(np.float32(shift)) == pytest.approx(sum(parts), abs=1e-9)


@pytest.mark.parametrize("spread", [1, 40, 64, 255])
def test_a_square_as_the_receiver_expects_it_takes_half_the_log_of_the_candidates_variance(spread):
    """|shift|^2 = D (r - 1), however it is shared among the values."""
    shift = np.float32([spread / 64] * 36 + [0, spread / 64 * math.sqrt(2)])
    message = send(shift, 0, 0)
    assert message.spread == spread
    assert divergence(shift) == pytest.approx(38 * math.log2(ratio(message)) / 2, rel=1e-6)


@pytest.mark.parametrize("deviation", [1 / 128, 1 / 64, 1.5 / 64, 0.3, 1.0, 255 / 64])
def test_rounding_the_spread_costs_two_parts_in_ten_thousand_at_most(deviation):
    """The divergence is least at r = 1 + deviation^2, so that an error of 1 / 128 counts by its square."""
    least = 500 * math.log2(1 + deviation**2) / 2
    assert least * (1 - 1e-6) < divergence(of_deviation(500, deviation)) < least * 1.0002


def test_the_spread_is_the_deviation_about_0_in_a_byte():
    spreads = [send(np.float32(shift), 0, 0).spread for shift in ([0, 0], [0.5, 0.5], [0, 2], [9, 9], [1e30, 0])]
    assert spreads == [0, 32, round(64 * math.sqrt(2)), 255, 255]


@pytest.mark.parametrize("spread", [1, 64, 255])
def test_the_spread_makes_a_sample_wider_and_nothing_else(spread):
    narrow, wide = (receive(Message(6, np.arange(30), told), 500, 1, 2) for told in (0, spread))
    assert wide == pytest.approx(narrow * math.sqrt(1 + (spread / 64) ** 2), rel=1e-6)


@pytest.mark.parametrize("bits", [1.0, 3.0])
def test_samples_have_the_wanted_mean_unit_variance_and_no_correlation(bits):
    """600 chunks of one shift each in 4 values, of r = 1.4 and 2.8: the mean is the shift, the rest is white."""
    one = shifted(4, bits)
    samples = np.stack([receive(send(one, 7, step, chunk_bits=99), 4, 7, step) for step in range(600)])
    error = 4 / math.sqrt(len(samples))
    assert np.abs(samples.mean(0) - one).max() < error + 0.03 * np.abs(one).max()
    assert np.abs(np.cov(samples.T) - np.eye(4)).max() < 2 * error


def test_chunks_of_one_message_are_as_good_as_messages():
    """On average: they share candidates, and so how loud these are. Of others the variance would deviate by 0.04."""
    kept, variance = kept_and_left(4.0, 60).T
    assert kept.mean() == pytest.approx(1, abs=0.04)
    assert variance.mean() == pytest.approx(1, abs=0.06)
    assert variance.std() < 0.25


def test_the_noise_of_one_message_knows_nothing_of_its_neighbours():
    shift = shifted(6000, 1200.0)
    rest = receive(send(shift, 1, 2, chunk_bits=4.0), 6000, 1, 2) - shift
    assert np.abs(np.corrcoef(rest[:-1], rest[1:])[0, 1]) < 0.05


def test_chunks_of_ten_bits_fall_short_as_any_16383_candidates_do():
    """7 % of the shift is missing and 3 % of the variance too many; where chunks are of many values, 10 % and 1 %."""
    found, fair = kept_and_left(coding.CHUNK_BITS, 40), race(coding.CHUNK_BITS, 2**14 - 1, 400)
    assert found.mean(0) == pytest.approx(fair.mean(0), abs=0.04)
    assert found.mean(0) == pytest.approx([0.93, 1.03], abs=0.025)
    assert found[:, 1].std() < 0.08


@pytest.mark.parametrize("bits", [2.0, 6.0, 8.0])
def test_a_number_takes_the_divergence_and_a_little(bits):
    """At most the bound of Li and El Gamal (2018), which 2^14 candidates keep well below from 6 bits on."""
    message = send(shifted(20000, 0.999 * bits * 400), 3, 0, chunk_bits=bits)
    assert message.indices.size == 400
    assert bits < index_bits(message.indices) < bits + math.log2(bits + 1) + 1


@pytest.mark.parametrize(("size", "chunk_bits"), [(300, 4.0), (3001, 10.0)])
def test_all_ways_to_the_scores_choose_the_same_numbers(size, chunk_bits, monkeypatch):
    """A product of matrices, the same in blocks of 100 candidates or fewer, and a correlation."""
    shift = shifted(size, 150.0)
    whole = send(shift, 1, 2, chunk_bits=chunk_bits)
    assert whole.spread > 0
    assert whole.indices.size >= 15
    for name, value in (("_BLOCK", 100 * whole.indices.size), ("_LONG", 0)):
        monkeypatch.setattr(coding, name, value)
        assert np.array_equal(send(shift, 1, 2, chunk_bits=chunk_bits).indices, whole.indices)


def test_many_values_with_few_bits_are_few_chunks():
    """So few bits a value that the spread is told as 0."""
    message = send(shifted(300_000, 8.0), 0, 0)
    assert (message.indices.size, message.spread) == (1, 0)
    assert index_bits(message.indices) < 14


def test_nothing_to_say_is_one_chunk_of_noise():
    message = send(np.zeros(50, np.float32), 0, 0)
    assert (message.indices.size, message.spread) == (1, 0)
    assert receive(message, 50, 0, 0).std() == pytest.approx(1, abs=0.4)


def test_sender_and_receiver_share_nothing_but_seed_step_and_message():
    shift = shifted(500, 60)
    first, second = send(shift, 5, 9), send(shift.copy(), 5, 9)
    assert np.array_equal(first.indices, second.indices)
    same = receive(Message(first.candidates, first.indices.copy(), first.spread), 500, 5, 9)
    assert np.array_equal(same, receive(second, 500, 5, 9))
    assert not np.array_equal(same, receive(first, 500, 5, 10))
    assert not np.array_equal(same, receive(first, 500, 6, 9))


@pytest.mark.parametrize(
    ("candidates", "indices"), [(0, [0]), (CANDIDATES_MOST + 1, [0]), (3, []), (3, [-1]), (3, [7]), (3, [[1]])]
)
def test_messages_hold_their_ranges(candidates, indices):
    with pytest.raises(UsageError):
        Message(candidates, np.array(indices, np.int64))


@pytest.mark.parametrize("spread", [-1, 256])
def test_a_spread_is_a_byte(spread):
    with pytest.raises(UsageError, match="0 to 255"):
        Message(3, np.array([0]), spread)


@pytest.mark.parametrize("shift", [[], [math.nan], [math.inf, 1.0]])
def test_a_shift_that_is_none_is_refused(shift):
    with pytest.raises(UsageError):
        send(np.array(shift, np.float32), 0, 0)


def test_a_chunk_has_sixteen_values():
    assert [chunks_most(size) for size in (1, 16, 17, 160)] == [1, 1, 2, 10]
    assert send(shifted(160, 400.0), 0, 0).indices.size == 10
