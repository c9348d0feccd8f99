"""Figures of the Kodak photos that were not measured in this run, to be drawn as such and never as its own.

A reference folder may hold three tables. `kodak_published.csv` and `perceptual_points.csv` have means over all 24
photos as papers and repositories print them: (system, steps, bpp, psnr_db, ms_ssim, lpips_alex, dists, source), and the
second trained_on_lpips in place of steps, the network whose LPIPS the system was trained on. A system that is in both
is taken from there, with more digits. `kodak_measured.csv` has rows a photo (codec, setting, image, bytes, bpp, psnr,
ms_ssim, lpips_alex, lpips_squeeze); of it those codecs are taken that no package brings, since the others are measured
here. Nobody published it: the project measured it elsewhere, and its rows say so.
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from regrain.errors import UsageError
from regrain_lab.evaluation.table import Row

__all__ = ["ELSEWHERE", "MARK", "Published", "measured_rows", "published_points"]

T = TypeVar("T")
MARK = "published"
ELSEWHERE = "measured elsewhere"
_NETWORKS = {"alex": "AlexNet", "squeeze": "SqueezeNet", "vgg": "VGG16"}
_TRAINED_ON = {"HiFiC": "alex"}
"""The network of systems that are in the table without that column."""
_COLUMNS = {"psnr_db": "psnr", "ms_ssim": "ms_ssim", "lpips_alex": "lpips_alex", "dists": "dists"}
_MEASURED = ("psnr", "ms_ssim", "lpips_alex", "lpips_squeeze")
_PHOTOS, _PIXELS = 24, 768 * 512
_FROM_NO_PACKAGE = {"vvenc": "VVC"}


class Published(NamedTuple):
    """One system's mean at one rate, as its source states it; `metrics` by the names of our columns.

    `trained_on` is the network whose LPIPS it was trained on, empty where that is not known.
    """

    system: str
    bpp: float
    metrics: dict[str, float]
    source: str
    trained_on: str = ""

    @property
    def label(self) -> str:
        """The system's name, marked."""
        return f"{self.system} ({MARK}{f', trained on LPIPS-{self.trained_on}' if self.trained_on else ''})"


def published_points(folder: Path, images: Mapping[str, int]) -> tuple[list[Published], str]:
    """The published points, and a note for the reader; none where the pictures are not Kodak's.

    `images` are numbers of pixels by name. Raises UsageError where the table cannot be read.
    """
    photos = {name for name, pixels in images.items() if name.startswith("kodim") and pixels == _PIXELS}
    if not photos:
        return [], "The reference points are of the Kodak photos, which these are not: left out."
    points = _read(folder / "perceptual_points.csv", _point)
    systems = {point.system for point in points}
    points += [point for point in _read(folder / "kodak_published.csv", _point) if point.system not in systems]
    note = f"Points marked “{MARK}” are means over all {_PHOTOS} Kodak photos, as their sources print them."
    if any(point.trained_on for point in points):
        note += " Where a network is named, its LPIPS was in the system's loss, and judges it too kindly."
    if len(photos) < _PHOTOS or len(photos) < len(images):
        note += f" Our figures are over other pictures: {len(photos)} of those photos, {len(images)} in all."
    return points, note


def measured_rows(folder: Path, images: Mapping[str, int]) -> list[Row]:
    """Rows of the pictures `images`, measured elsewhere, of codecs that no package brings; none without a table.

    Their codec is marked. Only pictures of Kodak's name and number of pixels count. Raises UsageError where the table
    cannot be read.
    """
    rows = _read(folder / "kodak_measured.csv", _row)
    return [row for row in rows if row is not None and images.get(row.image) == _PIXELS]


def _row(line: dict[str, str]) -> Row | None:
    name, _, options = line["codec"].partition(" ")
    if name not in _FROM_NO_PACKAGE:
        return None
    return Row(
        image=line["image"],
        codec=f"{_FROM_NO_PACKAGE[name]} ({ELSEWHERE})",
        version=name,
        options=options,
        setting=line["setting"],
        bytes=int(line["bytes"]),
        bpp=float(line["bpp"]),
        metrics={key: float(line[key]) for key in _MEASURED if line[key]},
    )


def _point(line: dict[str, str]) -> Published:
    steps = f", steps {line['steps']}" if line.get("steps") else ""
    metrics = {ours: float(line[theirs]) for theirs, ours in _COLUMNS.items() if line[theirs]}
    network = line.get("trained_on_lpips") or _TRAINED_ON.get(line["system"], "")
    trained_on = _NETWORKS.get(network, network)
    return Published(line["system"] + steps, float(line["bpp"]), metrics, line["source"], trained_on)


def _read(path: Path, make: Callable[[dict[str, str]], T]) -> list[T]:
    """Turn each line of a table into a value by `make`; none where there is no table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [make(line) for line in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no table of reference points: {error}") from error
