"""Messages come back from bytes, and bytes that no sender writes are refused."""

import numpy as np
import pytest

from regrain.errors import Corrupt
from regrain.progressive.channel import CANDIDATES_MOST, Message
from regrain.progressive.sections import pack, unpack


def messages(seed=0):
    random = np.random.default_rng(seed)
    made = []
    for count, candidates, spread in ((1, 1, 0), (40, 7, 255), (300, CANDIDATES_MOST, 20)):
        top = 2.0 ** (candidates * random.random(count)) - 1
        made.append(Message(candidates, np.minimum(top.astype(np.int64), 2**candidates - 2), spread))
    return made, [1, 650, 4800]


def told(sent):
    """All that messages say."""
    return [(message.candidates, message.spread, message.chosen.tolist()) for message in sent]


def test_messages_come_back():
    for seed in range(20):
        sent, sizes = messages(seed)
        assert told(unpack(pack(sent), sizes)) == told(sent)


def test_extremes_come_back():
    for candidates in (1, 2, CANDIDATES_MOST):
        sent = [Message(candidates, np.array([0, 2**candidates - 2], np.int64))]
        assert told(unpack(pack(sent), [32])) == told(sent)


def test_every_spread_is_the_third_byte_of_a_tile_and_comes_back():
    for spread in range(256):
        payload = pack([Message(5, np.array([7]), spread)])
        assert payload[:3] == bytes([1, 5, spread])
        assert told(unpack(payload, [9])) == [(5, spread, [7])]


def test_the_size_is_the_numbers_bits_and_little_more():
    number = np.random.default_rng(1).integers(2**9 - 1, 2**10 - 1, 4000)
    assert len(pack([Message(10, number)])) < 4000 * 9.6 / 8 + 16


# Where the payload of `messages` has log2 of the candidates and the spread of each tile: 300 chunks are two bytes.
CANDIDATES, SPREADS = (1, 4, 8), (2, 5, 9)


def test_every_cut_and_every_flipped_bit_of_the_numbers_is_refused():
    """A spread has no wrong value and more candidates than there are suit any number: those are the section's CRC's."""
    sent, sizes = messages()
    payload = pack(sent)
    for at in range(len(payload)):
        with pytest.raises(Corrupt):
            unpack(payload[:at], sizes)
        for bit in range(8):
            spoilt = bytearray(payload)
            spoilt[at] ^= 1 << bit
            if at in SPREADS:
                others = list(sent)
                tile = SPREADS.index(at)
                others[tile] = Message(sent[tile].candidates, sent[tile].chosen, spoilt[at])
                assert told(unpack(bytes(spoilt), sizes)) == told(others)
            elif at not in CANDIDATES or not payload[at] < spoilt[at] <= CANDIDATES_MOST:
                with pytest.raises(Corrupt):
                    unpack(bytes(spoilt), sizes)


@pytest.mark.parametrize("sizes", [[1, 650], [1, 650, 4784], [1, 650, 4800, 4]])
def test_other_tiles_are_refused(sizes):
    with pytest.raises(Corrupt):
        unpack(pack(messages()[0]), sizes)
