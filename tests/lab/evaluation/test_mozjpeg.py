"""mozjpeg: plain JPEG files that its trellis makes smaller, and libraries without it told apart."""

import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from regrain.errors import ImageError
from regrain_lab.evaluation import mozjpeg

needs_mozjpeg = pytest.mark.skipif(not mozjpeg.version(), reason=f"needs {mozjpeg.PACKAGE}")


def textured(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return (np.stack([x * x + 3 * y * x, x * y + 7 * y * y, x * x + y * y], axis=-1) // 97 % 256).astype(np.uint8)


@needs_mozjpeg
def test_files_are_progressive_jpeg_at_half_chroma():
    with Image.open(BytesIO(mozjpeg.encode(textured(40, 56), 60))) as file:
        assert file.format == "JPEG"
        assert file.size == (56, 40)
        assert file.info["progressive"]
        assert [part[1:3] for part in file.layer] == [(2, 2), (1, 1), (1, 1)]
        assert not {"exif", "icc_profile"} & file.info.keys()


@needs_mozjpeg
def test_the_trellis_saves_bytes():
    picture = textured(96, 96)
    assert len(mozjpeg.encode(picture, 50)) < 0.97 * len(mozjpeg.encode(picture, 50, trellis=False))


@needs_mozjpeg
@pytest.mark.parametrize("size", [(1, 1), (7, 500), (8, 9)])
def test_every_size_comes_back(size):
    with Image.open(BytesIO(mozjpeg.encode(textured(*size), 50))) as file:
        assert file.size == size[::-1]


@needs_mozjpeg
def test_a_picture_beyond_the_format_is_one_line():
    with pytest.raises(ImageError, match=r"^mozjpeg cannot hold a picture of 70000x1: [^\n]+$"):
        mozjpeg.encode(np.zeros((1, 70000, 3), np.uint8), 50)


@needs_mozjpeg
def test_the_version_is_named():
    assert mozjpeg.version().startswith("mozjpeg in libvips ")


@pytest.fixture
def fresh():
    mozjpeg.version.cache_clear()
    yield
    mozjpeg.version.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_without_pyvips_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    assert mozjpeg.version() == ""


@pytest.mark.usefixtures("fresh")
def test_a_libvips_that_ignores_the_trellis_is_not_mozjpeg(monkeypatch):
    monkeypatch.setattr(mozjpeg, "encode", lambda picture, quality, trellis: b"the same file")
    assert mozjpeg.version() == ""
