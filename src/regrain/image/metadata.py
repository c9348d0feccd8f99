"""What a Pillow image says beside its pixels -> metadata that readers understand.

Invariant: what is kept reads back: EXIF that is none, and a profile for other pixels, are left out with a line of the
log, so that they never stand in the way of writing the picture. Nothing here raises on bytes of any kind, and no object
of the caller is changed.
"""

import io
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD

from regrain.image.picture import EXIF_MARK, Metadata
from regrain.image.profiles import GREY, HLG, PQ, RGB, has_profile, profile_of_chunks, profile_of_points, space_of

log = logging.getLogger(__name__)

_OWN_SPACE = ("CMYK", "LAB")
_XMP_KEY = "XML:com.adobe.xmp"
_AVIF_START = 65536
_UNSAID = 2
_BYTE_ORDERS = (b"II*\0", b"MM\0*")
"""How EXIF begins (CIPA DC-008, section 4.5.2): as a classic TIFF, never as a BigTIFF."""
_TIFF_TAGS = frozenset({270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, IFD.Exif, IFD.GPSInfo})


@dataclass(frozen=True)
class Unread:
    """What Pillow leaves in the file when it loads the pixels: a TIFF's own tags, and the code points of the colours.

    `points` are primaries, transfer, matrix and range of H.273, a byte each; 0 and 1 for the latter two are RGB.
    """

    tags: bytes | None
    points: bytes | None

    @classmethod
    def of(cls, image: Image.Image) -> "Unread":
        """Read them of an image that is not loaded yet, since its file may be closed then."""
        file, points = getattr(image, "fp", None), None
        if file is not None and image.format in ("PNG", "AVIF"):
            place = file.tell()
            points = _png_points(file) if image.format == "PNG" else _avif_points(file, image.info)
            file.seek(place)
        return cls(_exif_of_tags(image), points)


def _exif_of_tags(image: Image.Image) -> bytes | None:
    """EXIF where Pillow has no block of it: a TIFF's own tags that describe the photo, an old PNG's text chunk.

    The orientation of a TIFF is not among them, since Pillow turns such pixels itself. Tags it cannot write are lost.
    """
    if image.format != "TIFF" and "Raw profile type exif" not in image.info:
        return None
    block = Image.Exif()
    with suppress(Exception):
        own = image.getexif()
        for tag in sorted(set(own) & _TIFF_TAGS if image.format == "TIFF" else set(own)):
            with suppress(Exception):
                single = Image.Exif()
                single[tag] = _value_of_tag(own, tag)
                single.tobytes()
                block[tag] = single[tag]
        return block.tobytes() if len(block) else None
    return None


def _value_of_tag(exif: Image.Exif, tag: int) -> Any:  # noqa: ANN401 - of whatever type the tag has
    """The value of a tag, a folder of tags as a dictionary."""
    if tag not in (IFD.Exif, IFD.GPSInfo):
        return exif[tag]
    folder = dict(exif.get_ifd(tag))
    if IFD.Interop in folder:
        folder[IFD.Interop] = dict(exif.get_ifd(IFD.Interop))
    return folder


def _png_points(file: BinaryIO) -> bytes | None:
    """The cICP chunk of a PNG, which stands before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4])
        if head[4:] == b"cICP" and length == 4:
            points = file.read(4)
            return points if len(points) == 4 else None
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _avif_points(file: BinaryIO, info: dict[Any, Any]) -> bytes | None:
    """The code points of an AVIF's colour box, unless it has a profile, or they are unsaid or sRGB's primaries."""
    file.seek(0)
    _, box, points = file.read(_AVIF_START).partition(b"colrnclx")
    if "icc_profile" in info or not box or len(points) < 4:
        return None
    colours = points[1], points[3]
    return None if _UNSAID in colours or colours in ((1, 1), (1, 6)) else bytes([*colours, 0, 1])


def metadata_of(image: Image.Image, unread: Unread, *, grey: bool, name: str) -> Metadata:
    """ICC (unless the pixels leave its colour space), EXIF and XMP of a loaded image; empty ones are None.

    `grey` says whether the pixels are. What cannot be kept is one line of the log that begins with `name`.
    """
    info = image.info
    xmp = info.get("xmp", info.get(_XMP_KEY))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    icc, block, xmp = (
        bytes(entry) if isinstance(entry, bytes | bytearray) else b""
        for entry in (info.get("icc_profile"), info.get("exif", unread.tags), xmp)
    )
    while block.startswith(EXIF_MARK):
        block = block.removeprefix(EXIF_MARK)
    if block and not (block.startswith(_BYTE_ORDERS) and _is_readable(block)):
        log.warning("%s: its EXIF cannot be read and is left out", name)
        block = b""
    profile = None if image.mode in _OWN_SPACE else _profile(image, icc, unread.points, grey=grey, name=name)
    return Metadata(profile or None, block or None, xmp or None)


def _is_readable(block: bytes) -> bool:
    """Whether Pillow reads a block of EXIF."""
    with suppress(Exception):
        exif = Image.Exif()
        exif.load(block)
        dict(exif)
        return True
    return False


def _profile(image: Image.Image, icc: bytes, points: bytes | None, *, grey: bool, name: str) -> bytes | None:
    """The profile of a loaded image, in the order of the PNG specification: cICP, iCCP, sRGB, then gAMA with cHRM."""
    if points is not None:
        if points[1] in (PQ, HLG):
            log.warning("%s: it is of high dynamic range (PQ or HLG), of which 8 bits and a profile are kept", name)
        if has_profile(points):
            return profile_of_points(points, grey=grey)
        log.warning("%s: the code points of its colours (cICP) are not known and are left out", name)
    if not icc:
        if "srgb" in image.info:
            return None
        return profile_of_chunks(image.info.get("gamma"), image.info.get("chromaticity"), grey=grey)
    space = space_of(icc)
    if space in (None, RGB) or (space == GREY and (grey or _without_colour(image))):
        return icc
    log.warning("%s: its colour profile is not for pixels of this kind and is left out", name)
    return None


def _without_colour(image: Image.Image) -> bool:
    """Whether red, green and blue of an image are equal everywhere."""
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())
