"""Latents without a palette <-> bytes: each number is predicted from what is known around it, and coded in steps.

    expected = mean of the neighbours + sum over the channels before: pull (value - mean of its neighbours)
    symbol = round((latent - expected) / step)        value = expected + step symbol
    table = offset + slope log2(floor + activity), a Gaussian one, whose deviation is geometric in its number

A closed loop: values that are known are those that the decoder has. Activity is how far the neighbours are from their
mean, and channels before from theirs; pulls, floors, slopes and offsets are coded.

    payload = step (pull)* (floor slope offset)* stream

Rounding favours 0 by 1/16 of a step: fewer bytes for the same error. Invariants: step 1 loses nothing; no value is off
by more than 9/16 of a step; the decoder's work is in whole numbers; a CRC-32 of all rides in the stream.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from regrain.entropy import coder
from regrain.entropy.coder import Decoder
from regrain.entropy.tables import LEVELS, gaussian_tables
from regrain.errors import BitstreamError, Corrupt
from regrain.palette.experts import BIT, log2
from regrain.palette.interlace import SPREAD_UNIT, Pass, passes, predict

__all__ = ["STEP_MOST", "pack", "unpack"]

STEP_MOST: Final = 64
PULL_UNIT: Final = 64
FLOOR_MOST: Final = 16
FLOORS: Final = (1, 2, 3, 4)
SLOPES: Final = (0, 2, 3, 4, 5, 6, 7)
"""What the encoder tries: log4 of a floor, and tables an octave of activity."""
SAMPLE: Final = 2**13
_Int = NDArray[np.int64]
_Coded = tuple[_Int, _Int]
"""The symbols of a channel in a pass, (n,), and the activity around each."""
_Ask = Callable[[Pass, int, _Int, _Int], _Int]


def pack(latents: NDArray[np.uint8], step: int, tile: int) -> bytes:
    """The payload of tile number `tile`: latents uint8 (H, W, C), C up to 64, in steps of 1 (lossless) to 64."""
    known, pulls, coded = _residuals(latents, step)
    channels = latents.shape[2]
    lines = [_fitted_line(coded[channel::channels]) for channel in range(channels)]
    head = bytes([step]) + pulls[np.tril_indices(channels, -1)].astype(np.int8).tobytes()
    head += b"".join(line.to_bytes() for line in lines)
    parts = [
        (symbols.astype(np.int32), line.ids(activity), gaussian_tables())
        for (symbols, activity), line in zip(coded, lines * (len(coded) // channels), strict=True)
    ]
    return head + coder.encode(parts, _check(head, known, latents.shape[:2], tile))


def unpack(payload: bytes, shape: tuple[int, int], channels: int, tile: int) -> NDArray[np.uint8]:
    """The latents uint8 (H, W, channels), `shape` being (H, W), of the payload of a tile.

    Raises Corrupt for whatever `pack` does not write for such a tile, in time and memory that `shape` bounds.
    """
    pairs = channels * (channels - 1) // 2
    end = 1 + pairs + 3 * channels
    try:
        if len(payload) < end or not 1 <= payload[0] <= STEP_MOST:
            raise Corrupt(f"it ends too early, or its step is not within 1 .. {STEP_MOST}")
        step, pulls = payload[0], np.zeros((channels, channels), np.int64)
        pulls[np.tril_indices(channels, -1)] = np.frombuffer(payload[1 : 1 + pairs], np.int8)
        lines = [_Line.from_bytes(payload[at : at + 3]) for at in range(1 + pairs, end, 3)]
        decoder = Decoder(payload[end:])

        def ask(_one: Pass, channel: int, expected: _Int, activity: _Int) -> _Int:
            symbols = decoder.take(lines[channel].ids(activity), gaussian_tables()).astype(np.int64)
            values = 16 * (expected + step * symbols)
            if (values < -9 * step).any() or (values > 16 * 255 + 9 * step).any():
                raise Corrupt("a value is out of range")
            return symbols

        known = _predict_in_order(shape, step, pulls, ask)
        decoder.finish(_check(payload[:end], known, shape, tile))
    except BitstreamError as error:
        raise Corrupt(f"levels: {error}") from None
    return known.reshape(*shape, channels).astype(np.uint8)


def _check(head: bytes, known: _Int, shape: tuple[int, ...], tile: int) -> int:
    """CRC-32 of the number and the sides of a tile, its head and values."""
    return zlib.crc32(np.array([tile, *shape], "<u8").tobytes() + head + known.astype(np.uint8).tobytes())


def _predict_in_order(shape: tuple[int, ...], step: int, pulls: _Int, ask: _Ask) -> _Int:
    """Values (H W, C) that the decoder has; `ask` for symbols pass by pass, channel by channel."""
    channels = len(pulls)
    known = np.zeros((math.prod(shape), channels), np.int64)
    for one in passes(shape[0], shape[1]):
        mean, spread = predict(known, one)
        moved = np.zeros_like(mean)
        for channel in range(channels):
            before = moved[:, :channel]
            pulled = (before @ pulls[channel, :channel] + PULL_UNIT // 2) // PULL_UNIT
            expected = np.clip(mean[:, channel] + pulled, 0, 255)
            activity = spread[:, channel] + spread.sum(1) // 4 + SPREAD_UNIT // 2 * np.abs(before).sum(1)
            known[one.places, channel] = np.clip(expected + step * ask(one, channel, expected, activity), 0, 255)
            moved[:, channel] = known[one.places, channel] - mean[:, channel]
    return known


def _residuals(latents: NDArray[np.uint8], step: int) -> tuple[_Int, _Int, list[_Coded]]:
    """Values (H W, C), pulls (C, C), and what is coded, pass by pass, channel by channel."""
    shape, channels = latents.shape[:2], latents.shape[2]
    values = latents.reshape(-1, channels).astype(np.int64)
    coded: list[_Coded] = []

    def ask(one: Pass, channel: int, expected: _Int, activity: _Int) -> _Int:
        off = values[one.places, channel] - expected
        symbols: _Int = np.sign(off) * ((16 * np.abs(off) + 7 * step) // (16 * step))
        coded.append((symbols, activity))
        return symbols

    pulls = _fitted_pulls(_predict_in_order(shape, step, np.zeros((channels, channels), np.int64), ask), shape)
    coded.clear()
    return _predict_in_order(shape, step, pulls, ask), pulls, coded


def _fitted_pulls(known: _Int, shape: tuple[int, ...]) -> _Int:
    """Pulls (C, C) in 1 / 64: least squares, reweighted for Cauchy residuals of a scale that grows with activity."""
    channels = known.shape[1]
    every = -(-len(known) // SAMPLE)
    around = [(known[one.places], *predict(known, one)) for one in passes(shape[0], shape[1])]
    moved = np.concatenate([values - mean for values, mean, _ in around])[::every].astype(np.float64)
    spread = np.concatenate([one for *_, one in around])[::every] / SPREAD_UNIT
    pulls = np.zeros((channels, channels), np.int64)
    for channel in range(1, channels):
        before, wanted, slopes = moved[:, :channel], moved[:, channel], np.zeros(channel)
        scale = 2 + spread[:, channel] + spread.sum(1) / 4 + np.abs(before).sum(1) / 2
        for _ in range(3):
            weighted = before.T / (np.square(scale) + 2 * np.square(wanted - before @ slopes))
            slopes = np.linalg.solve(weighted @ before + 1e-9 * np.eye(channel), weighted @ wanted)
        pulls[channel, :channel] = np.clip(np.rint(PULL_UNIT * slopes), -127, 127)
    return pulls


@dataclass(frozen=True)
class _Line:
    """Which table a symbol has: log4 of a floor, up to 16, tables an octave, up to 255, and an offset, int8."""

    floor: int
    slope: int
    offset: int

    def to_bytes(self) -> bytes:
        """Three bytes."""
        return bytes([self.floor, self.slope]) + self.offset.to_bytes(1, "little", signed=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse. Raises Corrupt for a floor over 4^16."""
        if data[0] > FLOOR_MOST:
            raise Corrupt(f"floor 4^{data[0]}: up to 4^{FLOOR_MOST} is allowed")
        return cls(data[0], data[1], int.from_bytes(data[2:], "little", signed=True))

    def ids(self, activity: _Int) -> _Int:
        """Tables (n,) for activity (n,)."""
        return np.clip(self.offset + self.rise(activity), 0, LEVELS - 1)

    def rise(self, activity: _Int) -> _Int:
        """Tables above the offset, before they end."""
        return self.slope * log2(activity + 4**self.floor) // BIT


