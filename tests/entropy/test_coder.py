"""Real bytes against ideal code lengths, the oracle in both directions, round trips, and streams made to harm."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropy import reference_coder as oracle
from regrain.entropy.coder import Decoder, encode, ideal_bits
from regrain.entropy.tables import TOTAL, Table, freeze, gaussian_tables, scales
from regrain.errors import Corrupt, UsageError

GAUSSIAN = gaussian_tables()
LEARNED = (
    freeze(np.array([0.1, 0.6, 0.25]), -1),
    freeze(np.array([0.5]), 40),
    Table(-(2**31), np.array([1, TOTAL - 1])),
    Table(2**31 - 1, np.array([TOTAL - 1, 1])),
)
EXTREMES = np.array([2**31 - 1, -(2**31), 0, -1, 1, 63, 64, -64, 8192, -8193], dtype=np.int32)


def ideal_bytes(symbols, ids, tables):
    """Code length in bytes of the slots, and of the LEB128 bytes of the escapes."""
    bits = 0.0
    for symbol, table in zip(symbols.tolist(), (tables[i] for i in ids), strict=True):
        inside = table.first <= symbol < table.first + table.size
        bits += table.bits()[symbol - table.first if inside else table.size]
        if not inside:
            beyond = symbol - table.first - table.size
            bits += 8 * max(1, -(-int(2 * beyond if beyond >= 0 else 2 * (table.first - symbol) - 1).bit_length() // 7))
    return bits / 8


def sample(n, seed, scale=None):
    """Draw (symbols, ids) of n Gaussians, at one scale (with the nearest table) or at those of random tables."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 64, n) if scale is None else np.full(n, np.abs(np.log(scales() / scale)).argmin())
    spread = scales()[ids] if scale is None else scale
    return np.rint(rng.normal(size=n) * spread).astype(np.int32), ids


def decode(data, parts, check=0):
    """Decode with the ids and tables of the parts."""
    decoder = Decoder(data)
    symbols = [decoder.take(ids, tables) for _, ids, tables in parts]
    decoder.finish(check)
    return symbols


def part(draw, tables, symbols):
    ids = draw(st.lists(st.integers(0, len(tables) - 1), max_size=40))
    values = draw(st.lists(symbols, min_size=len(ids), max_size=len(ids)))
    return np.array(values, dtype=np.int32), np.array(ids, dtype=np.int64), tables


@st.composite
def streams(draw):
    """Parts as a tile has them, z then y, and a check."""
    int32s = st.integers(-(2**31), 2**31 - 1) | st.integers(-200, 200)
    parts = [part(draw, LEARNED, st.integers(-3, 3) | int32s), part(draw, GAUSSIAN, st.integers(-3, 3) | int32s)]
    return parts, draw(st.sampled_from([0, 1, 2**32 - 2, 2**32 - 1]) | st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("scale", 10.0 ** np.arange(-2.0, 4.1, 0.5))
def test_real_bytes_are_the_ideal_length_over_six_decades(scale):
    symbols, ids = sample(5000, 1, scale)
    size = len(encode([(symbols, ids, GAUSSIAN)]))
    ideal = ideal_bytes(symbols, ids, GAUSSIAN)
    assert ideal - 1 < size <= ideal * 1.00001 + 5


@pytest.mark.parametrize("scale", 10.0 ** np.arange(-0.5, 2.1, 0.5))
def test_real_bytes_are_the_entropy_of_the_source(scale):
    symbols, ids = sample(20_000, 2, scale)
    density = np.exp(-0.5 * (np.arange(-900, 901) / scale) ** 2)
    if scale < 1:
        edges = np.abs(np.arange(-900, 901)[:, None] + np.linspace(-0.5, 0.5, 1001)[None])
        density = np.exp(-0.5 * (edges / scale) ** 2).mean(axis=1)
    mass = density / density.sum()
    entropy = -(mass[mass > 0] * np.log2(mass[mass > 0])).sum() * symbols.size / 8
    assert len(encode([(symbols, ids, GAUSSIAN)])) == pytest.approx(entropy, rel=0.03)


def test_parts_share_one_stream():
    parts = [(*sample(500, seed), GAUSSIAN) for seed in range(8)]
    ideal = sum(ideal_bytes(*each) for each in parts)
    assert len(encode(parts)) <= ideal + 5
    assert len(encode(parts, check=2**32 - 1)) <= ideal + 6


@settings(deadline=None)
@given(streams())
def test_round_trip_and_oracle_in_both_directions(stream):
    parts, check = stream
    data = encode(parts, check)
    assert data == oracle.encode(parts, check)
    reference = oracle.Decoder(data)
    for (symbols, ids, tables), decoded in zip(parts, decode(data, parts, check), strict=True):
        assert decoded.dtype == np.int32
        assert decoded.tolist() == symbols.tolist() == reference.take(ids, tables)
    reference.finish(check)


def test_oracle_on_a_tile():
    parts = [(*sample(3000, 3), GAUSSIAN), (EXTREMES, np.arange(10) % 4, LEARNED)]
    assert encode(parts, 7) == oracle.encode(parts, 7)


@pytest.mark.parametrize("table", [*LEARNED, freeze(np.full(TOTAL - 1, 1 / TOTAL), -32768), GAUSSIAN[0], GAUSSIAN[63]])
def test_the_largest_symbols(table):
    parts = [(EXTREMES, np.zeros(EXTREMES.size, dtype=np.uint8), (table,))]
    data = encode(parts)
    assert data == oracle.encode(parts)
    assert decode(data, parts)[0].tolist() == EXTREMES.tolist()


def test_the_known_stream():
    ids = np.array([40, 0, 20, 40, 63, 0])
    symbols = np.array([-3, 0, 1, 2, 700, 0], dtype=np.int32)
    assert encode([(symbols, ids, GAUSSIAN)], 0x12345678).hex() == "78ffff56a2b3746ec6"


def test_no_symbols_are_four_bytes():
    empty = (np.zeros(0, np.int32), np.zeros(0, np.int64), GAUSSIAN)
    assert encode([]) == encode([empty, empty]) == b"\0\0\0\1"
    assert decode(b"\0\0\0\1", [empty, (*empty[:2], ())])[0].size == 0


def test_check_and_consumption_are_compared():
    symbols, ids = sample(100, 4)
    data = encode([(symbols, ids, GAUSSIAN)], check=99)
    with pytest.raises(Corrupt):
        decode(data, [(symbols, ids, GAUSSIAN)], check=98)
    for fewer in (0, 99):
        with pytest.raises(Corrupt):
            decode(data, [(symbols, ids[:fewer], GAUSSIAN)], check=99)


def test_one_wrong_table_id_is_noticed():
    symbols, ids = sample(500, 5)
    ids = np.maximum(ids, 8)  # the tables of the narrowest scales equal one another
    data = encode([(symbols, ids, GAUSSIAN)])
    for place in range(0, 500, 25):
        wrong = ids.copy()
        wrong[place] = wrong[place] + 1 if wrong[place] < 63 else 62
        with pytest.raises(Corrupt):
            decode(data, [(symbols, wrong, GAUSSIAN)])


def test_every_truncation_and_flip_is_corrupt():
    symbols, ids = sample(300, 6)
    parts = [(symbols, ids, GAUSSIAN)]
    data = encode(parts)
    flipped = [data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :] for i in range(len(data))]
    for hostile in [data[:i] for i in range(len(data))] + flipped + [data + b"\0", data + b"\1", b"\1" + data]:
        with pytest.raises(Corrupt):
            decode(hostile, parts)


