"""The order in which positions are coded, coarse before fine, and what each may know of those before it.

    lattice of stride 16   ->   centres of its squares, half of them, then the others   ->   middles of their sides
                           ->   the same for the lattice of stride 8 that this makes, ... until every position is known

(As Adam7.) A pass is coded at once: it sees earlier passes alone, through a stencil of whole weights, which have been
measured. At the border a stencil lacks neighbours; they count for nothing.
Invariants: every position is in one pass, and every neighbour in an earlier one, for any size; all is in integers, and
encoder and decoder call it alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "SPREAD_UNIT", "WEIGHT_UNIT", "Pass", "passes", "predict"]

WEIGHT_UNIT: Final = 64
"""Weights are in this part of one."""
SPREAD_UNIT: Final = 16
"""Spreads are in this part of a value's unit."""
MIDDLE: Final = 128
SPREAD: Final = 32
"""What a value without neighbours is expected to be, and how far off."""
STRIDE: Final = 16
TOGETHER: Final = 2**13
"""Positions of a pass, so that memory is bounded."""
_Stencil = tuple[tuple[int, int, int], ...]
STENCILS: Final[tuple[_Stencil, ...]] = (
    (),
    ((1, 1, 27), (1, 3, 4)),
    ((1, 1, 14), (0, 2, 21)),
    ((0, 1, 26), (0, 3, 8)),
)
"""For the lattice, two halves of the centres, and the sides: offsets in halves of a stride, and the weight of each."""
KINDS: Final = len(STENCILS)


@dataclass(frozen=True, eq=False)
class Pass:
    """Positions coded at once, 1 to 8192 of them: `places` int32 (n,) are row width + column.

    `neighbours` int32 (n, m) are places of earlier passes, -1 where outside; `weights` int64 (m,) say how much they
    count, in 1 / 64. `kind` is the number of the stencil: 0 has no neighbours.
    """

    kind: int
    places: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.int64]


@lru_cache(maxsize=4)
def passes(height: int, width: int) -> tuple[Pass, ...]:
    """The passes over (H, W) positions, each side 1 or more."""
    return tuple(
        _pass(kind, half, rows[first : first + TOGETHER], columns[first : first + TOGETHER], height, width)
        for kind, half, rows, columns in _pass_places(height, width)
        for first in range(0, rows.size, TOGETHER)
    )


def predict(known: NDArray[np.int64], one: Pass) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The weighted mean of the neighbours, rounded, and their mean distance from it, in 1 / 16: int64 (n, C) each.

    `known` int64 (H W, C) is right wherever an earlier pass was.
    """
    if not one.kind:
        shape = one.places.size, known.shape[1]
        return np.full(shape, MIDDLE), np.full(shape, SPREAD * SPREAD_UNIT)
    values = known[one.neighbours]
    weights = np.where(one.neighbours < 0, 0, one.weights)[:, :, None]
    total = np.maximum(weights.sum(1), 1)
    mean = (2 * (values * weights).sum(1) + total) // (2 * total)
    return mean, SPREAD_UNIT * (np.abs(values - mean[:, None]) * weights).sum(1) // total


def _pass_places(height: int, width: int) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]:
    """Kind, half of the stride, rows and columns of every pass."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    lattice = np.nonzero((rows % STRIDE == 0) & (columns % STRIDE == 0))
    yield 0, STRIDE, lattice[0], lattice[1]
    stride = STRIDE
    while stride > 1:
        half = stride // 2
        centres = (rows % stride == half) & (columns % stride == half)
        first = (rows // stride + columns // stride) % 2 == 0
        sides = (rows % half == 0) & (columns % half == 0) & ((rows + columns) % stride == half)
        for kind, wanted in enumerate((centres & first, centres & ~first, sides), 1):
            places = np.nonzero(wanted)
            yield kind, half, places[0], places[1]
        stride = half


def _pass(kind: int, half: int, rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int) -> Pass:
    offsets = [(turn, weight) for *offset, weight in STENCILS[kind] for turn in _turns(*offset)]
    neighbours = np.full((rows.size, len(offsets)), -1, np.int32)
    for number, ((down, across), _) in enumerate(offsets):
        row, column = rows + down * half, columns + across * half
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        neighbours[inside, number] = (row * width + column)[inside]
    weights = np.array([weight for _, weight in offsets], np.int64)
    return Pass(kind, (rows * width + columns).astype(np.int32), neighbours, weights)


def _turns(down: int, across: int) -> list[tuple[int, int]]:
    """An offset with all that reflections and quarter turns make of it."""
    return sorted({(a * i, b * j) for a, b in ((down, across), (across, down)) for i in (1, -1) for j in (1, -1)})
