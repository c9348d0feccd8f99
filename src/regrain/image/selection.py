"""Which metadata goes along with a picture: what is left out changes neither its colours nor which way up it lies.

EXIF     where and when (GPS position, dates), with what, by whom; a picture that lies turned keeps that one tag
ICC      what the numbers of the pixels mean; without it the pixels are brought to sRGB
XMP      titles, ratings, a history of edits; GPS too
"""

import struct
from collections.abc import Collection
from dataclasses import fields, replace

from regrain.image.formats import in_srgb, orientation
from regrain.image.picture import Metadata, Picture

__all__ = ["select_metadata"]

_ORIENTATION, _SHORT = 0x0112, 3


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
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, lie, 0, 0)
