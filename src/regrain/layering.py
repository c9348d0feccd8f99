"""The foreground of a file in front of what its latents give, which may be nothing at all."""

import logging
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from regrain import bitstream
from regrain.errors import Corrupt, Truncated
from regrain.options import Box, DecodeOptions
from regrain.tiles import BLANK, Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Cells", "add_foreground", "blank_pixels", "cells_of", "has_latents", "without_shown"]

Cells: TypeAlias = list[tuple[Place, bytes]]
log = logging.getLogger(__name__)
LOST = "the foreground is lost, or a part of it: letters and lines are missing"


def cells_of(data: bytes, stream: bitstream.Stream, *, partial: bool) -> Cells:
    """The cells of a file's foreground, their heads checked.

    Raises Corrupt; if partial, the log names what is lost, and Truncated is raised where nothing is left.
    """
    from regrain.image import foreground_cells

    if stream.foreground is not None and stream.header.method != bitstream.Method.CONDITIONAL and not partial:
        raise Corrupt(f"foreground: files of the {stream.header.method.name.lower()} method have none")
    damaged = [one.name for one in bitstream.layout(data) if not one.whole] if partial else []
    lost, cells = "foreground" in damaged, Cells()
    if stream.foreground is not None and stream.header.method == bitstream.Method.CONDITIONAL:
        with suppress(*(Corrupt,) if partial else ()):
            cells = foreground_cells(stream.foreground, (stream.header.height, stream.header.width))
        lost = lost or not cells
    if not cells and not any(stream.tiles) and (lost or damaged or None in stream.tiles):
        raise Truncated(f"none of its {len(stream.tiles)} {stream.header.unit}s is whole: there is nothing to decode")
    if lost:
        log.warning(LOST)
    return cells


def has_latents(stream: bitstream.Stream, cells: Cells) -> bool:
    """Whether some tile has bytes, or none has where that is not what the file means.

    Tiles that are lost matter little behind a foreground, and a file of which it alone is whole still shows that.
    """
    return (
        any(stream.tiles)
        or (None in stream.tiles and not cells)
        or stream.header.method != bitstream.Method.CONDITIONAL
    )


def blank_pixels(stream: bitstream.Stream, options: DecodeOptions) -> "NDArray[np.uint8]":
    """Grey pixels of the part of a picture that the options name."""
    import numpy as np

    header = stream.header
    if None in stream.tiles:
        log.warning("latents: %d of %d tiles are lost", stream.tiles.count(None), len(stream.tiles))
    sides = (options.region or (0, 0, header.width, header.height))[2:]
    width, height = (-(-side // options.reduction) for side in sides)
    return np.full((height, width, 1 if header.grey else 3), BLANK, np.uint8)


def add_foreground(pixels: "NDArray[np.uint8]", cells: Cells, options: DecodeOptions) -> None:
    """Put cells onto the decoded pixels that the options name. If partial, damaged ones are left out, else Corrupt."""
    from regrain.image import paste_foreground

    left, top, *_ = options.region or (0, 0)
    lost = False
    for cell in cells:
        try:
            paste_foreground(pixels, [cell], (top, left), options.reduction)
        except Corrupt:
            if not options.partial:
                raise
            lost = True
    if lost:
        log.warning(LOST)


def without_shown(boxes: tuple[Box, ...], cells: Cells) -> tuple[Box, ...]:
    """The boxes, in pixels of the whole picture, of which the cells do not show every pixel."""
    import numpy as np

    from regrain.image import paste_foreground

    def shows_all(box: Box) -> bool:
        left, top, width, height = box
        black, white = (np.full((height, width, 1), level, np.uint8) for level in (0, 255))
        for pixels, cell in product((black, white), cells):
            with suppress(Corrupt):
                paste_foreground(pixels, [cell], (top, left))
        return np.array_equal(black, white)

    return tuple(box for box in boxes if not shows_all(box))
