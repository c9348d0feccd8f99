"""What is received is a sample of what was wanted, in about as many bits as the KL divergence says."""

import math

import numpy as np
import pytest

from regrain.errors import UsageError
from regrain.progressive.channel import CANDIDATES_MOST, Message, chunks_most, divergence, receive, send


def shifted(size, bits, seed=0):
    """A shift (size,) with a KL divergence of `bits`."""
    shift = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return shift * np.float32(math.sqrt(2 * math.log(2) * bits / np.square(shift).sum()))


def index_bits(chosen):
    """Entropy of the numbers' bit lengths, and the bits below the first."""
    lengths = np.frexp(chosen + 1)[1] - 1
    share = np.bincount(lengths) / lengths.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + lengths.mean())


def test_divergence_is_half_the_square_in_nats():
    assert divergence(np.float32([3, 4])) == pytest.approx(12.5 / math.log(2))


@pytest.mark.parametrize("bits", [1.0, 3.0])
def test_samples_have_the_wanted_mean_unit_variance_and_no_correlation(bits):
    """600 chunks of one shift each in 4 values: the mean is the shift, the rest is white."""
    one = shifted(4, bits)
    samples = np.stack([receive(send(one, 7, step, chunk_bits=99), 4, 7, step) for step in range(600)])
    error = 4 / math.sqrt(len(samples))
    assert np.abs(samples.mean(0) - one).max() < error + 0.03 * np.abs(one).max()
    assert np.abs(np.cov(samples.T) - np.eye(4)).max() < 2 * error


def test_chunks_of_one_message_are_as_good_as_messages():
    size, chunks = 6000, 300
    shift = shifted(size, 4.0 * chunks)
    sample = receive(send(shift, 1, 2, chunk_bits=4.0), size, 1, 2)
    rest = sample - shift
    length = float(np.linalg.norm(shift))
    assert sample @ shift / length**2 == pytest.approx(1, abs=4 / length + 0.03)
    assert rest.std() == pytest.approx(1, abs=0.04)
    assert np.abs(np.corrcoef(rest[:-1], rest[1:])[0, 1]) < 0.05


@pytest.mark.parametrize(("bits", "most"), [(2.0, 2.7), (5.0, 3.0), (8.0, 3.4)])
def test_a_number_takes_the_divergence_and_a_little(bits, most):
    message = send(shifted(20000, bits * 400), 3, 0, chunk_bits=bits)
    assert message.chosen.size == 400
    assert bits - 1.2 < index_bits(message.chosen) < bits + most


def test_many_values_with_few_bits_are_few_chunks():
    message = send(shifted(300_000, 8.0), 0, 0)
    assert message.chosen.size == 1
    assert index_bits(message.chosen) * message.chosen.size < 120


def test_nothing_to_say_is_one_chunk_of_noise():
    message = send(np.zeros(50, np.float32), 0, 0)
    assert message.chosen.size == 1
    assert receive(message, 50, 0, 0).std() == pytest.approx(1, abs=0.4)


def test_sender_and_receiver_share_nothing_but_seed_step_and_message():
    shift = shifted(500, 60)
    first, second = send(shift, 5, 9), send(shift.copy(), 5, 9)
    assert np.array_equal(first.chosen, second.chosen)
    same = receive(Message(first.candidates, first.chosen.copy()), 500, 5, 9)
    assert np.array_equal(same, receive(second, 500, 5, 9))
    assert not np.array_equal(same, receive(first, 500, 5, 10))
    assert not np.array_equal(same, receive(first, 500, 6, 9))


@pytest.mark.parametrize(
    ("candidates", "chosen"), [(0, [0]), (CANDIDATES_MOST + 1, [0]), (3, []), (3, [-1]), (3, [7]), (3, [[1]])]
)
def test_messages_hold_their_ranges(candidates, chosen):
    with pytest.raises(UsageError):
        Message(candidates, np.array(chosen, np.int64))


@pytest.mark.parametrize("shift", [[], [math.nan], [math.inf, 1.0]])
def test_a_shift_that_is_none_is_refused(shift):
    with pytest.raises(UsageError):
        send(np.array(shift, np.float32), 0, 0)


def test_a_chunk_has_sixteen_values():
    assert [chunks_most(size) for size in (1, 16, 17, 160)] == [1, 1, 2, 10]
    assert send(shifted(160, 4000.0), 0, 0).chosen.size == 10
    with pytest.raises(UsageError, match="10 at most"):
        receive(Message(2, np.zeros(11, np.int64)), 160, 0, 0)
