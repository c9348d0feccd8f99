"""Sections in a row: how each is framed, and how to follow them through bytes that may be damaged or hostile.

    section = type length crc32[4] payload[length]        crc32 over type, length and payload

Invariant: what is yielded covers the bytes to the end without a gap, in time and memory that their number bounds.
"""

import zlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

from regrain.errors import BitstreamError, Corrupt, Truncated
from regrain.varint import get_varint, put_varint

__all__ = ["FIRST_ANCILLARY", "Section", "frame_section", "sections"]

FIRST_ANCILLARY = 128
"""Types from here on may be skipped by whoever does not know them."""


class Section(NamedTuple):
    """Bytes start..end of a file as one section; fault None is whole; kind -1 is a rest that cannot be followed."""

    kind: int
    start: int
    end: int
    fault: type[BitstreamError] | None
    payload: bytes = b""
    tile: int = 0


def frame_section(kind: int, payload: bytes) -> bytes:
    """The bytes of a section."""
    frame = bytes([kind]) + put_varint(len(payload))
    return frame + zlib.crc32(payload, zlib.crc32(frame)).to_bytes(4, "little") + payload


def sections(data: bytes, at: int, most: int, *, known: Collection[int], numbered: int) -> Iterator[Section]:
    """At most so many sections from byte `at` to the end, without a gap; past a damaged one only where its length
    leads to a type that exists: one of those `known`, or an ancillary one. Payloads of type `numbered` begin with
    their tile's index, a varint."""
    left = most
    while at < len(data):
        section = _next_section(data, at, numbered)
        yield section
        at, left = section.end, left - 1
        if at < len(data) and (not left or (section.fault and data[at] < FIRST_ANCILLARY and data[at] not in known)):
            yield Section(-1, at, len(data), Corrupt)
            return


def _next_section(data: bytes, at: int, numbered: int) -> Section:
    try:
        length, stored = get_varint(data, at + 1)
    except BitstreamError as error:
        return Section(data[at], at, len(data), type(error))
    start, end = stored + 4, stored + 4 + length
    if end > len(data):
        return Section(data[at], at, len(data), Truncated)
    payload, tile, words = data[start:end], 0, 0
    whole = int.from_bytes(data[stored:start], "little") == zlib.crc32(payload, zlib.crc32(data[at:stored]))
    try:
        if whole and data[at] == numbered:
            tile, words = get_varint(payload, 0)
    except BitstreamError:
        whole = False
    return Section(data[at], at, end, None if whole else Corrupt, payload[words:], tile)
