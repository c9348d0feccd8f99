import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from image.pictures import ALPHA, GREY, RGB, SRGB, photo_exif, png, saved
from regrain.errors import ImageError
from regrain.image import Metadata, Picture, read, upright


@pytest.mark.parametrize("colour", [RGB, GREY], ids=["rgb", "grey"])
def test_alpha_is_apart_and_dropped_when_opaque(colour):
    planes = np.concatenate([colour, ALPHA[..., None]], axis=2)
    picture = read(saved(Image.fromarray(planes), "PNG"))
    np.testing.assert_array_equal(picture.pixels, colour)
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    planes[..., -1] = 255
    assert read(saved(Image.fromarray(planes), "PNG")).alpha is None


def test_bits_become_black_and_white():
    bits = ALPHA > 128
    np.testing.assert_array_equal(read(saved(Image.fromarray(bits), "PNG")).pixels[..., 0], bits * 255)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bits_are_scaled_not_clipped(mode):
    values = np.arange(0, 65536, 97).reshape(26, 26)
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    image = Image.frombytes(mode, (26, 26), values.astype(dtype).tobytes())
    expected = np.rint(values / 257)
    np.testing.assert_array_equal(read(image).pixels[..., 0], expected)
    np.testing.assert_array_equal(read(saved(image, "TIFF")).pixels[..., 0], expected)
    np.testing.assert_array_equal(
        read(saved(Image.fromarray(values.astype(np.uint16)), "PNG")).pixels[..., 0], expected
    )


def test_a_tall_picture_is_converted_as_its_rows_are():
    values = np.random.default_rng(0).integers(0, 65536, (1000, 3, 3)).astype(np.uint16)
    np.testing.assert_array_equal(read(values).pixels, np.rint(values / 257))
    np.testing.assert_array_equal(read(values / 65535).pixels, np.rint(values / 257))


def test_16_bit_colour_keeps_its_high_bytes():
    rows = b"\0" + struct.pack(">6H", 0, 257 * 128, 65535, 257, 2 * 257, 3 * 257)
    np.testing.assert_array_equal(read(png(2, 1, 16, 2, rows)).pixels, [[[0, 128, 255], [1, 2, 3]]])


def test_small_integers_are_8_bit_and_wild_ones_an_error():
    np.testing.assert_array_equal(read(Image.fromarray(ALPHA.astype(np.int32))).pixels[..., 0], ALPHA)
    for wild in (-1, 65536):
        with pytest.raises(ImageError, match=f"{wild}.*allowed is 0 to 65535"):
            read(Image.fromarray(np.array([[0, wild]], np.int32)))


def test_floats_are_unit_or_byte_range():
    unit = np.array([[0, 0.5, 1]], np.float32)
    for source in (Image.fromarray(unit), unit, unit.astype(np.float64), saved(Image.fromarray(unit), "TIFF")):
        assert read(source).pixels[0, :, 0].tolist() == [0, 128, 255]
    assert read(np.array([[0, 1.4, 254.6]])).pixels[0, :, 0].tolist() == [0, 1, 255]
    assert read(np.array([[-0.001, 0.5, 1.0019]])).pixels[0, :, 0].tolist() == [0, 128, 255], "what rounds into it"
    assert read(np.array([[-0.4, 3, 255.4]])).pixels[0, :, 0].tolist() == [0, 3, 255]


@pytest.mark.parametrize("most", [1.003, 1.02, 1.998])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_float_array_between_both_ranges_is_an_error_that_says_what_to_do(most, dtype):
    values = np.array([[0, 0.5, most]], dtype)
    for source in (values, Image.fromarray(values.astype(np.float32))):
        with pytest.raises(ImageError, match=r"values go up to 1\..*clip them to \[0, 1\], or give them as uint8"):
            read(source)


def test_the_scale_of_a_float_file_is_not_guessed_and_clipping_is_said(caplog):
    for values, pixels in (
        ([0, 0.5, 1.02], [0, 128, 255]),
        ([-0.3, 0.1, 2], [0, 26, 255]),
        ([0, 0.001, 0.002], [0, 0, 1]),
    ):
        caplog.clear()
        data = saved(Image.fromarray(np.array([values], np.float32)), "TIFF")
        assert read(data).pixels[0, :, 0].tolist() == pixels
        assert ("outside 0 to 1 are clipped" in caplog.text) == (max(values) > 1)
    for values in ([0, 0.5, 254], [0, 0.5, np.nan], [-2, 0, 1]):
        with pytest.raises(ImageError, match=r"allowed is 0 to 1$"):
            read(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))