def _fitted_line(coded: list[_Coded]) -> _Line:
    """The line, of those tried, under which the symbols of a channel take the fewest bits."""
    sizes = np.abs(np.concatenate([symbols for symbols, _ in coded]))
    activity = np.concatenate([around for _, around in coded])
    offsets, width = np.arange(-127, LEVELS), int(sizes.max()) + 1
    costs: list[tuple[float, _Line]] = []
    for line in (_Line(floor, slope, 0) for floor in FLOORS for slope in SLOPES):
        rise = line.rise(activity)
        counts = np.bincount(width * rise + sizes, minlength=width * int(rise.max() + 1)).reshape(-1, width)
        ids = np.clip(np.arange(len(counts))[:, None] + offsets, 0, LEVELS - 1)
        bits = np.take_along_axis(counts @ _bits()[:width], ids, 1).sum(0)
        costs.append((float(bits.min()), _Line(line.floor, line.slope, int(offsets[bits.argmin()]))))
    return min(costs, key=lambda one: one[0])[1]


@lru_cache(maxsize=1)
def _bits() -> NDArray[np.float64]:
    """What a symbol of size 0 .. 255 takes under each table, (256, 64); an escape, for one, a byte more."""
    bits = np.stack([np.full(256, table.bits()[-1] + 8) for table in gaussian_tables()], 1)
    for column, table in zip(bits.T, gaussian_tables(), strict=True):
        half = table.bits()[-table.first : -1][:256]
        column[: half.size] = half
    return bits
