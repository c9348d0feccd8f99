"""KID and the Gram distance of a folder (see `realism`): every codec, setting and way to decode, over all pictures."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from regrain_lab.evaluation.contestants import Contestant, Knobs
from regrain_lab.evaluation.distributions import Distribution, read, write
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.sweep import pixels_of
from regrain_lab.metrics.realism import SIDE, Features, Realism, cells, distances

__all__ = ["measure"]


class _Task(NamedTuple):
    """One codec at one setting, and its rows, still without figures, by the way to decode that each is of."""

    contestant: Contestant
    setting: float
    rows: dict[Distribution, Knobs]


def measure(
    files: Sequence[Path], contestants: Sequence[Contestant], network: Realism, path: Path, *, progress: bool = False
) -> list[Distribution]:
    """Bring the table at `path` to hold a row for every codec, setting and way to decode; return those rows.

    Every picture is encoded and decoded anew; what fails is a row with its error. Raises UsageError where the table is
    none, OutputError where it cannot be read or written.
    """
    table = {row.key: row for row in read(path)}
    tasks = list(_tasks(contestants, sum(math.prod(cells(*pixels_of(file).shape[:2])) for file in files)))
    missing = [task._replace(rows={r: k for r, k in task.rows.items() if r.key not in table}) for task in tasks]
    missing = [task for task in missing if task.rows]
    if missing:
        originals = [network.features(pixels_of(file)) for file in files]
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
            blank = partial(Distribution, setting=f"{setting:g}", patches=count, side=SIDE)
            yield _Task(one, setting, {blank(**one.series(knobs)._asdict()): knobs for knobs in one.knobs})


def _measured(
    task: _Task, files: Sequence[Path], network: Realism, originals: Sequence[Features]
) -> Iterator[Distribution]:
    """The rows of a task, encoded once; nothing that a codec does ends it."""
    try:
        bpp, coded = _encoded(task, files)
    except Exception as error:
        yield from (row._replace(error=_said(error)) for row in task.rows)
        return
    for row, knobs in task.rows.items():
        try:
            decoded = [network.features(task.contestant.decode(data, knobs)) for data in coded]
            kid, gram = distances(originals, decoded).values()
            both = row._replace(kid=kid.value, kid_error=kid.error, gram=gram.value, gram_error=gram.error)
            yield both._replace(bpp=bpp)
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


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