def test_a_dark_file_of_16_bits_stays_dark():
    dark = np.array([[0, 128, 200, 255]])
    pgm = b"P5 4 1 65535 " + dark.astype(">u2").tobytes()
    plain = b"P2 4 1 1000\n0 2 3 4\n"
    for source in (pgm, saved(Image.fromarray(dark.astype(np.int32)), "TIFF"), plain):
        with Image.open(io.BytesIO(source)) as opened:
            for picture in (read(source), read(opened)):
                assert picture.pixels[0, :, 0].tolist() == [0, 0, 1, 1] or picture.pixels[0, :, 0].tolist() == [
                    0,
                    1,
                    1,
                    1,
                ]


def test_12_bits_of_a_tiff_are_full_at_4095():
    data = bytearray(saved(Image.fromarray(np.zeros((1, 2), np.uint16)), "TIFF"))
    with Image.open(io.BytesIO(data)) as image:
        (start,) = image.tag_v2[273]
    directory = int.from_bytes(data[4:8], "little")
    for entry in range(directory + 2, directory + 2 + 12 * data[directory], 12):
        if data[entry : entry + 2] == (258).to_bytes(2, "little"):
            data[entry + 8] = 12
    data[start : start + 3] = b"\xff\xf8\x00"  # 4095 and 2048, the first in the high bits
    assert read(bytes(data)).pixels[0, :, 0].tolist() == [255, 128]


def test_16_bit_grey_with_alpha_is_grey():
    row = b"\0" + struct.pack(">4H", 257 * 7, 65535, 257 * 200, 257 * 3)
    picture = read(png(2, 1, 16, 4, row))
    assert (picture.pixels.tolist(), picture.alpha.tolist()) == ([[[7], [200]]], [[255, 3]])


def test_depth_that_is_not_kept_is_said_once_by_name(tmp_path, caplog):
    (tmp_path / "deep.png").write_bytes(png(1, 1, 16, 2, b"\0" + bytes(6)))
    (tmp_path / "grey.png").write_bytes(png(1, 1, 16, 0, b"\0" + bytes(2)))
    for name in ("deep.png", "grey.png"):
        caplog.clear()
        read(tmp_path / name)
        (line,) = caplog.messages
        assert line.startswith(f"{tmp_path / name}: its samples of ")
        assert line.endswith("are kept as 8 bits")


@pytest.mark.parametrize("wild", [np.nan, np.inf, -0.1, 256])
def test_floats_out_of_range_are_an_error(wild):
    with pytest.raises(ImageError, match="allowed is 0 to 255"):
        read(Image.fromarray(np.array([[0, wild]], np.float32)))


def test_palettes_become_colour_with_or_without_alpha():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert read(saved(image, "PNG")).pixels.tolist() == colours
    for key, alpha in ((1, [[255, 0, 255]]), (bytes([0, 128, 255]), [[0, 128, 255]])):
        picture = read(saved(image, "PNG", transparency=key))
        assert (picture.pixels.tolist(), picture.alpha.tolist()) == (colours, alpha)
    assert read(saved(image, "GIF", transparency=2)).alpha.tolist() == [[255, 255, 0]]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "alpha"),
    [
        (1, 0, b"\x40", (0,), [[0, 255]]),
        (2, 0, b"\x60", (2,), [[255, 0]]),
        (4, 0, b"\x5a", (10,), [[255, 0]]),
        (8, 0, b"\x05\x06", (5,), [[0, 255]]),
        (16, 0, b"\x01\x02\x01\x03", (0x0103,), [[255, 0]]),
        (8, 2, b"\1\2\3\1\2\4", (1, 2, 4), [[255, 0]]),
        (16, 2, b"\1\1\2\2\3\3\1\1\2\2\4\4", (0x0101, 0x0202, 0x0404), [[255, 0]]),
    ],
)
def test_a_colour_key_becomes_alpha_at_every_depth(depth, colour, row, key, alpha):
    picture = read(png(2, 1, depth, colour, b"\0" + row, (b"tRNS", struct.pack(f">{len(key)}H", *key))))
    assert picture.alpha.tolist() == alpha
    assert picture.grey == (colour == 0)


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "CMYK", "RGBX"])
def test_other_colour_spaces_come_back_as_rgb(mode):
    flat = np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 8, 3))
    picture = read(Image.fromarray(flat).convert(mode))
    assert np.abs(picture.pixels.astype(int) - flat).max() <= 3
    assert picture.alpha is None


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA"])
def test_unusual_alpha_modes_keep_alpha(mode):
    image = Image.new("RGBA" if mode != "La" else "LA", (2, 2), (60, 60, 60, 128) if mode != "La" else (60, 128))
    picture = read(image.convert(mode))
    assert (picture.alpha == 128).all()
    assert np.abs(picture.pixels.astype(int) - 60).max() <= 2


def test_cmyk_goes_through_its_profile_which_is_dropped(monkeypatch):
    image = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
    image.info["icc_profile"] = SRGB
    fallback = read(image)
    assert fallback.metadata.icc is None
    assert fallback.pixels[0, 0].tolist() == [255, 0, 0]
    monkeypatch.setattr(ImageCms, "profileToProfile", lambda *_, **__: Image.new("RGB", (2, 2), (1, 2, 3)))
    assert read(image).pixels[0, 0].tolist() == [1, 2, 3]


