"""A palette and a picture of indices into it <-> bytes.

    payload = 1 (colours step (low last)*) (T reach sharpness*) stream    or    0 colours palette indices crc

An index is a walk down a tree over the sorted palette: is it in the upper half? in the upper half of that? ... Each
decision has the odds that `experts` give, and is coded under the frozen table nearest to them; the likelier answer is
symbol 0. All positions of a pass of `interlace` take a step at once.
Invariants: what comes back is what was packed; anything else is Corrupt, as a CRC-32 of all of it rides in the stream.
"""

import math
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.entropy import coder
from regrain.entropy.coder import Decoder, Part
from regrain.entropy.tables import PRECISION, Table
from regrain.errors import BitstreamError, Corrupt
from regrain.palette import colours, experts
from regrain.palette.experts import BIT, Experts, log2
from regrain.palette.interlace import passes

__all__ = ["pack", "pack_stored", "unpack"]

STORED, CODED = 0, 1
ODDS_STEP: Final = BIT // 4
TABLES: Final = 49
"""Odds of a decision: 1 to 2^12, in steps of 2^(1/4)."""
_Bytes = NDArray[np.uint8]
_Ints = NDArray[np.int64]
_Answer = Callable[[_Ints, _Ints, _Ints], NDArray[np.bool_]]


def pack(palette: _Bytes, indices: _Bytes, tile: int) -> bytes:
    """The payload of tile number `tile`: palette uint8 (K, C), sorted and distinct, and indices uint8 (H, W) below K.

    K is 1 to 256, C 1 to 64. Both are stored as they are where that is shorter.
    """
    box, parts = colours.parts(palette)
    model = experts.fit(palette, indices)
    head = bytes([CODED]) + box + model.to_bytes()
    parts += _index_parts(model, palette, indices)
    coded = head + coder.encode(parts, _check(head, palette, indices, tile))
    return min(coded, pack_stored(palette, indices, tile), key=len)


def pack_stored(palette: _Bytes, indices: _Bytes, tile: int) -> bytes:
    """The payload that leaves palette and indices as they are."""
    plain = bytes([STORED, len(palette) - 1]) + palette.tobytes() + indices.tobytes()
    return plain + _check(plain, palette, indices, tile).to_bytes(4, "little")


def unpack(payload: bytes, shape: tuple[int, int], channels: int, tile: int) -> tuple[_Bytes, _Bytes]:
    """The palette uint8 (K, channels) and the indices uint8, of `shape`, of the payload of a tile.

    Raises Corrupt for whatever `pack` does not write for such a tile, in time and memory that `shape` bounds.
    """
    try:
        if payload[:1] == bytes([STORED]):
            return _unpack_stored(payload, shape, channels, tile)
        middle = 3 + 2 * channels
        end = middle + Experts.size(channels)
        if payload[:1] != bytes([CODED]) or len(payload) < end:
            raise Corrupt("it is of an unknown form or ends too early")
        decoder = Decoder(payload[end:])
        palette = colours.take(payload[1:middle], decoder)
        indices = _take_indices(Experts.from_bytes(payload[middle:end], channels), palette, shape, decoder)
        decoder.finish(_check(payload[:end], palette, indices, tile))
        return palette, indices
    except BitstreamError as error:
        raise Corrupt(f"palette: {error}") from None


def _check(head: bytes, palette: _Bytes, indices: _Bytes, tile: int) -> int:
    """CRC-32 of the number and the sides of a tile, its head, palette and indices."""
    sides = np.array([tile, *indices.shape], "<u8").tobytes()
    return zlib.crc32(sides + head + palette.tobytes() + indices.tobytes())


def _unpack_stored(payload: bytes, shape: tuple[int, int], channels: int, tile: int) -> tuple[_Bytes, _Bytes]:
    count, size = payload[1] + 1 if len(payload) > 1 else 0, math.prod(shape)
    if not count or len(payload) != 2 + count * channels + size + 4:
        raise Corrupt("it is not as long as its palette and indices")
    values = np.frombuffer(payload[2:-4], np.uint8)
    palette, indices = values[:-size].reshape(count, channels).copy(), values[-size:].reshape(shape).copy()
    if _check(payload[:-4], palette, indices, tile) != int.from_bytes(payload[-4:], "little"):
        raise Corrupt("it fails its check")
    if not np.array_equal(palette, np.unique(palette, axis=0)) or indices.max() >= count:
        raise Corrupt(f"{count} colours, sorted and distinct, and indices below that are allowed")
    return palette, indices


def _index_parts(model: Experts, palette: _Bytes, indices: _Bytes) -> list[Part]:
    known = np.append(indices.reshape(-1), len(palette)).astype(np.int64)
    costs, parts = model.costs(palette), list[Part]()

    def telling(true: _Ints) -> _Answer:
        def answer(live: _Ints, middle: _Ints, odds: _Ints) -> NDArray[np.bool_]:
            upper = true[live] >= middle
            parts.append(((upper != (odds > 0)).astype(np.int32), _table_ids(odds), _decisions()))
            return upper

        return answer

    for one in passes(*indices.shape):
        _descend(model.weights(costs, known, one), telling(known[one.places]))
    return parts


def _take_indices(model: Experts, palette: _Bytes, shape: tuple[int, int], decoder: Decoder) -> _Bytes:
    """The mirror of `_index_parts`."""
    known = np.full(math.prod(shape) + 1, len(palette))
    costs = model.costs(palette)

    def answer(_live: _Ints, _middle: _Ints, odds: _Ints) -> NDArray[np.bool_]:
        symbols = decoder.take(_table_ids(odds), _decisions())
        if (symbols >> 1).any():
            raise Corrupt("a decision is neither 0 nor 1")
        upper: NDArray[np.bool_] = (symbols == 1) != (odds > 0)
        return upper

    for one in passes(*shape):
        known[one.places] = _descend(model.weights(costs, known, one), answer)
    return known[:-1].reshape(shape).astype(np.uint8)


def _descend(weights: NDArray[np.int32], answer: _Answer) -> _Ints:
    """The leaf (n,) that is reached in each row of weights (n, K).

    `answer` is asked at once for all rows that are not there: their numbers, the first index of the upper half, and
    log2 of the odds that it is there, in 1 / 64.
    """
    sums = np.zeros((len(weights), weights.shape[1] + 1), np.int32)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    first, end = np.zeros(len(weights), np.int64), np.full(len(weights), weights.shape[1])
    while (live := np.flatnonzero(end - first > 1)).size:
        middle = (first[live] + end[live]) // 2
        below, at, above = sums[live, first[live]], sums[live, middle], sums[live, end[live]]
        upper = answer(live, middle, log2(above - at) - log2(at - below))
        first[live] = np.where(upper, middle, first[live])
        end[live] = np.where(upper, end[live], middle)
    return first


def _table_ids(odds: _Ints) -> _Ints:
    ids: _Ints = np.minimum((np.abs(odds) + ODDS_STEP // 2) // ODDS_STEP, TABLES - 1)
    return ids


@lru_cache(maxsize=1)
def _decisions() -> tuple[Table, ...]:
    """Table i: symbol 1 against 0 as 1 against 2^(i / 4)."""
    one, total = 2**PRECISION, 2**PRECISION - 1
    rarer = [total * one // (one + math.isqrt(math.isqrt(one**4 << i))) for i in range(TABLES)]
    return tuple(Table(0, np.array([total - count, count, 1], np.uint32)) for count in rarer)
