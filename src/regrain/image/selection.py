"""Which metadata goes along with a picture: what is left out changes neither its colours nor which way up it lies.

EXIF     where and when (GPS position, dates), with what, by whom; a picture that lies turned keeps that one tag
ICC      what the numbers of the pixels mean; without it the pixels are brought to sRGB
XMP      titles, ratings, a history of edits; GPS too
"""

import struct
from collections.abc import Collection
from dataclasses import replace

from regrain.errors import UsageError
from regrain.image import exif
from regrain.image.formats import in_srgb
from regrain.image.picture import Metadata, Picture

__all__ = ["BLOCKS", "STRIPPED", "check_blocks", "select_metadata"]

BLOCKS = ("exif", "icc", "xmp")
"""The names of all blocks, which are kept unless somebody says otherwise."""
STRIPPED = ("icc",)
"""What is kept of a picture that is stripped."""
_ORIENTATION, _SHORT = 0x0112, 3


def check_blocks(keep: Collection[str]) -> tuple[str, ...]:
    """The names of blocks in a fixed order; raises UsageError for another name.

    >>> check_blocks(["xmp", "icc"])
    ('icc', 'xmp')
    """
    if isinstance(keep, str) or (unknown := sorted(set(keep) - set(BLOCKS))):
        wrong = repr(keep) if isinstance(keep, str) else unknown[0]
        raise UsageError(f"keep is {wrong}; allowed are any of {', '.join(BLOCKS)}")
    return tuple(block for block in BLOCKS if block in keep)


def select_metadata(picture: Picture, keep: Collection[str], name: str = "picture") -> Picture:
    """The picture with the blocks of `keep` alone, its colours and its orientation as before.

    Source: the orientation is tag 0x0112 of EXIF (CIPA DC-008, section 4.6.5). Lines of the log begin with `name`.
    """
    before, lie = picture.metadata, exif.orientation(picture.metadata)
    if before.icc and "icc" not in keep:
        picture = in_srgb(picture, before.icc, name)
    kept = {block: getattr(picture.metadata, block) if block in keep else None for block in BLOCKS}
    metadata = Metadata(**kept)
    if exif.orientation(metadata) != lie:
        metadata = replace(metadata, exif=_orientation_alone(lie))
    return replace(picture, metadata=metadata)


def _orientation_alone(lie: int) -> bytes:
    """An EXIF block of one tag: a header, a folder of one entry, no further folder."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, lie, 0, 0)
