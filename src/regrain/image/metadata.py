"""What a Pillow image says beside its pixels -> metadata that readers understand.

Invariant: what is kept reads back: EXIF that is none, and a profile for other pixels, are left out with a line of the
log, so that they never stand in the way of writing the picture.
"""

import io
import logging
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from regrain.image import exif, profiles
from regrain.image.picture import EXIF_MARK, Metadata

log = logging.getLogger(__name__)

_OWN_SPACE = ("CMYK", "LAB")
_XMP_KEY = "XML:com.adobe.xmp"
_AVIF_START = 65536
_UNSAID = 2


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
        file, read = getattr(image, "fp", None), {"PNG": _png_points, "AVIF": _avif_points}.get(image.format or "")
        overruled = image.format == "AVIF" and "icc_profile" in image.info
        if file is None or read is None or overruled:
            return cls(exif.tags_of(image), None)
        place = file.tell()
        try:
            return cls(exif.tags_of(image), read(file))
        finally:
            file.seek(place)


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


def _avif_points(file: BinaryIO) -> bytes | None:
    """The code points of an AVIF's colour box, unless they are unsaid or mean sRGB's primaries under video's curve."""
    file.seek(0)
    _, box, points = file.read(_AVIF_START).partition(b"colrnclx")
    if not box or len(points) < 4 or _UNSAID in (points[1], points[3]) or (points[1], points[3]) in ((1, 1), (1, 6)):
        return None
    return bytes([points[1], points[3], 0, 1])


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
    kept = exif.readable_block(block) if block else None
    if block and not kept and block != EXIF_MARK:
        log.warning("%s: its EXIF cannot be read and is left out", name)
    profile = None if image.mode in _OWN_SPACE else _profile(image, icc, unread.points, grey=grey, name=name)
    return Metadata(profile or None, kept, xmp or None)


def _profile(image: Image.Image, icc: bytes, points: bytes | None, *, grey: bool, name: str) -> bytes | None:
    """The profile of a loaded image, in the order of the PNG specification: cICP, iCCP, sRGB, then gAMA with cHRM."""
    if points is not None:
        if points[1] in (profiles.PQ, profiles.HLG):
            log.warning("%s: it is of high dynamic range (PQ or HLG), of which 8 bits and a profile are kept", name)
        if profiles.has_profile(points):
            return profiles.profile_of_points(points, grey=grey)
        log.warning("%s: the code points of its colours (cICP) are not known and are left out", name)
    if not icc:
        named = None if "srgb" in image.info else (image.info.get("gamma"), image.info.get("chromaticity"))
        return named and profiles.profile_of_chunks(*named, grey=grey)
    space = profiles.space_of(icc)
    if space in (None, profiles.RGB) or (space == profiles.GREY and (grey or _without_colour(image))):
        return icc
    log.warning("%s: its colour profile is not for pixels of this kind and is left out", name)
    return None


def _without_colour(image: Image.Image) -> bool:
    """Whether red, green and blue of an image are equal everywhere."""
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())
