import errno
import io
import os

import numpy as np
import pytest
from PIL import Image

from image.pictures import ALPHA, RGB, SRGB, photo_exif
from regrain.errors import OutputError, UsageError
from regrain.image import Metadata, Picture, format_of, read, write


def exif_of(orientation):
    return photo_exif(orientation).removeprefix(b"Exif\0\0")


METADATA = Metadata(SRGB, exif_of(6), '<x:xmpmeta note="ü"/>'.encode())


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".TIFF"])
@pytest.mark.parametrize("alpha", [None, ALPHA], ids=["opaque", "alpha"])
@pytest.mark.parametrize("pixels", [RGB, RGB[..., :1]], ids=["rgb", "grey"])
def test_lossless_formats_give_back_what_was_written(suffix, alpha, pixels, tmp_path):
    write(Picture(pixels, alpha), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.pixels, np.broadcast_to(pixels, back.pixels.shape))
    assert back.grey or pixels is RGB or suffix == ".webp"
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif"])
def test_metadata_survives(suffix, tmp_path):
    write(Picture(RGB, None, METADATA), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}").metadata
    assert (back.icc, back.xmp) == (METADATA.icc, METADATA.xmp)
    exif = Image.Exif()
    exif.load(back.exif)
    assert dict(exif) == {0x0112: 6, 0x010F: "maker"}
    if suffix != ".avif":
        assert back == METADATA


def test_metadata_survives_in_tiff_but_for_the_orientation_that_pillow_applies(tmp_path):
    write(Picture(RGB, None, Metadata(SRGB, exif_of(1), METADATA.xmp)), tmp_path / "a.tif")
    back = read(tmp_path / "a.tif").metadata
    assert (back.icc, back.xmp) == (SRGB, METADATA.xmp)
    assert b"maker" in back.exif


def test_pictures_and_pillow_images_go_both_ways():
    for alpha in (None, ALPHA):
        for pixels in (RGB, RGB[..., :1]):
            picture = Picture(pixels, alpha, METADATA)
            image = picture.to_pillow()
            assert image.mode == ("L" if picture.grey else "RGB") + ("A" if alpha is not None else "")
            back = read(image)
            np.testing.assert_array_equal(back.pixels, pixels)
            assert back.metadata == METADATA


def test_streams_get_png_unless_told():
    for format, magic in ((None, b"\x89PNG"), ("jpg", b"\xff\xd8"), ("WEBP", b"RIFF")):
        stream = io.BytesIO()
        write(Picture(RGB), stream, format=format)
        assert stream.getvalue().startswith(magic)
    assert (format_of("a"), format_of("a.JPEG"), format_of("a.png", ".tif")) == ("PNG", "JPEG", "TIFF")


def test_options_reach_the_writer():
    small, large = io.BytesIO(), io.BytesIO()
    write(Picture(RGB), small, format="JPEG", quality=5)
    write(Picture(RGB), large, format="JPEG")
    assert len(small.getvalue()) < len(large.getvalue())


def test_unknown_formats_are_a_usage_error(tmp_path):
    for target, format in ((tmp_path / "a.xyz", None), (tmp_path / "a.png", "xyz"), (io.BytesIO(), "xyz")):
        with pytest.raises(UsageError, match=r"xyz.*allowed are"):
            write(Picture(RGB), target, format=format)
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"a\.jpg: JPEG cannot hold alpha"):
        write(Picture(RGB, ALPHA), tmp_path / "a.jpg")
    with pytest.raises(OutputError, match=r"^b: JPEG cannot hold alpha"):
        write(Picture(RGB, ALPHA), tmp_path / "a.jpg", name="b")
    with pytest.raises(OutputError, match=r"a\.jpg: cannot be written: "):
        write(Picture(RGB, None, METADATA), tmp_path / "a.jpg", quality="none")
    assert not list(tmp_path.iterdir())


def test_a_broken_stream_is_an_output_error():
    with open(os.devnull, "rb") as closed_to_writing, pytest.raises(OutputError, match="output: cannot be written"):
        write(Picture(RGB), closed_to_writing)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [True, False])
def test_failures_leave_what_was_there_and_nothing_else(failure, existing, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    if existing:
        path.write_bytes(b"before")

    def fail(*_):
        assert any(entry.suffix == ".tmp" for entry in tmp_path.iterdir())
        raise failure

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
        write(Picture(RGB), path)
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"before"] if existing else [])
