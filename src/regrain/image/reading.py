"""A path, a binary file, bytes, a Pillow image, an array or a tensor -> picture.

Invariants: the size is known to be allowed before a pixel is decoded; whatever Pillow raises on a bad file is one line
of `ImageError` or `LimitError`; Pillow's settings, which are those of the whole process, are read and never changed.
"""

import io
import logging
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from regrain import places
from regrain.errors import ImageError, LimitError, RegrainError, UsageError, reason
from regrain.image.convert import from_array, from_pillow
from regrain.image.picture import Picture
from regrain.output import PathName, printable_path

__all__ = ["Picturelike", "pillow_limited", "read"]

log = logging.getLogger(__name__)

_PROGRAMS = ("EPS", "WMF")
_PREFIX = 16
"""Bytes that Pillow's plugins want to see of a file to know their own."""


class SupportsArray(Protocol):
    """An array of another library, such as torch's tensor."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - NumPy's protocol
        """The same as an array of NumPy's."""


Picturelike: TypeAlias = PathName | bytes | BinaryIO | Image.Image | npt.NDArray[Any] | SupportsArray
"""What `regrain.encode` takes."""


def read(source: object, *, max_pixels: int = 250_000_000) -> Picture:
    """Read a `Picturelike`: of an animation the first frame; pixels as stored, an EXIF orientation stays a tag.

    Arrays and tensors are (h, w) or (h, w, 1, 3 or 4) of uint8, uint16 (round(v / 257)), bool or float, or of any whole
    numbers from 0 to 255; their gradients and devices do not matter. Floats are in [0, 1] when none exceeds 1, in
    [0, 255] when one is 2 or more, and an error between; int32 is 16-bit when a value exceeds 255.
    Pillow images that come from no file (modes F and I) are as arrays are. The scale of a file is never guessed from
    its values: whole numbers of more than 8 bits are 16-bit (12-bit in a TIFF of that depth), floats are in [0, 1],
    and what leaves that by no more than 1 is clipped, with a line of the log.
    CMYK goes to sRGB through its own profile when it has one; ICC profiles of grey and RGB stay, and a PNG's gAMA, cHRM
    and cICP become one. A colour key becomes alpha; alpha that is 255 everywhere is dropped. A file that is a program
    (EPS, WMF) is never run. What cannot be kept (further frames, depth, EXIF that is none) is a line of the log.

    Pillow's limits hold beside `max_pixels`: PIL.Image.MAX_IMAGE_PIXELS where it decodes while it opens, and
    PIL.ImageFile.LOAD_TRUNCATED_IMAGES says whether a file that breaks off is read.
    Raises `ImageError` (missing, no picture, broken, cut short, out of range), `LimitError` (over `max_pixels`), or
    `UsageError` for what is no `Picturelike`.

    >>> import numpy
    >>> read(numpy.array([[0.0, 0.5, 1.0]])).pixels.tolist()
    [[[0], [128], [255]]]
    """
    if hasattr(source, "__array__") and not isinstance(source, Image.Image):
        source = _as_array(source)
    elif not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview | Image.Image) and (
        isinstance(source, io.TextIOBase) or not hasattr(source, "read")
    ):
        raise UsageError(
            f"image is a {type(source).__name__}; allowed are a path, the bytes of a file, a file opened in binary "
            "mode, a Pillow image, an array and a tensor"
        )
    name = printable_path(source) if isinstance(source, str | os.PathLike) else "picture"
    with _errors(name, max_pixels):
        if isinstance(source, np.ndarray):
            _check_size(source.shape[1::-1], max_pixels)
            return from_array(source)
        with _open(source) as image:
            _check_size(image.size, max_pixels)
            if image.format in _PROGRAMS:
                raise ImageError(f"{image.format} is a program that draws, not a picture")
            if image is not source and getattr(image, "is_animated", False):
                log.warning("%s: only the first of its frames or pages is kept", name)
            return from_pillow(image, name)


def _as_array(tensor: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - of any library
    """An array, or a tensor's values in main memory, its gradient left behind."""
    try:
        return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)
    except Exception as error:
        raise UsageError(
            f"image is a {type(tensor).__name__} that gives no array ({reason(error)}); allowed are values of uint8 "
            "or float32"
        ) from None


def _check_size(size: tuple[int, ...], max_pixels: int) -> None:
    """Raise `LimitError` when width times height is over `max_pixels`."""
    if len(size) == 2 and size[0] * size[1] > max_pixels:
        raise LimitError(_too_large(f"{size[0]} x {size[1]} = {size[0] * size[1]}", max_pixels))


def _too_large(pixels: str, max_pixels: int) -> str:
    return f"it has {pixels} pixels, allowed are {max_pixels}; raise this with --max-pixels"


@contextmanager
def _open(source: Any) -> Iterator[Image.Image]:  # noqa: ANN401 - a Picturelike that is no array
    """The source as a Pillow image whose pixels are not decoded yet; what was opened here is closed."""
    if isinstance(source, Image.Image):
        yield source
        return
    if isinstance(source, str | os.PathLike):
        file: BinaryIO = places.open_binary(source)
    else:
        file = io.BytesIO(source.read() if hasattr(source, "read") else source)
    with file:
        if not file.seekable():
            file = io.BytesIO(file.read())
        if not file.read(1):
            raise ImageError("the file is empty")
        file.seek(0)
        with _identify(file) as image:
            yield image


def _identify(file: BinaryIO) -> Image.Image:
    """The image of a file by the plugin of Pillow that knows it.

    `PIL.Image.open` would ask the size of PIL.Image.MAX_IMAGE_PIXELS, too, and warn of today's phones.
    """
    prefix = file.read(_PREFIX)
    for load in (Image.preinit, Image.init):
        load()
        for factory, accept in [Image.OPEN[format] for format in Image.ID]:
            answer = accept is None or accept(prefix)
            if answer and not isinstance(answer, str):
                file.seek(0)
                with suppress(SyntaxError, IndexError, TypeError, struct.error):
                    return factory(file, "")
    raise ImageError("not a picture of a known format")


@contextmanager
def pillow_limited(max_pixels: int) -> Iterator[None]:
    """Inside, Pillow's own limit is about `max_pixels`, and its warnings are silent: for a process that is ours alone.

    A library must not do this, since these settings are the whole process's. Pillow's limit is an error from twice its
    figure on; it is what protects where a format (ICO, TIFF, WebP) decodes before its size is known here.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        Image.MAX_IMAGE_PIXELS = max_pixels // 2 + 1
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


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
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise LimitError(f"{name}: {_too_large(figure[0] if figure else 'too many', limit)}") from None
    except MemoryError:
        raise LimitError(f"{name}: the memory does not suffice; lower --max-pixels to refuse such pictures") from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except Exception as error:
        raise ImageError(f"{name}: cannot be read: {reason(error)}") from None
