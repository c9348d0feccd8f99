"""A picture file <-> 8-bit pixels, alpha and metadata; and pixels <-> the signed range that the networks see.

    picture   what a picture is here          reading, convert   any file or array -> picture
    pixels    the signed range, edges         writing            picture or bytes -> a file, whole or not at all
    alpha     alpha <-> bytes, lossless       sources            whatever a caller calls a picture -> what reading takes

The only room, beside the Pillow plugin and the baselines, that knows Pillow.
"""

from regrain.image.alpha import decode_alpha, encode_alpha
from regrain.image.picture import Metadata, Picture
from regrain.image.pixels import pad_edge, to_bytes, to_signed
from regrain.image.reading import read
from regrain.image.sources import as_source
from regrain.image.writing import format_of, write, write_bytes

__all__ = [
    "Metadata",
    "Picture",
    "as_source",
    "decode_alpha",
    "encode_alpha",
    "format_of",
    "pad_edge",
    "read",
    "to_bytes",
    "to_signed",
    "write",
    "write_bytes",
]
