import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regrain.errors import Corrupt
from regrain.image import decode_alpha, encode_alpha, fill_hidden

PHOTO = np.random.default_rng(2).integers(0, 256, (40, 37, 3), np.uint8)
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


@given(arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 255])), st.sampled_from([1, 3]))
def test_what_is_seen_stays_and_the_hidden_lies_between(alpha, channels):
    pixels = PHOTO[: alpha.shape[0], : alpha.shape[1], :channels]
    filled, seen = fill_hidden(pixels, alpha), alpha > 0
    np.testing.assert_array_equal(filled[seen], pixels[seen])
    hidden = np.where(seen[..., None], pixels, np.uint8(77))
    np.testing.assert_array_equal(fill_hidden(hidden, alpha), filled)
    if seen.any():
        least, most = pixels[seen].min(axis=0).astype(int), pixels[seen].max(axis=0).astype(int)
        assert (filled >= least - 3).all()
        assert (filled <= most + 3).all()


def test_hidden_pixels_are_like_those_beside_them_and_smooth():
    pixels = np.repeat(np.linspace(50, 200, 64).astype(np.uint8)[:, None, None], 64, axis=1)
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, :20] = alpha[:, 44:] = 255
    filled = fill_hidden(np.where(alpha[..., None] == 0, np.uint8(0), pixels), alpha).astype(int)
    assert np.abs(filled - pixels).max() < 30
    assert np.abs(np.diff(filled, axis=0)).max() < 20


def test_without_anything_hidden_or_seen_there_is_nothing_to_fill():
    assert fill_hidden(PHOTO, np.ones((40, 37), np.uint8)) is PHOTO
    assert not fill_hidden(PHOTO, np.zeros((40, 37), np.uint8)).any()
