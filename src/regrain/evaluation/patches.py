"""FID and KID of a folder: every codec, setting and way to decode, over patches of all its pictures.

Patches have 256 x 256 pixels: the tiles of a grid from the top left, and those of the same grid shifted by half a patch
both ways (Mentzer et al. 2020, arXiv:2006.09965). Others publish on such patches, and Inception enlarges to 299, so
that much smaller ones would be judged blurred. Kodak's 24 pictures give 192 of them, far fewer than the 2,048 features:
there KID can be compared, and FID between rows over the same patches only.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.evaluation import inception
from regrain.evaluation.contestants import Contestant, Knobs, Pixels
from regrain.evaluation.distributions import Distribution, read, write
from regrain.evaluation.frechet import frechet, kernel
from regrain.evaluation.progress import bar
from regrain.evaluation.sweep import pixels_of

__all__ = ["measure", "patches"]

_SIDE = 256
_AT_ONCE = 16


def patches(pixels: Pixels, side: int = _SIDE) -> NDArray[np.uint8]:
    """Patches (n, side, side, 3) of (h, w, 3): a grid from the corner, then one from half a patch in; n may be 0."""
    height, width = pixels.shape[:2]
    corners = [
        (y, x)
        for start in (0, side // 2)
        for y in range(start, height - side + 1, side)
        for x in range(start, width - side + 1, side)
    ]
    cut = [pixels[y : y + side, x : x + side] for y, x in corners]
    return np.stack(cut) if cut else np.empty((0, side, side, 3), np.uint8)


class _Task(NamedTuple):
    """One codec at one setting, and its rows, still without figures, by the way to decode that each is of."""

    contestant: Contestant
    setting: float
    rows: dict[Distribution, Knobs]


def measure(
    files: Sequence[Path], contestants: Sequence[Contestant], weights: Path, path: Path, *, progress: bool = False
) -> list[Distribution]:
    """Bring the table at `path` to hold a row for every codec, setting and way to decode; return those rows.

    `weights` are Inception's. Every picture is encoded and decoded anew; what fails is a row with its error. Raises
    ModelError for the weights, UsageError where the table is none, OutputError where it cannot be read or written.
    """
    table = {row.key: row for row in read(path)}
    tasks = list(_tasks(contestants, sum(len(patches(pixels_of(file))) for file in files)))
    missing = [task._replace(rows={r: k for r, k in task.rows.items() if r.key not in table}) for task in tasks]
    missing = [task for task in missing if task.rows]
    if missing:
        network = inception.Inception(weights)
        originals = _features(network, map(pixels_of, files))
        with bar(sum(len(task.rows) for task in missing), "distribution", wanted=progress) as advance:
            for row in (row for task in missing for row in _measured(task, files, network, originals)):
                table[row.key] = row
                write(path, table.values())
                advance()
    stored = {row.key: row for row in read(path)}
    return [stored[row.key] for task in tasks for row in task.rows]


def _tasks(contestants: Sequence[Contestant], count: int) -> Iterator[_Task]:
    for one in contestants:
        for setting in one.settings:
            blank = partial(Distribution, setting=f"{setting:g}", patches=count, side=_SIDE)
            yield _Task(one, setting, {blank(**one.series(knobs)._asdict()): knobs for knobs in one.knobs})


def _measured(
    task: _Task, files: Sequence[Path], network: inception.Inception, originals: Tensor
) -> Iterator[Distribution]:
    """The rows of a task, encoded once; nothing that a codec does ends it."""
    try:
        bpp, coded = _encoded(task, files)
    except Exception as error:
        yield from (row._replace(error=_said(error)) for row in task.rows)
        return
    for row, knobs in task.rows.items():
        try:
            decoded = _features(network, (task.contestant.decode(data, knobs) for data in coded))
            yield row._replace(bpp=bpp, fid=frechet(originals, decoded), kid=kernel(originals, decoded))
        except Exception as error:
            yield row._replace(bpp=bpp, error=_said(error))


def _encoded(task: _Task, files: Sequence[Path]) -> tuple[float, list[bytes]]:
    """Every picture as a file, and the mean of their bits a pixel."""
    rates, coded = [], []
    for file in files:
        pixels = pixels_of(file)
        coded.append(task.contestant.encode(pixels, task.setting))
        rates.append(8 * len(coded[-1]) / pixels[..., 0].size)
    return sum(rates) / len(rates), coded


def _features(network: inception.Inception, pictures: Iterable[Pixels]) -> Tensor:
    """Features (n, 2048) of all patches of all pictures, in order."""
    found = [torch.empty(0, inception.FEATURES)]
    for pixels in pictures:
        cut = torch.from_numpy(patches(pixels)).permute(0, 3, 1, 2)
        found += [network(part) for part in torch.split(cut, _AT_ONCE) if len(part)]
    return torch.cat(found)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
