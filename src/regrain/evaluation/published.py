"""Figures that others measured on the Kodak photos, to be drawn as theirs and never as ours.

A reference folder may hold two tables. `kodak_published.csv` has means over all 24 photos as papers and repositories
print them: (system, steps, bpp, psnr_db, ms_ssim, lpips_alex, dists, source). `kodak_measured.csv` has rows a photo
(codec, setting, image, bytes, bpp, psnr, ms_ssim, lpips_alex, lpips_squeeze); of it those codecs are taken that no
package brings, since the others are measured here.
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from regrain.errors import UsageError
from regrain.evaluation.rows import Row

__all__ = ["MARK", "Published", "elsewhere", "points"]

T = TypeVar("T")
MARK = "published"
_COLUMNS = {"psnr_db": "psnr", "ms_ssim": "ms_ssim", "lpips_alex": "lpips_alex", "dists": "dists"}
_MEASURED = ("psnr", "ms_ssim", "lpips_alex", "lpips_squeeze")
_PHOTOS, _PIXELS = 24, 768 * 512
_FROM_NO_PACKAGE = {"vvenc": "VVC"}


class Published(NamedTuple):
    """One system's mean at one rate, as its source states it; `metrics` by the names of our columns."""

    system: str
    bpp: float
    metrics: dict[str, float]
    source: str

    @property
    def label(self) -> str:
        """The system's name, marked."""
        return f"{self.system} ({MARK})"


def points(folder: Path, images: Mapping[str, int]) -> tuple[list[Published], str]:
    """The published points, and what a reader must know of them; none where the pictures are not Kodak's.

    `images` are numbers of pixels by name. Raises UsageError where the table cannot be read.
    """
    photos = {name for name, pixels in images.items() if name.startswith("kodim") and pixels == _PIXELS}
    if not photos:
        return [], "The reference points are of the Kodak photos, which these are not: left out."
    found = _each(folder / "kodak_published.csv", _point)
    note = f"Points marked “{MARK}” are means over all {_PHOTOS} Kodak photos, as their sources print them."
    if len(photos) < _PHOTOS or len(photos) < len(images):
        note += f" Our figures are over other pictures: {len(photos)} of those photos, {len(images)} in all."
    return found, note


def elsewhere(folder: Path, images: Mapping[str, int]) -> list[Row]:
    """Rows of the pictures `images`, measured elsewhere, of codecs that no package brings; none without a table.

    Their codec is marked. Only pictures of Kodak's name and number of pixels count. Raises UsageError where the table
    cannot be read.
    """
    rows = _each(folder / "kodak_measured.csv", _row)
    return [row for row in rows if row is not None and images.get(row.image) == _PIXELS]


def _row(line: dict[str, str]) -> Row | None:
    name, _, options = line["codec"].partition(" ")
    if name not in _FROM_NO_PACKAGE:
        return None
    return Row(
        image=line["image"],
        codec=f"{_FROM_NO_PACKAGE[name]} ({MARK})",
        version=name,
        options=options,
        setting=line["setting"],
        bytes=int(line["bytes"]),
        bpp=float(line["bpp"]),
        metrics={key: float(line[key]) for key in _MEASURED if line[key]},
    )


def _point(line: dict[str, str]) -> Published:
    steps = f", steps {line['steps']}" if line["steps"] else ""
    metrics = {ours: float(line[theirs]) for theirs, ours in _COLUMNS.items() if line[theirs]}
    return Published(line["system"] + steps, float(line["bpp"]), metrics, line["source"])


def _each(path: Path, make: Callable[[dict[str, str]], T]) -> list[T]:
    """What `make` makes of each line of a table; nothing where there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [make(line) for line in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no table of reference points: {error}") from error
