"""One tile's latents section: what encoder and decoder must do alike, written once.

z: integers (hyper, ceil(h/4), ceil(w/4)), table = channel, at the nearest quality anchor
y: integers (latent, h, w), table = scale index, coding step by coding step, each in C order
checksum = CRC-32 of tile index, z and y, as little-endian int32 in C order
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from regrain.conditional.config import HYPER_FACTOR
from regrain.conditional.grid import Region

__all__ = ["checksum", "hyper_size", "hyper_table_ids"]


def hyper_size(region: Region) -> tuple[int, int]:
    """Rows and columns of hyper-latents that cover a tile of latents."""
    return -(-region.height // HYPER_FACTOR), -(-region.width // HYPER_FACTOR)


def hyper_table_ids(channels: int, rows: int, columns: int) -> NDArray[np.int64]:
    """The table of every symbol of z, in C order: its channel."""
    return np.repeat(np.arange(channels), rows * columns)


def checksum(tile: int, z: NDArray[np.int32], y: NDArray[np.int32]) -> int:
    """CRC-32 that turns plausible but wrong symbols into an error."""
    crc = zlib.crc32(np.array([tile], dtype="<i4").tobytes())
    crc = zlib.crc32(np.ascontiguousarray(z, dtype="<i4").tobytes(), crc)
    return zlib.crc32(np.ascontiguousarray(y, dtype="<i4").tobytes(), crc)
