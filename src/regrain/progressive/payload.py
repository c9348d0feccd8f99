"""One step of a stream, for all tiles: the receiver's messages <-> bytes.

    payload = (chunks candidates spread)* centre scale stream        chunks: a varint a tile; the others: one byte each

The index n of a candidate is coded as n + 1 = 2^e + r with 0 <= r < 2^e: e - centre under the Gaussian table `scale`,
r under one of 2^e equal counts. docs/FORMAT.md specifies every bit.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from regrain.entropy import coder
from regrain.entropy.tables import PRECISION, Table, gaussian_tables, scales
from regrain.errors import BitstreamError, Corrupt, UsageError
from regrain.progressive.reverse_channel_coding import CANDIDATES_MOST, Message, chunks_most
from regrain.varint import get_varint, put_varint

__all__ = ["pack", "unpack"]


@lru_cache(maxsize=1)
def _remainder_tables() -> tuple[Table, ...]:
    """Table e has the numbers 0 .. 2^e - 1 with equal counts, but the last number gives one count to the escape."""
    tables = []
    for exponent in range(CANDIDATES_MOST):
        counts = np.full(2**exponent + 1, 2 ** (PRECISION - exponent), np.uint32)
        counts[-2:] = counts[0] - 1, 1
        tables.append(Table(0, counts))
    return tuple(tables)


def pack(messages: Sequence[Message], step: int) -> bytes:
    """The payload of a step, counted from 0, from the messages of its tiles."""
    numbers = np.concatenate([message.indices for message in messages]) + 1
    exponents = np.frexp(numbers)[1] - 1
    remainders = numbers - (1 << exponents)
    centre = round(float(exponents.mean()))
    scale = int(np.abs(scales() - max(0.3, float((exponents - centre).std()))).argmin())
    heads = (put_varint(message.indices.size) + bytes([message.candidates, message.spread]) for message in messages)
    head = b"".join(heads) + bytes([centre, scale])
    exponent_part = (exponents - centre).astype(np.int32), np.full(numbers.size, scale), gaussian_tables()
    remainder_part = remainders.astype(np.int32), exponents, _remainder_tables()
    return head + coder.encode([exponent_part, remainder_part], _check(step, head, numbers))


def unpack(payload: bytes, sizes: Sequence[int], step: int) -> list[Message]:
    """The messages of tiles that have `sizes` values. Raises Corrupt for bytes that `pack` never writes for `step`."""
    try:
        heads, at = _heads(payload, sizes)
        if len(payload) < at + 2:
            raise Corrupt("it ends before its numbers")
        centre, scale = payload[at : at + 2]
        decoder = coder.Decoder(payload[at + 2 :])
        total = sum(count for count, *_ in heads)
        exponents = decoder.take(np.full(total, scale), gaussian_tables()).astype(np.int64) + centre
        if exponents.min() < 0 or exponents.max() >= CANDIDATES_MOST:
            raise Corrupt("a candidate's number is out of range")
        remainders = decoder.take(exponents, _remainder_tables())
        if (remainders < 0).any() or (remainders >> exponents).any():
            raise Corrupt("a candidate's number has another spelling")
        numbers = remainders + (1 << exponents)
        decoder.finish(_check(step, payload[: at + 2], numbers))
        ends = np.cumsum([count for count, *_ in heads])
        parts = np.split(numbers - 1, ends[:-1])
        return [Message(candidates, part, spread) for (_, candidates, spread), part in zip(heads, parts, strict=True)]
    except (UsageError, ValueError, BitstreamError) as error:
        raise Corrupt(f"it does not decode: {error}") from None


def _heads(payload: bytes, sizes: Sequence[int]) -> tuple[list[tuple[int, int, int]], int]:
    """The numbers of chunks, candidates and the spread of every tile, and the offset of the first byte after them."""
    heads, at = [], 0
    for size in sizes:
        count, at = get_varint(payload, at)
        if not 1 <= count <= chunks_most(size) or at + 2 > len(payload):
            raise Corrupt(f"{count} chunks of {size} values, or the end")
        heads.append((count, payload[at], payload[at + 1]))
        at += 2
    return heads, at


def _check(step: int, head: bytes, numbers: NDArray[np.int64]) -> int:
    return zlib.crc32(step.to_bytes(4, "little") + head + numbers.astype("<i4").tobytes())
