"""Two partitions of the latent grid: the file's tiles, coded apart, and the windows in which the networks run.

A window's core is what it is responsible for; its outer region adds a halo of context, so that seams do not show and
memory stays bounded whatever the picture's size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from regrain.conditional.config import STRIDE

__all__ = ["STRIDE", "Region", "Window", "latent_size", "tiles", "tiles_below", "windows", "work"]


@dataclass(frozen=True)
class Region:
    """A rectangle of the latent grid: rows top..bottom, columns left..right, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows of latents."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns of latents."""
        return self.right - self.left

    @property
    def latents(self) -> tuple[slice, slice]:
        """Index of the region in an array (..., rows, columns) of latents."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Index of the region in an array (..., height, width) of pixels."""
        return slice(self.top * STRIDE, self.bottom * STRIDE), slice(self.left * STRIDE, self.right * STRIDE)

    @classmethod
    def around(cls, box: tuple[int, int, int, int], margin: int, rows: int, columns: int) -> "Region":
        """What covers a box (left, top, width, height) of pixels, with a margin of latents, within the grid."""
        left, top, width, height = box
        return cls(
            max(0, top // STRIDE - margin),
            min(rows, -(-(top + height) // STRIDE) + margin),
            max(0, left // STRIDE - margin),
            min(columns, -(-(left + width) // STRIDE) + margin),
        )

    def intersection(self, other: "Region") -> "Region":
        """The places that are in both; of negative size where there are none."""
        return Region(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def within(self, outer: "Region") -> "Region":
        """This region in the coordinates of one that contains it."""
        return Region(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


@dataclass(frozen=True)
class Window:
    """A core and the core with its halo, cut at the grid's edge."""

    core: Region
    outer: Region


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of latents that cover a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def tiles(rows: int, columns: int, side: int) -> list[Region]:
    """Squares of `side` latents in raster order, cut at the right and the bottom."""
    return [*tiles_below(Region(0, rows, 0, columns), rows, columns, side).values()]


def tiles_below(area: Region, rows: int, columns: int, side: int) -> dict[int, Region]:
    """Those of `tiles` that have a place in common with an area of the grid, by their index, and no others made."""
    across = -(-columns // side)
    return {
        row * across + column: Region(
            row * side, min((row + 1) * side, rows), column * side, min((column + 1) * side, columns)
        )
        for row in range(area.top // side, -(-area.bottom // side))
        for column in range(area.left // side, -(-area.right // side))
    }


def windows(rows: int, columns: int, side: int, halo: int) -> Iterator[Window]:
    """Tiles of `side` latents with `halo` latents around each."""
    for core in tiles(rows, columns, side):
        top, left = max(0, core.top - halo), max(0, core.left - halo)
        yield Window(core, Region(top, min(rows, core.bottom + halo), left, min(columns, core.right + halo)))


def work(windows: Sequence[Window]) -> float:
    """What all windows take in units of the first, by their areas."""
    areas = [window.outer.height * window.outer.width for window in windows]
    return sum(areas) / areas[0]
