import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from image.pictures import ALPHA, GREY, RGB, SRGB, photo_exif
from regrain.errors import OutputError, UsageError
from regrain.image import Metadata, Picture, check_format, format_of, read, upright, write
from regrain.image.formats import FORMATS
from regrain.image.profiles import profile_of_chunks, to_srgb

LINEAR = profile_of_chunks(1.0, None, grey=False)
GREY_LINEAR = profile_of_chunks(1.0, None, grey=True)
LOSSY = {"JPEG", "AVIF", "GIF"}


def lying(orientation):
    return Metadata(exif=photo_exif(orientation).removeprefix(b"Exif\0\0"))


def written(picture, format):
    file = io.BytesIO()
    write(picture, file, format=format)
    image = Image.open(file)
    image.load()
    return image


def as_shown(picture):
    return np.asarray(ImageOps.exif_transpose(picture.to_pillow()).convert("RGBA"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_shows(orientation):
    picture = Picture(RGB, ALPHA, lying(orientation))
    turned = upright(picture)
    assert turned.metadata == Metadata()
    np.testing.assert_array_equal(np.asarray(turned.to_pillow()), as_shown(picture))


def test_upright_heeds_xmp_once():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for metadata in (Metadata(xmp=xmp), Metadata(exif=lying(6).exif, xmp=xmp)):
        turned = upright(Picture(RGB, None, metadata))
        assert turned.pixels.shape == (5, 6, 3)
        np.testing.assert_array_equal(as_shown(turned), as_shown(Picture(RGB, None, metadata)))


@pytest.mark.parametrize("exif", [b"", b"nonsense", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0"])
def test_what_says_no_orientation_is_upright(exif):
    np.testing.assert_array_equal(upright(Picture(RGB, None, Metadata(exif=exif))).pixels, RGB)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("alpha", [None, ALPHA], ids=["opaque", "alpha"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_a_format_holds_what_its_row_says_or_refuses(format, alpha, pixels):
    picture = Picture(pixels, alpha, lying(6))
    if alpha is not None and not FORMATS[format].alpha:
        with pytest.raises(OutputError, match=f"output: {format} cannot hold alpha.*png, tif, webp"):
            write(picture, io.BytesIO(), format=format)
        return
    image = written(picture, format)
    assert "A" in image.mode or alpha is None
    shown, wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGBA")), as_shown(picture)
    assert shown.shape == wanted.shape
    if format not in LOSSY:
        np.testing.assert_array_equal(shown, wanted)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("grey", [False, True])
def test_colours_are_kept_by_a_profile_or_brought_to_srgb(format, grey):
    profile = GREY_LINEAR if grey else LINEAR
    flat = np.full((16, 16, 1 if grey else 3), 60, np.uint8)
    image = written(Picture(flat, None, Metadata(icc=profile)), format)
    kept = image.info.get("icc_profile")
    pixels = np.asarray(image.convert("L" if grey else "RGB")).reshape(16, 16, -1)
    seen = to_srgb(pixels, kept) if kept else pixels
    assert np.abs(seen.astype(int) - to_srgb(flat, profile)).max() <= 2
    assert kept in (None, profile)


def test_no_colour_is_written_under_a_grey_profile():
    for profile in (GREY_LINEAR, bytes(16) + b"GRAY" + bytes(16) + b"acsp" + bytes(160)):
        for format in FORMATS:
            image = written(Picture(GREY, None, Metadata(icc=profile)), format)
            assert image.mode != "RGB" or "icc_profile" not in image.info


def test_a_profile_of_srgb_changes_no_pixel():
    np.testing.assert_array_equal(np.asarray(written(Picture(RGB, None, Metadata(icc=SRGB)), "BMP")), RGB)


def test_what_has_no_place_is_named(caplog):
    write(Picture(RGB, None, Metadata(None, lying(1).exif, b"<x/>")), io.BytesIO(), format="PPM")
    assert caplog.messages == ["output: PPM has no place for EXIF and XMP, left out"]


@pytest.mark.parametrize(("format", "side"), [("WEBP", 16383), ("JPEG", 65500), ("GIF", 65535)])
def test_sizes_are_refused_before_there_are_pixels(format, side):
    check_format(format, side, 1, alpha=False, name="a")
    with pytest.raises(OutputError, match=rf"a: {format} holds {side} pixels a side.*1 x {side + 1}; png, tif"):
        check_format(format, 1, side + 1, alpha=False, name="a")


@pytest.mark.parametrize("suffix", ["ico", "icns", "spider", "pdf", "xyz"])
def test_formats_that_change_the_picture_are_none(suffix):
    with pytest.raises(UsageError, match="allowed are png, tif, webp"):
        format_of("a." + suffix)


def test_a_block_that_the_writer_refuses_is_left_out_and_the_picture_turned(caplog):
    exif = Image.Exif()
    exif[0x0112], exif[0x9286] = 6, b"w" * 70_000
    for metadata, name in ((Metadata(exif=exif.tobytes()[6:]), "EXIF"), (Metadata(xmp=b"w" * 70_000), "XMP")):
        caplog.clear()
        image = written(Picture(RGB, None, metadata), "JPEG")
        assert image.size == ((6, 5) if name == "EXIF" else (5, 6))
        assert len(caplog.messages) == 1
        assert f"JPEG cannot hold its {name}, which is left out" in caplog.text
    both = Picture(RGB, None, Metadata(SRGB, exif.tobytes()[6:], b"w" * 70_000))
    assert written(both, "JPEG").size == (6, 5)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("tail", [b"", b"\x01\x1a\0\x02\0\0\0\x04abc\0\0\0\0\0"])
def test_exif_that_is_stored_never_blocks_writing(format, tail):
    for head in (b"\xff\xff\xff\xff\0\0\0\x08\0\x01", b"MM\0*\0\0\0", b"MM\0*\0\0\0\x08\0\x01", b"MM\0+\0\x08\0\0"):
        file = io.BytesIO()
        write(Picture(RGB, None, Metadata(exif=head + tail)), file, format=format)
        assert file.getvalue()


def test_reading_back_what_was_written_changes_nothing(tmp_path):
    for format in ("PNG", "TIFF"):
        write(Picture(RGB, ALPHA, Metadata(icc=LINEAR)), tmp_path / "a", format=format)
        assert read(tmp_path / "a").metadata.icc == LINEAR
