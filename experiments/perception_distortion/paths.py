"""Where one file leads by how it is decoded: perception over distortion as realism, x_1's noise and steps vary.

    x_1 = realism (factor init_noise) noise        point(steps, realism, factor) = ( mean PSNR, mean metric )

A line has one of the three vary and the others fixed; all points are of the same files, to the byte. Rows tell the
factor by their options. Invariants: a point is of all pictures and of one set of weights; the plain ways, the weights'
own noise at the highest realism, are points of all three panels.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from regrain_lab.evaluation.charts import Kind, Line, Panel
from regrain_lab.evaluation.table import Row
from regrain_lab.metrics.registry import SCALES

__all__ = ["Way", "factor", "named", "panels"]

_OPTIONS = re.compile(r"init_noise times (\S+)")
Point = tuple[float, float]


class Way(NamedTuple):
    """How a file is decoded; `factor` is of the noise that its weights start from."""

    steps: int
    realism: float
    factor: float = 1.0


def named(factor: float) -> str:
    """What a row's options say of a factor; nothing of 1."""
    return "" if factor == 1 else f"init_noise times {factor:g}"


def factor(options: str) -> float:
    """The inverse of `named`: 1 for options that name none."""
    found = _OPTIONS.search(options)
    return float(found[1]) if found else 1.0


def panels(rows: Sequence[Row], metric: str) -> list[Panel]:
    """Three: over realism, over the factor of init_noise, over steps, each with PSNR across and `metric` up."""
    points = _points(rows, metric)
    top = max((way.realism for way in points), default=1.0)
    plain = {way: point for way, point in points.items() if way.factor == 1}
    noised = {way: point for way, point in points.items() if way.realism == top}
    both = {way: point for way, point in plain.items() if way in noised}
    axes = SCALES["psnr"].axis, SCALES[metric].axis

    def steps(way: Way) -> str:
        return f"steps {way.steps}"

    over_realism = _lines(plain, steps, lambda way: way.realism, "r {:g}", "ours")
    over_noise = _lines(noised, steps, lambda way: way.factor, "x {:g}", "ours")
    over_steps = _lines(both, lambda _: f"realism {top:g}", lambda way: way.steps, "n {:g}", "other")
    return [
        Panel("Realism from 0 to 1, at the weights' init_noise", *axes, over_realism),
        Panel(f"init_noise, times the weights' own, at realism {top:g}", *axes, over_noise),
        Panel(f"Steps, at realism {top:g} and the weights' init_noise", *axes, over_steps),
    ]


def _points(rows: Sequence[Row], metric: str) -> dict[Way, Point]:
    """The means of each way in which every picture was decoded, with the weights of the last row."""
    last = [row for row in rows if row.fingerprint == rows[-1].fingerprint]
    found: dict[Way, list[Point]] = defaultdict(list)
    for row in last:
        x, y = (row.metrics.get(name) for name in ("psnr", metric))
        if row.steps is not None and row.realism is not None and x is not None and y is not None:
            found[Way(row.steps, row.realism, factor(row.options))].append((x, y))
    images = len({row.image for row in last})
    return {way: _middle(points) for way, points in found.items() if len(points) == images}


def _middle(points: Sequence[Point]) -> Point:
    return fmean(x for x, _ in points), fmean(y for _, y in points)


def _lines(
    points: Mapping[Way, Point], label: Callable[[Way], str], along: Callable[[Way], float], text: str, kind: Kind
) -> list[Line]:
    """A line a label, its points in the order of `along`."""
    ways = sorted(points, key=lambda way: (way.steps, way.factor, way.realism))
    by_label: dict[str, list[Way]] = {name: [] for name in map(label, ways)}
    for way in sorted(ways, key=along):
        by_label[label(way)].append(way)
    return [
        Line(name, [points[way] for way in own], kind, texts=[text.format(along(way)) for way in own])
        for name, own in by_label.items()
    ]
