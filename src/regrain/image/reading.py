"""A path, a binary file, bytes, a Pillow image or an array -> picture.

Invariants: the size is known to be allowed before a pixel is decoded; whatever Pillow raises on a bad file is one line
of `ImageError` or `LimitError`; Pillow's global settings are afterwards as they were before.
"""

import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from regrain.errors import ImageError, LimitError, RegrainError
from regrain.image.convert import from_array, from_pillow
from regrain.image.picture import PathName, Picture, one_line, shown

Source = PathName | bytes | BinaryIO | Image.Image | npt.NDArray[Any]

_PROGRAMS = ("EPS", "WMF")
_PILLOW_GLOBALS = threading.RLock()


def read(source: Source, *, max_pixels: int = 100_000_000) -> Picture:
    """Read a picture: of an animation the first frame; pixels as stored, an EXIF orientation stays a tag.

    Arrays are (h, w) or (h, w, 1, 3 or 4) of uint8, uint16 (round(v / 257)), bool or float; floats, Pillow's mode F
    too, are in [0, 1] when none exceeds 1, else in [0, 255]; Pillow's mode I is 16-bit when a value exceeds 255.
    CMYK goes to sRGB through its own profile when it has one; ICC profiles of grey and RGB stay. A colour key becomes
    alpha; alpha that is 255 everywhere is dropped. A file that is a program (EPS, WMF) is never run.

    Raises `ImageError` (missing, no picture, broken, cut short, out of range) or `LimitError` (over `max_pixels`).
    """
    name = shown(source) if isinstance(source, str | os.PathLike) else "picture"
    with _errors(name, max_pixels):
        if isinstance(source, np.ndarray):
            _check_size(source.shape[1::-1], max_pixels)
            return from_array(source)
        with _pillow_guard(max_pixels), _opened(source) as image:
            _check_size(image.size, max_pixels)
            if image.format in _PROGRAMS:
                raise ImageError(f"{image.format} is a program that draws, not a picture")
            return from_pillow(image)


def _check_size(size: tuple[int, ...], max_pixels: int) -> None:
    """Raise `LimitError` when width times height is over `max_pixels`."""
    if len(size) == 2 and size[0] * size[1] > max_pixels:
        raise LimitError(_too_large(f"{size[0]} x {size[1]} = {size[0] * size[1]}", max_pixels))


def _too_large(pixels: str, max_pixels: int) -> str:
    """What to say of a picture with so many pixels."""
    return f"it has {pixels} pixels, allowed are {max_pixels}; raise this with --max-pixels"


@contextmanager
def _opened(source: PathName | bytes | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """The source as a Pillow image whose pixels are not decoded yet; what was opened here is closed."""
    if isinstance(source, Image.Image):
        yield source
        return
    if isinstance(source, str | os.PathLike):
        file: BinaryIO = open(source, "rb")  # noqa: SIM115 - closed below
    else:
        file = io.BytesIO(source if isinstance(source, bytes | bytearray | memoryview) else source.read())
    with file:
        if file.seekable() and not file.read(1):
            raise ImageError("the file is empty")
        with Image.open(file) as image:
            yield image


@contextmanager
def _pillow_guard(max_pixels: int) -> Iterator[None]:
    """No warnings inside, and Pillow's own limit, an error from twice its figure on, put to about `max_pixels`.

    One thread at a time; all settings come back after. Some formats (ICO, WebP) decode while they are opened.
    """
    with _PILLOW_GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels // 2 + 1, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


@contextmanager
def _errors(name: str, max_pixels: int) -> Iterator[None]:
    """Whatever Pillow raises, as one line of ours with the file's name before it."""
    try:
        yield
    except RegrainError as error:
        raise type(error)(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture of a known format") from None
    except Image.DecompressionBombError as error:
        figure = re.search(r"\d+", str(error))
        raise LimitError(f"{name}: {_too_large(figure[0] if figure else 'too many', max_pixels)}") from None
    except MemoryError:
        raise LimitError(f"{name}: the memory does not suffice; lower --max-pixels to refuse such pictures") from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except Exception as error:
        raise ImageError(f"{name}: cannot be read: {one_line(error)}") from None
