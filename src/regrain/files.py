"""The bytes of a .rgn file, from a path, a URL, bytes or a stream.

Invariant: of a file or a stream no more is read than the pixels that the header names can take, and nothing after a
header that is none; what a URL names is read whole, by one request.
"""

import os
from typing import BinaryIO

from regrain import bitstream, places
from regrain.errors import BitstreamError, Corrupt, RegrainError, UsageError, reason

__all__ = ["read_file"]

_START = 64
_PIECE = 2**20
_OTHER_BYTES = 2**26
"""What a file may hold beside its pixels, of which none takes more than 4 bytes: profile, EXIF, XMP."""


def read_file(data: str | os.PathLike[str] | bytes | BinaryIO, max_pixels: int = 250_000_000) -> bytes:
    """All of `data`, or only its start where that shows that it cannot be decoded: a stream may have no end.

    Raises BitstreamError, with the name of the file, where it cannot be read or has more than `max_pixels` can take.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    try:
        if not isinstance(data, str | os.PathLike):
            return _read_stream(data, max_pixels)
        with places.open_binary(data) as file:
            return _read_stream(file, max_pixels)
    except RegrainError:
        raise
    except (OSError, TypeError, ValueError) as error:
        name = data if isinstance(data, str | os.PathLike) else f"the {type(data).__name__}"
        raise BitstreamError(f"cannot read {name}: {reason(error)}") from error


def _read_stream(file: BinaryIO, max_pixels: int) -> bytes:
    """As `read_file`; BitstreamError where the header does not pass, or more follows than its pixels can take."""
    data = file.read(_START) if hasattr(file, "read") else None
    if not isinstance(data, bytes):
        raise UsageError(f"data is a {type(file).__name__}; allowed are a path, bytes and a file opened in binary mode")
    while len(data) < _START and (piece := file.read(_START - len(data))):  # a pipe gives what it has at the moment
        data += piece
    if not data.startswith(bitstream.MAGIC):
        return data
    header = bitstream.read_header(data)
    most = 4 * min(header.width * header.height, max_pixels) + _OTHER_BYTES
    pieces, size = [data], len(data)
    while size <= most and (piece := file.read(_PIECE)):
        pieces.append(piece)
        size += len(piece)
    if size > most:
        raise Corrupt(f"it goes on after {most} bytes, more than {header.width} x {header.height} pixels can take")
    return b"".join(pieces)
