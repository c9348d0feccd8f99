"""The payload of a tile: levels, with a palette or without, and how far they are from the latents.

    level = round(127.5 + 255 latent / 8), 0 to 255        latent = 8 (level - 127.5) / 255
    payload = 1 gain error palette and indices (`indices`)    or    2 levels (`scalars`)

Latents of about N(0, 1) are kept to four deviations, as Stable Diffusion's are in unsigned 8 bit.

quantised = gain (latents + error eps), in latents of unit variance, is how the colours of a palette follow the
latents: they are means of what they stand for, and so vary less than that. Without a palette the step says the error
and the gain is 1. docs/FORMAT.md has every bit.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.errors import Corrupt
from regrain.palette import indices, scalars

__all__ = ["Channel", "Levels", "from_levels", "pack_levels", "pack_palette", "to_levels", "unpack"]

Levels = NDArray[np.uint8]
PALETTE: Final = 1
LEVELS: Final = 2
ERROR_UNIT, GAIN_UNIT = 16, 128
RANGE: Final = 8.0
LEVEL: Final = RANGE / 255
"""In latents of unit variance."""


def to_levels(latents: NDArray[np.float32]) -> Levels:
    """Latents float32 (C, h, w) -> uint8 (h, w, C); what is no number is 128."""
    levels = np.rint(latents * (255 / RANGE) + 127.5).clip(0, 255)
    whole: Levels = np.nan_to_num(levels, nan=128).astype(np.uint8)
    return whole.transpose(1, 2, 0)


def from_levels(levels: Levels) -> NDArray[np.float32]:
    """The inverse: uint8 (h, w, C) -> float32 (C, h, w)."""
    return (levels.transpose(2, 0, 1).astype(np.float32) - 127.5) * (RANGE / 255)


@dataclass(frozen=True)
class Channel:
    """quantised = gain (latents + error eps): gain > 0, error > 0, for latents of unit variance."""

    gain: float
    error: float

    @classmethod
    def between(cls, levels: Levels, quantised: Levels) -> "Channel":
        """By least squares, from levels (h, w, C) and the quantised ones, which are off by their rounding too."""
        z, q = ((values.astype(np.float64) - 255 / 2) * LEVEL for values in (levels, quantised))
        gain = max(float((z * q).sum() / np.square(z).sum()), 1 / GAIN_UNIT)
        left = np.square(q - gain * z).mean() + LEVEL**2 / 12
        return cls(gain, math.sqrt(left) / gain)

    def to_bytes(self) -> bytes:
        """Two bytes: the gain in 1 / 128, the error e as 2^(-e / 16)."""
        gain, error = GAIN_UNIT * self.gain, -ERROR_UNIT * math.log2(self.error)
        return bytes([min(max(round(gain), 1), 255), min(max(round(error), 0), 255)])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Channel":
        """The inverse. Raises Corrupt for a gain of 0."""
        if not data[0]:
            raise Corrupt("its gain is 0")
        return cls(data[0] / GAIN_UNIT, 2.0 ** (-data[1] / ERROR_UNIT))


def pack_palette(levels: Levels, palette: Levels, chosen: NDArray[np.uint8], tile: int) -> bytes:
    """The payload of levels (h, w, C) that were given colours of a palette (K, C), indices (h, w)."""
    head = bytes([PALETTE, *Channel.between(levels, palette[chosen]).to_bytes()])
    return head + indices.pack(palette, chosen, _tag(head, tile))


def pack_levels(levels: Levels, step: int, tile: int) -> bytes:
    """The payload of levels (h, w, C), each channel in steps of `step`, 1 to 64."""
    head = bytes([LEVELS])
    return head + scalars.pack(levels, step, _tag(head, tile))


def unpack(payload: bytes, shape: tuple[int, int], channels: int, tile: int) -> tuple[Levels, "Channel"]:
    """The levels (h, w, C) that a payload brings, and how they follow the latents.

    Raises Corrupt for whatever the two above do not write.
    """
    if len(payload) < 3 or payload[0] not in (PALETTE, LEVELS):
        raise Corrupt("it is empty, or of no known form")
    if payload[0] == LEVELS:
        levels = scalars.unpack(payload[1:], shape, channels, _tag(payload[:1], tile))
        return levels, Channel(1.0, LEVEL * math.sqrt((payload[1] ** 2 + 1) / 12))
    head, rest = payload[:3], payload[3:]
    palette, chosen = indices.unpack(rest, shape, channels, _tag(head, tile))
    return palette[chosen], Channel.from_bytes(head[1:])


def _tag(head: bytes, tile: int) -> int:
    """What stands for the tile's number in the check of the rest, 32 bits, so that the check covers the head too."""
    return zlib.crc32(tile.to_bytes(4, "little") + head)
