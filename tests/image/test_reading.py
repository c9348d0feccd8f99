import io
import os
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from image.pictures import GREY, RGB, png, saved
from regrain.errors import ImageError, LimitError, RegrainError
from regrain.image import pillow_limited, read


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "TGA"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_lossless_formats_give_their_pixels(format, pixels, tmp_path):
    image = Image.fromarray(pixels.squeeze())
    (tmp_path / "a").write_bytes(saved(image, format))
    for source in (tmp_path / "a", str(tmp_path / "a"), saved(image, format), io.BytesIO(saved(image, format)), image):
        picture = read(source)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.alpha is None
        assert (picture.height, picture.width, picture.grey) == (6, 5, pixels is GREY)


def test_a_stream_is_read_from_where_it_stands():
    stream = io.BytesIO(b"before" + saved(Image.fromarray(RGB), "PNG"))
    stream.read(6)
    np.testing.assert_array_equal(read(stream).pixels, RGB)


def test_a_pipe_is_read(tmp_path):
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(saved(Image.fromarray(RGB), "PNG"))
    np.testing.assert_array_equal(read(f"/dev/fd/{reader}").pixels, RGB)
    os.close(reader)


def test_the_first_frame_of_an_animation_is_read(caplog):
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        data = saved(frames[0], format, save_all=True, append_images=frames[1:])
        caplog.clear()
        assert np.abs(read(data).pixels.astype(int) - 10).max() <= 3
        assert caplog.messages == ["picture: only the first of its frames or pages is kept"]
        with Image.open(io.BytesIO(data)) as opened:
            opened.seek(1)
            caplog.clear()
            assert np.abs(read(opened).pixels.astype(int) - 200).max() <= 3, "the frame that the caller chose"
            assert not caplog.messages


@pytest.mark.parametrize("max_pixels", [29, 1])
def test_the_size_is_checked_before_pixels_are_decoded(max_pixels, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for source in (saved(Image.fromarray(RGB), "PNG"), RGB):
        with pytest.raises(LimitError, match=f"30 pixels, allowed are {max_pixels}; .*--max-pixels"):
            read(source, max_pixels=max_pixels)


def test_settings_of_the_process_are_left_alone_and_heeded(monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    cut = saved(noise, "JPEG")[:-900]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    seen, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: [seen.append((_settings(), list(warnings.filters))), load(self)][1]
    )
    before = _settings(), list(warnings.filters)
    assert read(cut).pixels.shape == (64, 64, 3)
    assert all(settings == before for settings in seen)
    assert seen


def _settings():
    return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_large_picture_needs_no_limit_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    for format in ("PNG", "JPEG", "BMP", "GIF"):
        assert read(saved(Image.fromarray(RGB), format)).width == 5
    data = saved(Image.fromarray(RGB), "TIFF")
    with pytest.raises(LimitError, match="30 pixels, allowed are 14"):
        read(data)
    with pillow_limited(30):
        assert read(data, max_pixels=30).width == 5
    assert Image.MAX_IMAGE_PIXELS == 7


@pytest.mark.parametrize("side", [16_000, 60_000, 2**31 - 1])
def test_bombs_are_limit_errors_and_leave_pillow_as_it_was(side):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    with pytest.raises(LimitError, match="--max-pixels"):
        read(png(side, side, 8, 2, b""))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_a_bomb_inside_an_icon_is_a_limit_error():
    inner = png(30_000, 30_000, 8, 2, b"")
    icon = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(LimitError, match="--max-pixels"):
        read(icon)


def test_what_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "new\nline.png").write_text("not a picture")
    for path, reason in {
        "missing.png": "no such file",
        ".": "directory",
        "empty.png": "empty",
        "text.png": "not a picture",
        "new\nline.png": "not a picture",
        "text.png/x": "irectory",
        "nul\0.png": "null",
    }.items():
        with pytest.raises(ImageError, match=reason) as caught:
            read(tmp_path / path)
        assert "\n" not in str(caught.value)
    for source in (b"", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ImageError):
            read(source)


def test_a_program_is_not_run():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ImageError, match="program"):
        read(eps)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_cut_short_is_an_image_error(format):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    data = saved(Image.fromarray(noise), format)
    for cut in {1, 10, 30, len(data) // 3, len(data) // 2, len(data) * 3 // 4, len(data) * 9 // 10}:
        with pytest.raises(ImageError) as caught:
            read(data[:cut])
        assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bytes_give_a_picture_or_one_of_our_errors(data):
    format = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]))
    mutated = bytearray(saved(Image.fromarray(RGB), format))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    said = ""
    try:
        read(bytes(mutated), max_pixels=100_000)
    except RegrainError as error:
        said = str(error)
    assert "\n" not in said
