"""One tile's symbols and the tables that code them: what encoder and decoder must do alike, done once.

z: integers (hyper, ceil(h/4), ceil(w/4)), table = channel, at the nearest quality anchor
y: integers (latent, h, w), table = scale index, pass by pass, each in C order
check = CRC-32 of tile index, z and y, as little-endian int32 in C order
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regrain.conditional.grid import Region
from regrain.conditional.passes import Pass
from regrain.entropy.coder import Part
from regrain.entropy.tables import Table, gaussian_tables

__all__ = ["HYPER_FACTOR", "check", "hyper_ids", "hyper_size", "parts"]

HYPER_FACTOR = 4
"""Latents to a hyper-latent, each way."""


def hyper_size(region: Region) -> tuple[int, int]:
    """Rows and columns of hyper-latents that cover a tile of latents."""
    return -(-region.height // HYPER_FACTOR), -(-region.width // HYPER_FACTOR)


def hyper_ids(channels: int, rows: int, columns: int) -> NDArray[np.int64]:
    """The table id of every z symbol, in C order: its channel."""
    return np.repeat(np.arange(channels), rows * columns)


def parts(
    passes: Sequence[Pass],
    hyper_tables: Sequence[Table],
    z: NDArray[np.int32],
    y: NDArray[np.int32],
    ids: NDArray[np.int32],
) -> list[Part]:
    """What the coder is given of a tile, in order: z, then y pass by pass. `ids` are the scale indices, shaped as y."""
    places = [(one.channels, one.places(*y.shape[1:])) for one in passes]
    later = ((y[place].reshape(-1), ids[place].reshape(-1), gaussian_tables()) for place in places)
    return [(z.reshape(-1), hyper_ids(*z.shape), hyper_tables), *later]


def check(tile: int, z: NDArray[np.int32], y: NDArray[np.int32]) -> int:
    """CRC-32 that turns plausible but wrong symbols into an error; y in C order, (any shape)."""
    crc = zlib.crc32(np.array([tile], dtype="<i4").tobytes())
    crc = zlib.crc32(np.ascontiguousarray(z, dtype="<i4").tobytes(), crc)
    return zlib.crc32(np.ascontiguousarray(y, dtype="<i4").tobytes(), crc)
