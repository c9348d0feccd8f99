"""Symbols and table ids <-> bytes, by asymmetric numeral systems (Duda et al., PCS 2015) with a 64-bit state.

    encode:  state = (state // p << 24) + c + state % p
    decode:  q = state % 2**24;  state = (state >> 24) * p + q - c

where a slot has p = 256 counts[slot] and c = 256 sum(counts[:slot]). A stream is a stack: what is coded last is read
first, so `encode` walks the road of `Decoder` backwards. Invariant: decoding ends in the very state that encoding
started from, with no word left; and whatever is accepted encodes to the same bytes again. docs/FORMAT.md has every bit.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from regrain.entropy.tables import INT32_MAX, INT32_MIN, Table
from regrain.errors import Corrupt, UsageError

__all__ = ["Decoder", "Ids", "Part", "encode", "ideal_bits"]

Ids = NDArray[np.integer[Any]]
Part = tuple[NDArray[np.int32], Ids, Sequence[Table]]
"""Symbols int32 (n,), the table id of each, integers (n,), and the tables which those ids number."""

ESCAPE_BYTES = 5
START = 2**24
_AT_ONCE = 2**17
"""Symbols that are decoded before the state is looked at."""


def encode(parts: Sequence[Part], check: int = 0) -> bytes:
    """Code the parts, in the order in which `Decoder.take` will ask for them, into one stream of at least one byte.

    `check` in 0 .. 2**32 - 1 (a CRC of the symbols, say) rides in the start state, for at most one byte more than 0
    takes; `Decoder.finish` compares it. Raises `UsageError` for shapes that differ, symbols beyond int32, or an id
    without a table.
    """
    coder = constriction.stream.stack.AnsCoder(_start(check))
    for symbols, ids, tables in reversed(parts):
        plan = _plan(ids, tables)
        slots, excess = _slots(symbols, plan)
        for plane in reversed(_planes(excess)):
            coder.encode_reverse(plane, _byte_model())
        for table, run in reversed(plan.runs):
            coder.encode_reverse(slots[run], _model_of(table))
    words: NDArray[np.uint32] = coder.get_compressed()
    return words.astype("<u4").tobytes().rstrip(b"\0")


def ideal_bits(part: Part) -> NDArray[np.float64]:
    """What an ideal coder takes for each symbol of a part, in bits, (n,); `encode` takes a few bytes more in all.

    >>> from regrain.entropy.tables import Table
    >>> ideal_bits((np.int32([0, 0, 1]), np.zeros(3, int), [Table(0, np.array([2**15, 2**14, 2**14]))])).tolist()
    [1.0, 1.0, 2.0]
    """
    symbols, ids, tables = part
    plan = _plan(ids, tables)
    slots, excess = _slots(symbols, plan)
    coded = np.empty(slots.size, np.float64)
    for table, run in plan.runs:
        coded[run] = table.bits()[slots[run]]
    more = sum((excess >> 7 * place > 0).astype(int) for place in range(1, ESCAPE_BYTES))
    coded[slots == plan.size] += 8 * (1 + more)
    bits = np.empty_like(coded)
    bits[plan.order] = coded
    return bits


class Decoder:
    """The mirror of `encode`: one `take` for each part, in order, then `finish`.

    Memory is bounded by the stream and the number of symbols asked for, time by that number. Hostile bytes end in
    `Corrupt`, soon where there are too few of them, at the latest in `finish`: use no symbol before it has returned,
    but for the ids of the next part.
    """

    def __init__(self, data: bytes) -> None:
        """Open a stream. Raises `Corrupt` when it is empty or ends in a zero byte, which no encoder writes."""
        if not data or data[-1] == 0:
            raise Corrupt("latent stream: it is empty or ends in a zero byte")
        words = np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4")
        self._coder = constriction.stream.stack.AnsCoder(words.astype(np.uint32))

    def take(self, ids: Ids, tables: Sequence[Table]) -> NDArray[np.int32]:
        """Decode a symbol for each table id, (n,) -> int32 (n,).

        Raises `Corrupt` for an escape that no encoder writes, and where the stream has ended long before;
        `UsageError` for an id without a table.
        """
        plan, escapes = _plan(ids, tables), []
        ordered = np.empty(plan.order.size, dtype=np.int32)
        for table, run in plan.runs:
            slots = self._decode(_model_of(table), run.stop - run.start)
            np.add(slots, np.int32(table.first), out=ordered[run])
            if slots.max() == table.size:
                escapes.append((table, run.start + np.flatnonzero(slots == table.size)))
        if escapes:
            places = np.concatenate([numbers for _, numbers in escapes])
            ordered[places] = _beyond(self._unplane(places.size), escapes)
        symbols = np.empty_like(ordered)
        symbols[plan.order] = ordered
        return symbols

    def finish(self, check: int = 0) -> None:
        """Raise `Corrupt` unless the stream is consumed to its last bit and `check` is what the encoder was given."""
        words, state = self._coder.pos()
        if words != 0 or state != START + check:
            raise Corrupt("latent stream: it does not end where its symbols do, or they fail their check")

    def _decode(self, model: Any, count: int) -> NDArray[np.int32]:  # noqa: ANN401 - constriction has no stubs
        """The next slots. Without words left the state never grows: below START it cannot end where it should."""
        parts = []
        for done in range(0, count, _AT_ONCE):
            words, state = self._coder.pos()
            if not words and state < START:
                raise Corrupt("latent stream: it ends before its symbols do")
            parts.append(self._coder.decode(model, min(_AT_ONCE, count - done)))
        slots: NDArray[np.int32] = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return slots

    def _unplane(self, count: int) -> NDArray[np.int64]:
        """Invert `_planes`: read bytes for `count` values until each has had its last one."""
        values = np.zeros(count, dtype=np.int64)
        open_ = np.arange(count)
        for place in range(ESCAPE_BYTES):
            if not open_.size:
                return values
            plane = self._decode(_byte_model(), open_.size).astype(np.int64)
            if place and (plane == 0).any():
                raise Corrupt("latent stream: an escape has a superfluous byte")
            values[open_] |= (plane & 127) << 7 * place
            open_ = open_[plane > 127]
        if open_.size:
            raise Corrupt(f"latent stream: an escape is longer than {ESCAPE_BYTES} bytes")
        return values


class _Plan(NamedTuple):
    """The order of coding: `order` int64 (n,) sorts by table id, stably, so that each table has a run of places."""

    order: NDArray[np.int64]
    runs: list[tuple[Table, slice]]

    def spread(self, values: Iterable[int]) -> NDArray[np.int64]:
        """A value of each run's table, (n,), in the order of coding."""
        return np.repeat(np.array([*values], np.int64), [run.stop - run.start for _, run in self.runs])

    @property
    def size(self) -> NDArray[np.int64]:
        """The slot of each one's escape, (n,)."""
        return self.spread(table.size for table, _ in self.runs)


