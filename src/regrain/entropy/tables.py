"""Frozen integer probability tables: what the encoder and the decoder must agree on to the last count.

    P(symbol = first + k) = counts[k] / 2**16,   P(escape) = counts[-1] / 2**16

Invariant: every count is at least 1 and the counts of a table sum to exactly 2**16, so that every int32 can be coded
(in the table, or through the escape) and no probability is ever computed in floating point at run time. The 64
Gaussian tables belong to the format version (their file never changes within one); those of z to the weights.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError, UsageError

__all__ = [
    "LEVELS", "PRECISION", "SCALE_MAX", "SCALE_MIN", "Table", "freeze", "gaussian_tables", "pack", "scales", "unpack",
]  # fmt: skip

PRECISION = 16
TOTAL = 1 << PRECISION
LEVELS = 64
SCALE_MIN = 0.11
SCALE_MAX = 128.0
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True, eq=False)
class Table:
    """One frozen distribution over the integers `first .. first + n - 1`, and an escape for all others.

    `counts` is uint32 (n + 1,), n >= 1, made read-only; the last slot is the escape. Raises `UsageError` unless every
    count is at least 1, their sum is 65536 and all symbols are int32.
    """

    first: int
    counts: NDArray[np.uint32]

    def __post_init__(self) -> None:
        """Check the invariant and freeze a private copy of the counts."""
        given = np.asarray(self.counts)
        if given.ndim != 1 or not 2 <= given.size <= TOTAL or given.dtype.kind not in "iu":
            raise UsageError(f"table: {given.shape} {given.dtype} is not a row of 2 to {TOTAL} integer counts")
        if int(given.min()) < 1 or int(given.max()) > TOTAL or int(given.sum(dtype=np.int64)) != TOTAL:
            raise UsageError(f"table: counts must each be at least 1 and sum to {TOTAL}")
        if not INT32_MIN <= self.first <= INT32_MAX - (given.size - 2):
            raise UsageError(f"table: symbols from {self.first} on, {given.size - 1} of them, do not fit int32")
        counts = given.astype(np.uint32)
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)

    @property
    def size(self) -> int:
        """Number n of symbols that have a slot of their own (the escape is slot n)."""
        return int(self.counts.size) - 1

    def bits(self) -> NDArray[np.float64]:
        """Ideal code length of each slot in bits, float64 (n + 1,); an escape costs at least 8 bits more."""
        return PRECISION - np.log2(self.counts.astype(np.float64))


def scales() -> NDArray[np.float64]:
    """Return the standard deviations of the Gaussian tables, float64 (64,): geometric from 0.11 to 128."""
    return np.asarray(SCALE_MIN * (SCALE_MAX / SCALE_MIN) ** (np.arange(LEVELS) / (LEVELS - 1)), dtype=np.float64)


@lru_cache(maxsize=1)
def gaussian_tables() -> tuple[Table, ...]:
    """Return the 64 frozen tables of N(0, scales()[i]**2), integrated over [k - 1/2, k + 1/2]; symmetric about 0.

    The file holds, for each table in turn, the radius r and the counts of 0 .. r as little-endian uint16; those of
    -1 .. -r mirror them and the escape has what is left of 65536. Raises `ModelError` when the file is damaged.
    """
    stored = files("regrain.entropy").joinpath("gaussian.npy").read_bytes()
    try:
        flat = np.load(io.BytesIO(stored), allow_pickle=False).astype(np.int64)
        return tuple(_mirror(half) for half in _halves(flat))
    except (ValueError, EOFError, IndexError) as error:
        raise ModelError(f"gaussian.npy is damaged, reinstall regrain ({error})") from None


def _halves(flat: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split the flat file into the 64 rows of counts of 0 .. radius."""
    halves, at = [], 0
    for _ in range(LEVELS):
        end = at + 2 + int(flat[at])
        halves.append(flat[at + 1 : end])
        at = end
    if at != flat.size:
        raise ValueError(f"{flat.size} values, not {at}")
    return halves


def _mirror(half: NDArray[np.int64]) -> Table:
    """Make the symmetric table of counts of 0 .. radius."""
    row = np.concatenate([half[:0:-1], half])
    return Table(1 - half.size, np.append(row, TOTAL - row.sum()).astype(np.uint32))


def freeze(probabilities: NDArray[np.float64], first: int) -> Table:
    """Round the probabilities of `first .. first + n - 1`, float64 (n,), to a table; the escape gets the rest.

    Minimises the expected code length, sum(-p log2 counts) over counts >= 1: counts = max(1, s p) with the s at which
    they sum to 65536 (Karush-Kuhn-Tucker), then largest remainders, ties to the lowest symbol. Deterministic.
    Raises `UsageError` for an empty or too long row, NaN, infinity, a negative value, or a sum that is 0 or over 1.001.
    """
    row = np.asarray(probabilities, dtype=np.float64)
    if row.ndim != 1 or not 1 <= row.size < TOTAL:
        raise UsageError(f"probabilities: shape {row.shape} is not a row of 1 to {TOTAL - 1}")
    if not np.isfinite(row).all() or float(row.min()) < 0.0 or not 0.0 < float(row.sum()) <= 1.001:
        raise UsageError("probabilities: must be finite, not negative, and sum to more than 0 and at most 1")
    target = np.append(row, max(0.0, 1.0 - float(row.sum())))
    low, high = 0.0, 4.0 * TOTAL / float(target.max())
    for _ in range(128):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _floors(target, middle).sum() <= TOTAL else (low, middle)
    counts = _floors(target, low)
    order = np.argsort(counts - low * target, kind="stable")
    counts[order[: TOTAL - counts.sum()]] += 1
    return Table(first, counts.astype(np.uint32))


def _floors(target: NDArray[np.float64], factor: float) -> NDArray[np.int64]:
    return np.maximum(1, np.floor(factor * target)).astype(np.int64)


def pack(tables: Sequence[Table]) -> NDArray[np.int32]:
    """Flatten T tables into one int32 row: T, the T first symbols, the T numbers of slots, then all counts."""
    head = [len(tables), *(table.first for table in tables), *(table.counts.size for table in tables)]
    return np.concatenate([np.array(head, dtype=np.int32), *(table.counts.astype(np.int32) for table in tables)])


def unpack(packed: NDArray[np.int32]) -> tuple[Table, ...]:
    """Invert `pack`, trusting nothing. Raises `ModelError` when the row is not one that `pack` makes."""
    row = np.asarray(packed)
    if row.ndim != 1 or row.dtype != np.int32 or row.size < 1:
        raise ModelError(f"tables: {row.dtype} {row.shape} is not a row of int32")
    number = int(row[0])
    if not 0 <= number <= (row.size - 1) // 2:
        raise ModelError(f"tables: {number} tables do not fit {row.size} values")
    firsts, sizes, counts = np.split(row[1:], [number, 2 * number])
    if (sizes < 2).any() or int(sizes.sum(dtype=np.int64)) != counts.size:
        raise ModelError(f"tables: their sizes do not add up to the {counts.size} counts present")
    pieces = np.split(counts, np.cumsum(sizes, dtype=np.int64)[:-1]) if number else []
    try:
        return tuple(Table(int(first), piece.astype(np.uint32)) for first, piece in zip(firsts, pieces, strict=True))
    except UsageError as error:
        raise ModelError(f"tables in the weights are damaged: {error}") from None
