"""Messages come back from bytes, and bytes that no sender writes are refused."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.progressive.payload import pack, unpack
from regrain.progressive.reverse_channel_coding import CANDIDATES_MOST, Message

STEP = 3


def messages(seed=0):
    random = np.random.default_rng(seed)
    made = []
    for count, candidates, spread in ((1, 1, 0), (40, 7, 255), (300, CANDIDATES_MOST, 20)):
        top = 2.0 ** (candidates * random.random(count)) - 1
        made.append(Message(candidates, np.minimum(top.astype(np.int64), 2**candidates - 2), spread))
    return made, [1, 650, 4800]


def told(sent):
    """All that messages say."""
    return [(message.candidates, message.spread, message.indices.tolist()) for message in sent]


def test_messages_come_back():
    for seed in range(20):
        sent, sizes = messages(seed)
        assert told(unpack(pack(sent, STEP), sizes, STEP)) == told(sent)


def test_extremes_come_back():
    for candidates in (1, 2, CANDIDATES_MOST):
        sent = [Message(candidates, np.array([0, 2**candidates - 2], np.int64))]
        assert told(unpack(pack(sent, STEP), [32], STEP)) == told(sent)


def test_every_spread_is_the_third_byte_of_a_tile_and_comes_back():
    for spread in range(256):
        payload = pack([Message(5, np.array([7]), spread)], STEP)
        assert payload[:3] == bytes([1, 5, spread])
        assert told(unpack(payload, [9], STEP)) == [(5, spread, [7])]


def test_the_size_is_the_numbers_bits_and_little_more():
    number = np.random.default_rng(1).integers(2**9 - 1, 2**10 - 1, 4000)
    assert len(pack([Message(10, number)], STEP)) < 4000 * 9.6 / 8 + 16


def test_every_cut_every_flipped_bit_and_every_other_step_is_refused():
    sent, sizes = messages()
    payload = pack(sent, STEP)
    for at in range(len(payload)):
        with pytest.raises(Corrupt):
            unpack(payload[:at], sizes, STEP)
        for bit in range(8):
            spoilt = bytearray(payload)
            spoilt[at] ^= 1 << bit
            with pytest.raises(Corrupt):
                unpack(bytes(spoilt), sizes, STEP)
    for step in (0, STEP - 1, STEP + 1):
        with pytest.raises(Corrupt):
            unpack(payload, sizes, step)


@pytest.mark.parametrize("sizes", [[1, 650], [1, 650, 4784], [1, 650, 4800, 4]])
def test_other_tiles_are_refused(sizes):
    with pytest.raises(Corrupt):
        unpack(pack(messages()[0], STEP), sizes, STEP)
