import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.errors import UsageError
from regrain.image import pad_edge, to_bytes, to_signed

EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_byte_survives_the_signed_range(channels):
    pixels = np.repeat(EVERY_BYTE, channels, axis=2)
    signed = to_signed(pixels)
    assert signed.shape == (3, 16, 16)
    assert signed.dtype == np.float32
    assert (signed.min(), signed.max()) == (-1, 1)
    np.testing.assert_array_equal(to_bytes(signed, grey=channels == 1), pixels)


def test_channels_keep_their_order():
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    assert to_signed(pixels)[0, 0, 0] == -1
    assert to_signed(pixels)[2, 0, 0] == 1


def test_grey_is_the_mean_of_the_channels():
    x = to_signed(np.array([[[10, 20, 60]]], np.uint8))
    assert to_bytes(x, grey=True).tolist() == [[[30]]]


def test_rounding_is_half_to_even_and_the_rest_is_clipped():
    x = np.array([0.5, 1.5, 2.5, -40, 300], np.float32) / np.float32(127.5) - np.float32(1)
    halves = (x + np.float32(1)) * np.float32(127.5)
    expected = np.rint(halves).clip(0, 255).astype(np.uint8)
    assert to_bytes(np.stack([x[None]] * 3), grey=False)[0, :, 0].tolist() == expected.tolist()
    assert to_bytes(np.zeros((3, 1, 1), np.float32), grey=False)[0, 0, 0] == 128  # 127.5


def test_nan_and_infinity_become_bytes():
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert to_bytes(np.stack([x[None]] * 3), grey=False)[0, :, 0].tolist() == [128, 255, 0]
    assert to_bytes(np.stack([x[None]] * 3), grey=True)[0, :, 0].tolist() == [128, 255, 0]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9))
def test_pad_edge_repeats_the_last_row_and_column(height, width, multiple):
    x = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    padded = pad_edge(x, multiple)
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert padded.shape[1] - height < multiple > padded.shape[2] - width
    rows = np.minimum(np.arange(padded.shape[1]), height - 1)
    columns = np.minimum(np.arange(padded.shape[2]), width - 1)
    np.testing.assert_array_equal(padded, x[:, rows][:, :, columns])


def test_pad_edge_refuses_a_multiple_below_one():
    with pytest.raises(UsageError):
        pad_edge(np.zeros((1, 1, 1)), 0)
