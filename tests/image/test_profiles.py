import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from image.pictures import GREY, RGB, SRGB, chunk, png, saved
from regrain.image import read
from regrain.image.profiles import profile_of_chunks, profile_of_points, space_of, to_srgb

PLACES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3 = bytes([12, 13, 0, 1])
RAMP = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 1, 3))


def coloured(pixels, *chunks):
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 8, 2 if pixels.shape[2] == 3 else 0, rows, *chunks)


def gamma(value):
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def places(values):
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def through(profile, pixels):
    return to_srgb(np.ascontiguousarray(pixels), profile).astype(int)


def srgb_of(linear):
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.6])
def test_a_gamma_becomes_a_profile_that_gives_its_curve(exponent):
    wanted = srgb_of((np.arange(256) / 255) ** exponent)
    for pixels in (np.ascontiguousarray(RAMP), np.ascontiguousarray(RAMP[..., :1])):
        picture = read(coloured(pixels, gamma(1 / exponent)))
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert space_of(picture.metadata.icc) == (b"GRAY" if picture.grey else b"RGB ")
        assert np.abs(through(picture.metadata.icc, pixels)[:, 0, 0] - wanted).max() < 2


def test_primaries_become_those_of_the_profile():
    profile = profile_of_points(P3, grey=False)
    columns = [struct.unpack(">3i", tag[8:20]) for tag in (_tag(profile, name) for name in (b"rXYZ", b"gXYZ", b"bXYZ"))]
    # Display P3 at D50, as published with the profiles of the operating systems that use it
    wanted = [[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]]
    np.testing.assert_allclose(np.array(columns) / 65536, wanted, atol=2e-4)
    np.testing.assert_allclose(np.sum(columns, axis=0) / 65536, (0.9642, 1.0, 0.8249), atol=2e-4)
    assert np.abs(through(profile, RAMP) - RAMP).max() <= 1, "grey stays grey"
    assert through(profile, np.full((1, 1, 3), (128, 0, 0), np.uint8))[0, 0, 0] > 130


def _tag(profile, name):
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12):
        if profile[at : at + 4] == name:
            start, size = struct.unpack(">2I", profile[at + 4 : at + 12])
            return profile[start : start + size]
    return None


def test_srgb_needs_no_profile():
    assert read(coloured(RGB, gamma(0.45455), places(PLACES))).metadata.icc is None
    assert read(coloured(RGB, (b"sRGB", b"\0"), gamma(1.0))).metadata.icc is None
    assert read(coloured(RGB, (b"cICP", bytes([1, 13, 0, 1])), gamma(1.0))).metadata.icc is None
    assert profile_of_chunks(0.45455, ADOBE, grey=True) is None


def test_a_profile_goes_before_gamma_and_code_points_before_a_profile():
    data = saved(Image.fromarray(RGB), "PNG", icc_profile=SRGB)
    with_gamma, with_points = (data[:33] + chunk(*pair) + data[33:] for pair in (gamma(1.0), (b"cICP", P3)))
    assert read(with_gamma).metadata.icc == SRGB
    assert read(with_points).metadata.icc == profile_of_points(P3, grey=False)


@pytest.mark.parametrize("values", [(0.0,) * 8, (0.3, 0.0) * 4, (0.3, 0.3) * 4, (5.0, 0.1) * 4])
def test_senseless_numbers_make_no_profile(values):
    assert profile_of_chunks(None, values, grey=False) is None
    assert profile_of_chunks(0.0, None, grey=False) is None
    assert profile_of_chunks("1", "cHRM", grey=False) is None


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_named_and_keeps_its_code_points(transfer, caplog):
    points = bytes([9, transfer, 0, 1])
    picture = read(coloured(np.ascontiguousarray(RAMP), (b"cICP", points)))
    assert "high dynamic range" in caplog.text
    assert _tag(picture.metadata.icc, b"cicp")[8:] == points
    shown = through(picture.metadata.icc, RAMP)[:, 0, 0]
    assert (np.diff(shown) >= 0).all()
    # the white of a page, 203 cd/m2, is 58 % of PQ's signal and 75 % of HLG's (BT.2408, table 1)
    assert np.abs(np.argmax(shown >= 254) / 255 - {16: 0.58, 18: 0.75}[transfer]) < 0.01


def test_unknown_code_points_are_left_out_with_a_line(caplog):
    assert read(coloured(RGB, (b"cICP", bytes([77, 13, 0, 1])))).metadata.icc is None
    assert "not known" in caplog.text


@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_profiles_for_other_pixels_are_left_out(pixels, caplog):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert read(saved(Image.fromarray(pixels.squeeze()), "PNG", icc_profile=lab)).metadata.icc is None
    assert "not for pixels of this kind" in caplog.text


def test_a_grey_profile_makes_grey_of_colour_without_any_and_is_else_left_out():
    profile = profile_of_chunks(1.0, None, grey=True)
    stored = saved(Image.fromarray(np.repeat(GREY, 3, axis=2)), "WEBP", lossless=True, icc_profile=profile)
    assert (read(stored).grey, read(stored).metadata.icc) == (True, profile)
    stored = saved(Image.fromarray(RGB), "PNG", icc_profile=profile)
    assert (read(stored).grey, read(stored).metadata.icc) == (False, None)


def test_the_code_points_of_an_avif_are_heeded_unless_it_has_a_profile():
    data = saved(Image.fromarray(RGB), "AVIF")
    at = data.index(b"colrnclx") + 8
    assert read(data).metadata.icc is None
    wide = data[:at] + b"\0\x0c\0\x0d" + data[at + 4 :]
    assert read(wide).metadata.icc == profile_of_points(P3, grey=False)
    assert read(saved(Image.fromarray(RGB), "AVIF", icc_profile=SRGB)).metadata.icc == SRGB
