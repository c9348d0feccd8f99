"""Tiles: where they lie, and decoded one by one: what is lost is lost alone."""

import logging
from collections.abc import Callable, Sequence

from regrain.errors import Corrupt

__all__ = ["Place", "decode_each", "places"]

log = logging.getLogger(__name__)

Place = tuple[slice, slice]
"""Rows and columns of a tile."""


def places(height: int, width: int, side: int) -> list[Place]:
    """The tiles of (height, width), squares of `side` in raster order, cut at the right and the bottom."""
    corners = ((top, left) for top in range(0, height, side) for left in range(0, width, side))
    return [(slice(top, min(top + side, height)), slice(left, min(left + side, width))) for top, left in corners]


def decode_each(payloads: Sequence[bytes | None], decode: Callable[[int, bytes], None], *, partial: bool) -> None:
    """Call `decode(number, payload)` for each tile, in order; it raises Corrupt, without naming the tile, or is done.

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: a
    logged warning names it, and Corrupt is raised only where no tile is left.
    """
    lost = 0
    for index, payload in enumerate(payloads):
        try:
            if payload is None:
                raise Corrupt("cut off or damaged")
            decode(index, payload)
        except Corrupt as error:
            lost += 1
            if not partial or lost == len(payloads):
                raise Corrupt(f"latents, tile {index}: {error}") from None
            log.warning("latents, tile %d: %s: this tile is lost", index, error)