def _plan(ids: Ids, tables: Sequence[Table]) -> _Plan:
    """Sort the symbols' places by table, so that each table serves one contiguous run."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise UsageError(f"table ids: {ids.dtype} {ids.shape} is not a row of integers")
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < min(len(tables), 65536):
        raise UsageError(f"table ids: {ids.min()} .. {ids.max()} is not within 0 .. {min(len(tables), 65536) - 1}")
    order = np.argsort(ids if ids.itemsize == 1 else ids.astype(np.uint16), kind="stable")
    lengths = np.bincount(ids, minlength=len(tables))
    ends = np.cumsum(lengths).tolist()
    runs = [(table, slice(end - n, end)) for table, n, end in zip(tables, lengths.tolist(), ends, strict=True) if n]
    return _Plan(order, runs)


def _slots(symbols: NDArray[np.int32], plan: _Plan) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the slots int32 (n,) in coding order, and what the escapes among them exceed their tables by, zig-zag."""
    symbols = np.asarray(symbols)
    if symbols.shape != plan.order.shape or symbols.dtype.kind not in "iu":
        raise UsageError(f"symbols: {symbols.dtype} {symbols.shape} is not a row of {plan.order.size} integers")
    if symbols.size and not INT32_MIN <= int(symbols.min()) <= int(symbols.max()) <= INT32_MAX:
        raise UsageError(f"symbols: {symbols.min()} .. {symbols.max()} is not within int32")
    offset = symbols[plan.order].astype(np.int64) - plan.spread(table.first for table, _ in plan.runs)
    sizes = plan.size
    escaped = np.flatnonzero((offset < 0) | (offset >= sizes))
    beyond, size = offset[escaped], sizes[escaped]
    offset[escaped] = size
    return offset.astype(np.int32), np.where(beyond < 0, -2 * beyond - 1, 2 * (beyond - size))


def _beyond(excess: NDArray[np.int64], escapes: list[tuple[Table, NDArray[np.int64]]]) -> NDArray[np.int64]:
    """The symbols of escapes, (n,), of which each table has a run; inverts what `_slots` says of them."""
    counts = [places.size for _, places in escapes]
    first, size = (np.repeat([getattr(table, name) for table, _ in escapes], counts) for name in ("first", "size"))
    half = excess >> 1
    symbols: NDArray[np.int64] = first + np.where(excess & 1, -1 - half, size + half)
    if not INT32_MIN <= int(symbols.min()) <= int(symbols.max()) <= INT32_MAX:
        raise Corrupt("latent stream: an escape is beyond int32")
    return symbols


def _planes(values: NDArray[np.int64]) -> list[NDArray[np.int32]]:
    """Cut values of up to 35 bits into LEB128 bytes: first bytes of all, then second ones where there is one, ..."""
    planes = []
    while values.size:
        more = values > 127
        planes.append((values & 127 | more.astype(np.int64) << 7).astype(np.int32))
        values = values[more] >> 7
    return planes


def _start(check: int) -> NDArray[np.uint32]:
    """Return the words of the start state, 2**24 + check, lowest first, without leading zeros.

    Below 2**24 a symbol may cost nothing; from there on each one shrinks the decoder's state, so that a decoder
    which runs past the end of its words can never meet the start state again.
    """
    if not 0 <= check < 2**32:
        raise UsageError(f"check: {check} is not within 0 .. {2**32 - 1}")
    high, low = divmod(START + check, 2**32)
    return np.array([low, high][: 1 + high], dtype=np.uint32)


def _model(counts: NDArray[np.uint32]) -> Any:  # noqa: ANN401 - constriction has no stubs
    """Hand 16-bit counts over so that each slot gets exactly 256 * count of 2**24.

    constriction begins the interval of slot k at k + floor(scale * sum(weights[:k])), where scale is 2**24 less the
    number of slots, over sum(weights). With weights 256 * count - 1 the scale is 1 and all sums are whole: exact.
    """
    return constriction.stream.model.Categorical(counts * 256.0 - 1.0, perfect=False)


@lru_cache(maxsize=512)
def _model_of(table: Table) -> Any:  # noqa: ANN401
    """The model of a table, which is made once: a tile has 64 tables of y in each of its steps."""
    return _model(table.counts)


@lru_cache(maxsize=1)
def _byte_model() -> Any:  # noqa: ANN401
    return _model(np.full(256, 256, dtype=np.uint32))
