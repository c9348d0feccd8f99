import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regrain.errors import Corrupt
from regrain.image import decode_alpha, encode_alpha

SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 20))
MASK = (np.add.outer(np.arange(40) ** 2, np.arange(37) ** 2) < 900).astype(np.uint8) * 255
SLOPE = (np.add.outer(3 * np.arange(40), 5 * np.arange(37)) % 256).astype(np.uint8)
DOWN = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 37), np.uint8), 40, axis=0)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 37), np.uint8)


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@given(arrays(np.uint8, SHAPES) | arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 255])))
def test_any_alpha_comes_back(alpha):
    np.testing.assert_array_equal(decode_alpha(encode_alpha(alpha), *alpha.shape), alpha)


@pytest.mark.parametrize("alpha", [MASK, SLOPE, DOWN, DOWN.T, NOISE], ids=["mask", "slope", "down", "across", "noise"])
def test_each_kind_comes_back(alpha):
    assert encode_alpha(alpha)[0] > 0
    np.testing.assert_array_equal(decode_alpha(encode_alpha(alpha), *alpha.shape), alpha)


@pytest.mark.parametrize("kind", [2, 3, 4, 5])
def test_every_kind_is_a_difference_that_a_sum_undoes(kind):
    plane = SLOPE
    if kind in (3, 5):
        plane = np.diff(plane, axis=0, prepend=np.uint8(0))
    if kind in (4, 5):
        plane = np.diff(plane, axis=1, prepend=np.uint8(0))
    np.testing.assert_array_equal(decode_alpha(bytes([kind]) + deflated(plane.tobytes()), *SLOPE.shape), SLOPE)


def test_a_constant_costs_two_bytes_and_structure_little():
    assert encode_alpha(np.full((3000, 4000), 7, np.uint8)) == b"\x00\x07"
    assert len(encode_alpha(MASK)) < MASK.size // 8
    assert len(encode_alpha(SLOPE)) < SLOPE.size // 16
    assert len(encode_alpha(NOISE)) < NOISE.size + 20


@pytest.mark.parametrize("alpha", [MASK, SLOPE, np.zeros((40, 37), np.uint8)], ids=["mask", "slope", "constant"])
def test_every_truncation_and_addition_is_corrupt(alpha):
    data = encode_alpha(alpha)
    for cut in range(len(data)):
        with pytest.raises(Corrupt):
            decode_alpha(data[:cut], *alpha.shape)
    with pytest.raises(Corrupt):
        decode_alpha(data + b"\0", *alpha.shape)


@pytest.mark.parametrize("shape", [(40, 36), (41, 37), (1, 1), (4000, 4000)])
def test_a_wrong_size_is_corrupt(shape):
    with pytest.raises(Corrupt, match="unpack to exactly"):
        decode_alpha(encode_alpha(SLOPE), *shape)


def test_bits_after_the_last_pixel_must_be_zero():
    with pytest.raises(Corrupt, match="after the last pixel"):
        decode_alpha(b"\x01" + deflated(b"\xff\xff"), 3, 3)


@settings(max_examples=300)
@given(st.integers(0, 6), st.binary(max_size=60))
def test_hostile_bytes_give_an_alpha_or_corrupt(kind, body):
    with suppress(Corrupt):
        alpha = decode_alpha(bytes([kind]) + body, 5, 7)
        assert alpha.shape == (5, 7)
        assert alpha.dtype == np.uint8


def test_a_bomb_is_not_unpacked():
    bomb = b"\x02" + deflated(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            decode_alpha(bomb, 10, 10)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
