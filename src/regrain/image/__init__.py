"""A picture file <-> 8-bit pixels, alpha and metadata; and pixels <-> the signed range that the networks see.

    picture   what a picture is here        reading, convert     whatever a caller calls a picture -> picture
    pixels    the signed range, edges       writing, formats     picture -> a file, and what each format can hold
    alpha     alpha <-> bytes, lossless     metadata, profiles   what a file says beside its pixels
    maps      masks, figures by place       foreground, quantisation     what is drawn on a screen <-> bytes

The only room, beside the Pillow plugin and the baselines, that knows Pillow.
"""

from regrain.image.alpha import decode_alpha, encode_alpha, fill_hidden
from regrain.image.foreground import Foreground, foreground_cells, paste_foreground
from regrain.image.formats import (
    check_format,
    format_of,
    is_picture_suffix,
    is_readable_suffix,
    select_metadata,
    upright,
)
from regrain.image.maps import draw_map, read_mask, shrink
from regrain.image.picture import Metadata, Picture
from regrain.image.pixels import dilate, pad_edge, to_bytes, to_signed
from regrain.image.reading import Picturelike, pillow_limited, read
from regrain.image.writing import to_file, write

__all__ = [
    "Foreground", "Metadata", "Picture", "Picturelike", "check_format", "decode_alpha", "dilate", "draw_map",
    "encode_alpha", "fill_hidden", "foreground_cells", "format_of", "is_picture_suffix", "is_readable_suffix",
    "pad_edge", "paste_foreground", "pillow_limited", "read", "read_mask", "select_metadata", "shrink", "to_bytes",
    "to_file", "to_signed", "upright", "write",
]  # fmt: skip