def finished(decoder, ids, tables):
    decoder.take(ids, tables)
    decoder.finish()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 3), max_size=60))
def test_any_bytes_decode_as_the_oracle_says_and_what_is_accepted_encodes_to_the_same_bytes(data, ids):
    tables = (GAUSSIAN[0], LEARNED[1], Table(0, np.array([1, TOTAL - 1])), LEARNED[2])
    ids = np.array(ids, dtype=np.int64)
    try:
        reference = oracle.Decoder(data)
        expected = reference.take(ids, tables)
    except oracle.MalformedError:
        with pytest.raises(Corrupt):
            Decoder(data).take(ids, tables)
        return
    decoder = Decoder(data)
    if reference.words or not 2**24 <= reference.state < 2**24 + 2**32:
        with pytest.raises(Corrupt):
            finished(decoder, ids, tables)
        return
    symbols = decoder.take(ids, tables)
    assert symbols.tolist() == expected
    decoder.finish(reference.state - 2**24)
    assert encode([(symbols, ids, tables)], reference.state - 2**24) == data


@pytest.mark.parametrize("ids", [np.full(10**7, 63), np.arange(10**6) % 64], ids=["one table", "all tables"])
def test_a_short_stream_for_many_symbols_ends_soon_where_they_are_asked_for(ids):
    start = time.thread_time()
    with pytest.raises(Corrupt, match="ends before its symbols do"):
        Decoder(b"\x07").take(ids, GAUSSIAN)
    assert time.thread_time() - start < 2


def test_symbols_that_cost_next_to_nothing_are_many_in_few_bytes():
    ids = np.zeros(10**6, np.int64)
    parts = [(np.zeros(ids.size, np.int32), ids, GAUSSIAN)]
    data = encode(parts)
    assert len(data) < 30
    decoder = Decoder(data)
    assert not decoder.take(ids, GAUSSIAN).any()
    decoder.finish()


@pytest.mark.parametrize(
    ("symbols", "ids"),
    [
        ([0], [64]),
        ([0], [-1]),
        ([0, 1], [0]),
        ([2**31], [0]),
        ([-(2**31) - 1], [0]),
        ([0.0], [0]),
        ([0], [0.0]),
        ([[0]], [[0]]),
    ],
)
def test_wrong_arguments_are_usage_errors(symbols, ids):
    with pytest.raises(UsageError):
        encode([(np.array(symbols), np.array(ids), GAUSSIAN)])


@pytest.mark.parametrize("check", [-1, 2**32])
def test_check_is_32_bits(check):
    with pytest.raises(UsageError):
        encode([], check)


@pytest.mark.parametrize("tables", [GAUSSIAN, LEARNED[:2]])
def test_ideal_bits_are_those_of_slots_and_escapes(tables):
    """Each symbol has its own, in the order in which the symbols stand."""
    ids = np.arange(3 * EXTREMES.size) % len(tables)
    symbols = np.tile(EXTREMES, 3)
    bits = ideal_bits((symbols, ids, tables))
    for number, (symbol, index) in enumerate(zip(symbols, ids, strict=True)):
        assert bits[number] / 8 == pytest.approx(ideal_bytes(np.array([symbol]), [index], tables))
