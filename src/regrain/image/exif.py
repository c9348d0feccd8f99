"""EXIF blocks: which of them can be read back, which way up a picture lies, and what a TIFF's own tags say.

Invariant: nothing here raises on bytes of any kind, and no object of the caller is changed.
"""

from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from regrain.image.picture import EXIF_MARK, Metadata

UPRIGHT = 1
_BYTE_ORDERS = (b"II*\0", b"MM\0*")
_TIFF_TAGS = frozenset({270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, IFD.Exif, IFD.GPSInfo})


def readable_block(block: bytes) -> bytes | None:
    """The block without the marks before it, or None where it is none that readers of EXIF take.

    A BigTIFF is none of them, since EXIF (CIPA DC-008, section 4.5.2) knows two byte orders of the classic form only.
    """
    while block.startswith(EXIF_MARK):
        block = block.removeprefix(EXIF_MARK)
    if not block.startswith(_BYTE_ORDERS):
        return None
    try:
        exif = Image.Exif()
        exif.load(block)
        dict(exif)
    except Exception:
        return None
    return block


def orientation(metadata: Metadata) -> int:
    """How the pixels lie, 1 (upright) to 8, as Pillow reads it from EXIF or else from XMP; 1 where nothing says so."""
    page = Image.new("L", (1, 1))
    page.info.update(metadata.info())
    try:
        value = page.getexif().get(Base.Orientation, UPRIGHT)
    except Exception:
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def tags_of(image: Image.Image) -> bytes | None:
    """EXIF where Pillow has no block of it: a TIFF's own tags that describe the photo, an old PNG's text chunk.

    The orientation of a TIFF is not among them, since Pillow turns such pixels itself. Tags it cannot write are lost.
    This must come before the pixels are loaded, after which Pillow may have closed the file.
    """
    if image.format != "TIFF" and "Raw profile type exif" not in image.info:
        return None
    try:
        own, kept = image.getexif(), Image.Exif()
        for tag in sorted(set(own) & _TIFF_TAGS if image.format == "TIFF" else set(own)):
            _copy(own, kept, tag)
        return kept.tobytes() if len(kept) else None
    except Exception:
        return None


def _copy(source: Image.Exif, target: Image.Exif, tag: int) -> None:
    """Copy one tag, a folder of tags as a whole, unless Pillow cannot write it."""
    try:
        value: Any = source[tag]
        if tag in (IFD.Exif, IFD.GPSInfo):
            value = dict(source.get_ifd(tag))
            if IFD.Interop in value:
                value[IFD.Interop] = dict(source.get_ifd(IFD.Interop))
        alone = Image.Exif()
        alone[tag] = value
        alone.tobytes()
    except Exception:
        return
    target[tag] = value
