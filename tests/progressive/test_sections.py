"""Messages come back from bytes, and bytes that no sender writes are refused."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.progressive.channel import CANDIDATES_MOST, Message
from regrain.progressive.sections import pack, unpack


def messages(seed=0):
    random = np.random.default_rng(seed)
    made = []
    for count, candidates in ((1, 1), (40, 7), (300, CANDIDATES_MOST)):
        top = 2.0 ** (candidates * random.random(count)) - 1
        made.append(Message(candidates, np.minimum(top.astype(np.int64), 2**candidates - 2)))
    return made, [1, 650, 4800]


def equal(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return all(a.candidates == b.candidates and np.array_equal(a.chosen, b.chosen) for a, b in pairs)


def test_messages_come_back():
    for seed in range(20):
        sent, sizes = messages(seed)
        assert equal(unpack(pack(sent), sizes), sent)


def test_extremes_come_back():
    for candidates in (1, 2, CANDIDATES_MOST):
        sent = [Message(candidates, np.array([0, 2**candidates - 2], np.int64))]
        assert equal(unpack(pack(sent), [32]), sent)


def test_the_size_is_the_numbers_bits_and_little_more():
    number = np.random.default_rng(1).integers(2**9 - 1, 2**10 - 1, 4000)
    assert len(pack([Message(10, number)])) < 4000 * 9.6 / 8 + 16


def test_every_flipped_bit_and_every_cut_is_refused():
    sent, sizes = messages()
    payload = pack(sent)
    for at in range(len(payload)):
        with pytest.raises(Corrupt):
            unpack(payload[:at], sizes)
        for bit in range(8):
            spoilt = bytearray(payload)
            spoilt[at] ^= 1 << bit
            try:
                other = unpack(bytes(spoilt), sizes)
            except Corrupt:
                continue
            assert [message.chosen.tolist() for message in other] == [message.chosen.tolist() for message in sent]


@pytest.mark.parametrize("sizes", [[1, 650], [1, 650, 4784], [1, 650, 4800, 4]])
def test_other_tiles_are_refused(sizes):
    with pytest.raises(Corrupt):
        unpack(pack(messages()[0]), sizes)
