"""What each picture format can hold, in one table; a picture made to fit one, or to keep less of its metadata.

Invariant: what a format cannot hold is refused, or goes into the pixels (orientation, colours), or the log names it;
metadata that is left out changes neither the colours nor which way up the picture lies.
"""

import logging
import mimetypes
import os
import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from regrain.errors import OutputError, UsageError, reason
from regrain.image.picture import U8, Metadata, Picture
from regrain.image.profiles import GREY, space_of, to_srgb
from regrain.output import PathName

log = logging.getLogger(__name__)

_UNREADABLE = frozenset({"REGRAIN", "RGN", "EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Formats that Pillow knows and that are no pictures: our own, programs, films, data."""
_ALIASES = {"JPG": "JPEG", "TIF": "TIFF", "JP2": "JPEG2000"}
_UPRIGHT, _SHORT = 1, 3


@dataclass(frozen=True)
class Format:
    """What a format can hold, as Pillow writes it: EXIF, ICC and XMP (`metadata`), alpha, grey; pixels of one side."""

    suffix: str
    metadata: bool
    alpha: bool
    grey: bool
    side: int


FORMATS = {
    "PNG": Format("png", metadata=True, alpha=True, grey=True, side=2**31 - 1),
    "TIFF": Format("tif", metadata=True, alpha=True, grey=True, side=2**31 - 1),
    "WEBP": Format("webp", metadata=True, alpha=True, grey=False, side=16383),
    "AVIF": Format("avif", metadata=True, alpha=True, grey=False, side=65536),
    "JPEG": Format("jpg", metadata=True, alpha=False, grey=True, side=65500),
    "JPEG2000": Format("jp2", metadata=False, alpha=True, grey=True, side=2**31 - 1),
    "TGA": Format("tga", metadata=False, alpha=True, grey=True, side=65535),
    "QOI": Format("qoi", metadata=False, alpha=True, grey=False, side=2**31 - 1),
    "BMP": Format("bmp", metadata=False, alpha=False, grey=True, side=2**31 - 1),
    "PPM": Format("ppm", metadata=False, alpha=False, grey=True, side=2**31 - 1),
    "GIF": Format("gif", metadata=False, alpha=False, grey=True, side=65535),
    "PCX": Format("pcx", metadata=False, alpha=False, grey=True, side=65535),
    "SGI": Format("sgi", metadata=False, alpha=False, grey=True, side=65535),
}
"""By Pillow's name, those first that hold most. Others that Pillow writes change size or colours (ICO, SPIDER)."""


def format_of(target: PathName | BinaryIO, format: str | None = None) -> str:
    """Pillow's name of the format that `write` uses: `format`, else that of the suffix, else PNG.

    Raises `UsageError` when it is none of `FORMATS`, or when Pillow was built without it.

    >>> format_of("photo.jpg"), format_of("photo"), format_of("photo.jpg", "tif")
    ('JPEG', 'PNG', 'TIFF')
    """
    suffix = os.path.splitext(os.fspath(target))[1].lower() if isinstance(target, str | os.PathLike) else ""
    Image.init()
    asked = (format or "").lstrip(".").upper()
    name = _ALIASES.get(asked, asked) if asked else Image.registered_extensions().get(suffix, "") if suffix else "PNG"
    if name not in FORMATS or name not in Image.SAVE:
        suffixes = ", ".join(entry.suffix for name, entry in FORMATS.items() if name in Image.SAVE)
        raise UsageError(f"picture format is {format or suffix!r}; allowed are {suffixes}")
    return name


def is_picture_suffix(suffix: str) -> bool:
    """Whether a lower-case suffix such as ".jpg" is that of a format that Pillow reads or writes, or of any image.

    >>> is_picture_suffix(".jpg"), is_picture_suffix(".txt")
    (True, False)
    """
    Image.init()
    kind = mimetypes.guess_type(f"picture{suffix}")[0] or ""
    return suffix in Image.registered_extensions() or kind.startswith("image/")


def is_readable_suffix(suffix: str) -> bool:
    """Whether a lower-case suffix such as ".jpg" is that of pictures that `regrain.image.read` reads."""
    Image.init()
    format = Image.registered_extensions().get(suffix)
    return format in Image.OPEN and format not in _UNREADABLE


def check_format(format: str, width: int, height: int, *, alpha: bool, name: str) -> None:
    """Raise `OutputError`, of the file `name`, where a format cannot hold a picture of this size, or alpha.

    This needs no pixels, so that it can come before they are decoded.
    """
    holds = FORMATS[format]
    if alpha and not holds.alpha:
        others = ", ".join(entry.suffix for entry in FORMATS.values() if entry.alpha)
        raise OutputError(f"{name}: {format} cannot hold alpha, which the picture has; {others} can")
    if max(width, height) > holds.side:
        others = ", ".join(entry.suffix for entry in FORMATS.values() if entry.side >= max(width, height))
        size = f"{width} x {height}"
        raise OutputError(
            f"{name}: {format} holds {holds.side} pixels a side, the picture is {size}; {others} hold more"
        )


def upright(picture: Picture) -> Picture:
    """The picture with its pixels turned as EXIF or XMP says, without its EXIF, and without XMP that would turn it.

    >>> exif = Image.Exif()
    >>> exif[Base.Orientation] = 6
    >>> upright(Picture(np.zeros((2, 3, 1), np.uint8), None, Metadata(exif=exif.tobytes()[6:]))).width
    2
    """
    lie, metadata = orientation(picture.metadata), replace(picture.metadata, exif=None)
    if orientation(metadata) != _UPRIGHT:
        metadata = replace(metadata, xmp=None)
    alpha = None if picture.alpha is None else _turn(picture.alpha, lie)
    return Picture(_turn(picture.pixels, lie), alpha, metadata)


def orientation(metadata: Metadata) -> int:
    """How the pixels lie, 1 (upright) to 8, as Pillow reads it from EXIF or else from XMP; 1 where nothing says so."""
    page = Image.new("L", (1, 1))
    page.info.update(metadata.info())
    with suppress(Exception):
        value = page.getexif().get(Base.Orientation, _UPRIGHT)
        return value if value in range(1, 9) else _UPRIGHT
    return _UPRIGHT


def _turn(plane: U8, orientation: int) -> U8:
    """A plane (height, width, ...) turned upright from EXIF's orientation 1 to 8."""
    if orientation >= 5:
        plane = plane.swapaxes(0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(plane[:: -1 if rows else 1, :: -1 if columns else 1])


def as_held_by(picture: Picture, format: str, name: str) -> Picture:
    """The picture as a format holds it: upright and in sRGB where EXIF or ICC profile have no place, colour for grey.

    Raises `OutputError` as `check_format`. What cannot be kept is one line of the log that begins with `name`.
    """
    holds = FORMATS[format]
    check_format(format, picture.width, picture.height, alpha=picture.alpha is not None, name=name)
    if not holds.metadata:
        lost = [block.upper() for block in ("exif", "xmp") if getattr(picture.metadata, block)]
        if lost:
            log.warning("%s: %s has no place for %s, left out", name, format, " and ".join(lost))
        picture = upright(picture)
        picture = replace(picture, metadata=Metadata(icc=picture.metadata.icc))
    icc = picture.metadata.icc
    if icc and (not holds.metadata or (not holds.grey and space_of(icc) == GREY)):
        picture = in_srgb(picture, icc, name)
    if picture.grey and not holds.grey:
        picture = replace(picture, pixels=np.repeat(picture.pixels, 3, axis=2))
    return picture


def in_srgb(picture: Picture, icc: bytes, name: str) -> Picture:
    """The picture without its profile, its colours brought to sRGB unless the profile is of no use, which is logged."""
    pixels = picture.pixels
    try:
        pixels = to_srgb(pixels, icc)
    except Exception as error:
        log.warning("%s: the colour profile cannot be used and is left out: %s", name, reason(error))
    return replace(picture, pixels=pixels, metadata=replace(picture.metadata, icc=None))


def select_metadata(picture: Picture, keep: Collection[str], name: str = "picture") -> Picture:
    """The picture with the blocks of `keep` alone, its colours and its orientation as before.

    Source: the orientation is tag 0x0112 of EXIF (CIPA DC-008, section 4.6.5). Lines of the log begin with `name`.
    """
    before, lie = picture.metadata, orientation(picture.metadata)
    if before.icc and "icc" not in keep:
        picture = in_srgb(picture, before.icc, name)
    left_out = {block.name: None for block in fields(Metadata) if block.name not in keep}
    metadata = replace(picture.metadata, **left_out)
    if orientation(metadata) != lie:
        metadata = replace(metadata, exif=_orientation_alone(lie))
    return replace(picture, metadata=metadata)


def _orientation_alone(lie: int) -> bytes:
    """An EXIF block of one tag: a header, a folder of one entry, no further folder."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, Base.Orientation, _SHORT, 1, lie, 0, 0)
