"""A picture file <-> 8-bit pixels, alpha and metadata; and pixels <-> the signed range that the networks see.

    picture   what a picture is here          reading, convert   any file or array -> picture
    pixels    the signed range, edges         writing            picture or bytes -> a file, whole or not at all
    alpha     alpha <-> bytes, lossless       formats            what each format can hold
    maps      masks, figures by place         sources            whatever a caller calls a picture -> what reading takes
    metadata, exif, profiles, selection

The only room, beside the Pillow plugin and the baselines, that knows Pillow.
"""

from regrain.image.alpha import decode_alpha, encode_alpha, fill_hidden
from regrain.image.formats import check_format, format_of, is_picture_suffix, is_readable_suffix, upright
from regrain.image.maps import draw_map, fit, read_mask
from regrain.image.picture import Metadata, Picture
from regrain.image.pixels import pad_edge, to_bytes, to_signed
from regrain.image.reading import pillow_limited, read
from regrain.image.selection import BLOCKS, STRIPPED, check_blocks, select_metadata
from regrain.image.sources import as_source
from regrain.image.writing import write, write_bytes

__all__ = [
    "BLOCKS",
    "STRIPPED",
    "Metadata",
    "Picture",
    "as_source",
    "check_blocks",
    "check_format",
    "decode_alpha",
    "draw_map",
    "encode_alpha",
    "fill_hidden",
    "fit",
    "format_of",
    "is_picture_suffix",
    "is_readable_suffix",
    "pad_edge",
    "pillow_limited",
    "read",
    "read_mask",
    "select_metadata",
    "to_bytes",
    "to_signed",
    "upright",
    "write",
    "write_bytes",
]
