"""Tiles: where they lie, and decoded one by one: what is lost is lost alone. Windows, so that memory is bounded."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrain.errors import Corrupt

__all__ = ["BLANK", "Place", "apply_in_windows", "decode_each", "places"]

log = logging.getLogger(__name__)

BLANK = 128
"""Level of what has no latents: a foreground covers it, or it is lost."""
NAMED = 3
"""Lost tiles that the warning names."""
FORGED = 64
"""Tiles that may pass their checksum and not decode."""

Place = tuple[slice, slice]
"""Rows and columns of a tile."""


def places(height: int, width: int, side: int) -> list[Place]:
    """The tiles of (height, width), squares of `side` in raster order, cut at the right and the bottom.

    >>> places(3, 5, 4)
    [(slice(0, 3, None), slice(0, 4, None)), (slice(0, 3, None), slice(4, 5, None))]
    """
    corners = ((top, left) for top in range(0, height, side) for left in range(0, width, side))
    return [(slice(top, min(top + side, height)), slice(left, min(left + side, width))) for top, left in corners]


def decode_each(
    payloads: Mapping[int, bytes | None],
    decode: Callable[[int, bytes], None],
    *,
    partial: bool,
    missing: set[int] | None = None,
) -> None:
    """Call `decode(number, payload)` for each tile; it raises Corrupt, without naming the tile, or is done.

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: a
    logged warning names the first few and counts them all, and Corrupt is raised only where no tile is left, or where
    FORGED tiles that passed their checksums did not decode: no accident does that, and each may cost as much as a tile.
    The numbers of all lost tiles go into `missing`.
    """
    lost, forged = list[str](), 0
    for index, payload in payloads.items():
        try:
            if payload is None:
                raise Corrupt("cut off or damaged")
            decode(index, payload)
        except Corrupt as error:
            forged += payload is not None
            if not partial or len(lost) + 1 == len(payloads) or forged == FORGED:
                raise Corrupt(f"latents, tile {index}: {error}") from None
            if missing is not None:
                missing.add(index)
            lost.append(f"tile {index}: {error}" if len(lost) < NAMED else "")
    if lost:
        named = "; ".join(lost[:NAMED]) + ("; ..." if len(lost) > NAMED else "")
        log.warning("latents: %d of %d tiles are lost (%s)", len(lost), len(payloads), named)


def apply_in_windows(
    run: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], *, side: int, halo: int, scale: float = 1
) -> NDArray[Any]:
    """run(x), x (C, H, W), in squares of `side` that see `halo` around them, so that memory is bounded.

    `run` gives `scale` times the height and width that it gets, rounded up; side times scale and halo times scale are
    whole numbers.
    """
    core, rows = round(side * scale), []
    for top in range(0, x.shape[1], side):
        down, up = _reach(top, side, halo)
        parts = []
        for left in range(0, x.shape[2], side):
            across, before = _reach(left, side, halo)
            first, start = round(up * scale), round(before * scale)
            parts.append(run(x[:, down, across])[:, first : first + core, start : start + core])
        rows.append(np.concatenate(parts, 2))
    return np.concatenate(rows, 1)


def _reach(start: int, side: int, halo: int) -> tuple[slice, int]:
    """A window that starts at `start` with its halo, and where in that it starts."""
    first = max(0, start - halo)
    return slice(first, start + side + halo), start - first