def test_ycck_jpeg_is_read_as_rgb():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(read(saved(image, "JPEG", quality=100)).pixels.astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_metadata_is_kept_to_the_byte_and_pixels_not_turned(format):
    exif, xmp = photo_exif(), b"<x:xmpmeta/>"
    options = {"icc_profile": SRGB, "exif": exif, "xmp": xmp}
    if format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    picture = read(saved(Image.fromarray(RGB), format, **options))
    assert picture.metadata == Metadata(SRGB, exif.removeprefix(b"Exif\0\0"), xmp)
    assert (picture.height, picture.width) == (6, 5)


def test_profiles_of_grey_stay_and_xmp_may_be_text():
    image = Image.fromarray(GREY[..., 0])
    image.info.update(icc_profile=SRGB, xmp="<x/>", exif=b"")
    assert read(image).metadata == Metadata(SRGB, None, b"<x/>")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_turned_tiff_is_read_as_pillow_shows_it(orientation, compression):
    exif = Image.Exif()
    exif.load(photo_exif(orientation))
    if compression is None:  # Pillow's compressing writer refuses folders of tags
        exif[0x8825] = {1: "N"}
    data = saved(Image.fromarray(RGB), "TIFF", exif=exif.tobytes(), compression=compression)
    with Image.open(io.BytesIO(data)) as image:
        before = dict(image.getexif())
        picture = read(image)
        assert before | dict(image.getexif()) == before
        assert len(before) - len(image.getexif()) <= 1, "Pillow takes the orientation that it applied"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        np.testing.assert_array_equal(picture.pixels, np.asarray(image))
    assert upright(picture).pixels.shape == picture.pixels.shape
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept[0x010F] == "maker"
    assert kept.get_ifd(0x8825) == ({1: "N"} if compression is None else {})


@pytest.mark.parametrize(
    "block",
    [
        b"\xff\xff\xff\xff\0\0\0\x08\0\x04\x01\x12\0\x03\0\0\0\x01\0\x06\0\0",
        b"MM\0*\0\0\0",
        b"MM\0+\0\x08\0\0" + bytes(30),
        b"nonsense",
    ],
)
def test_exif_that_is_none_is_left_out_with_a_line(block, caplog):
    image = Image.fromarray(RGB)
    image.info["exif"] = b"Exif\0\0" + block
    assert read(image).metadata.exif is None
    assert caplog.messages == ["picture: its EXIF cannot be read and is left out"]


def test_a_mark_before_exif_is_no_part_of_it_however_often_it_stands_there():
    image = Image.fromarray(RGB)
    image.info["exif"] = b"Exif\0\0" + photo_exif()
    assert read(image).metadata.exif == photo_exif()[6:]
    image.info["exif"] = b"Exif\0\0"
    assert read(image).metadata.exif is None


def test_tiff_tags_that_describe_the_photo_become_exif():
    picture = read(saved(Image.fromarray(RGB), "TIFF", exif=photo_exif(1), icc_profile=SRGB))
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[0x010F] == "maker"
    assert not set(exif) & {256, 257, 273, 274, 34675}
    assert picture.metadata.icc == SRGB


def test_reading_leaves_the_callers_exif_alone():
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "TIFF", exif=photo_exif(1), icc_profile=SRGB)))
    image.load()
    before = dict(image.getexif())
    first, second = read(image), read(image)
    assert dict(image.getexif()) == before
    assert first.metadata == second.metadata
    assert first.metadata.exif


@pytest.mark.parametrize("shape", [(6,), (6, 5, 2), (6, 5, 5), (0, 5, 3), (1, 6, 5, 3)])
def test_arrays_of_other_shapes_are_an_error(shape):
    with pytest.raises(ImageError, match="allowed is"):
        read(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("kind", [np.complex64, object, np.dtype("U1")])
def test_arrays_of_other_types_are_an_error(kind):
    with pytest.raises(ImageError, match="allowed are uint8"):
        read(np.zeros((2, 2), kind))


def test_arrays_are_read():
    assert read(np.array([[True, False]])).pixels.tolist() == [[[255], [0]]]
    assert read(np.array([[65535, 128, 129]], ">u2")).pixels.tolist() == [[[255], [0], [1]]]
    planes = np.concatenate([RGB, ALPHA[..., None]], axis=2)
    np.testing.assert_array_equal(read(planes).alpha, ALPHA)
    np.testing.assert_array_equal(read(planes).pixels, RGB)


def test_a_picture_holds_its_shapes():
    with pytest.raises(ImageError, match="pixels are"):
        Picture(RGB.astype(np.uint16))
    with pytest.raises(ImageError, match="alpha is"):
        Picture(RGB, ALPHA[:-1])
