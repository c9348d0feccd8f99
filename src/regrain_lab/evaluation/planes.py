"""Rows -> the lines of each chart: rate against a metric, and, at one fixed rate, distortion against perception and
time against quality.

The fixed rate is that of regrain's own files at the quality where it was decoded in most ways: those files are the same
whatever realism and steps are, so the path between them is at equal bytes to the byte. Of every other codec the value
at that rate is read off its curve (PCHIP over log-rate), and one whose curve does not reach there has no point.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.curves import Mean, curves, labels, learned, mean_of, pictures_with, spread
from regrain_lab.evaluation.plots import Kind, Line, Panel
from regrain_lab.evaluation.published import MARK, Published
from regrain_lab.evaluation.rows import Row, Series
from regrain_lab.evaluation.timings import Timing, of
from regrain_lab.metrics.registry import SCALES

__all__ = ["Fixed", "fixed", "kind", "perception_distortion", "rate", "time_quality"]

_USUAL_RATE = 0.2
_NEAR = 1.25


class Fixed(NamedTuple):
    """A rate in bits a pixel; `setting` is the one of the learned codec that has it, None without such a codec."""

    bpp: float
    setting: str | None


def kind(series: Series) -> Kind:
    """How the series is drawn."""
    return "ours" if learned(series) else "published" if series.codec.endswith(f"({MARK})") else "other"


def fixed(rows: Sequence[Row]) -> Fixed:
    """The rate to compare at: where most ways to decode were tried, of several such the nearest to 0.2 bits a pixel."""
    good = [row for row in rows if learned(row.series) and row.bpp]
    ways = Counter(setting for setting, _ in {(row.setting, row.series) for row in good})
    if not ways:
        return Fixed(_USUAL_RATE, None)
    rates = {name: mean_of((row for row in good if row.setting == name), lambda row: row.bpp) or 1.0 for name in ways}
    chosen = max(ways, key=lambda name: (ways[name], -abs(math.log(rates[name] / _USUAL_RATE))))
    return Fixed(rates[chosen], chosen)


def rate(rows: Sequence[Row], metric: str, published: Sequence[Published]) -> Panel:
    """The metric over the rate, a line for each series that is a curve, then the published points of that metric."""
    found = curves(spread(rows), metric)
    names = labels(row.series for row in rows)
    lines = [
        Line(
            names[series],
            [(mean.bpp, mean.value) for mean in means],
            kind(series),
            partial=[not mean.whole for mean in means],
        )
        for series, means in found.items()
    ]
    by_label: dict[str, list[tuple[float, float]]] = {}
    for point in published:
        if metric in point.metrics:
            by_label.setdefault(point.label, []).append((point.bpp, point.metrics[metric]))
    lines += [Line(label, sorted(points), "published", joined=False) for label, points in by_label.items()]
    return Panel(SCALES[metric].title, "bits a pixel", SCALES[metric].axis, lines, log=True)


def perception_distortion(rows: Sequence[Row], metric: str, at: Fixed, published: Sequence[Published]) -> list[Panel]:
    """PSNR across, a perceptual metric up, all at the rate `at`: everybody, then regrain's paths alone and larger.

    Its paths run over realism at each number of steps, and over steps at the highest realism.
    """
    paths = list(_paths(rows, metric, at))
    lines = [replace(line, texts=()) for line in paths]
    images = pictures_with(rows, metric)
    across, up = (curves(rows, name, images) for name in ("psnr", metric))
    names = labels(row.series for row in rows)
    for series in (one for one in across if one in up):
        x, y = (_at(one[series], at.bpp, name) for one, name in ((across, "psnr"), (up, metric)))
        if not learned(series) and x is not None and y is not None:
            lines.append(Line(names[series], [(x, y)], kind(series), joined=False))
    for point in published:
        if {"psnr", metric} <= point.metrics.keys() and 1 / _NEAR < point.bpp / at.bpp < _NEAR:
            where = (point.metrics["psnr"], point.metrics[metric])
            lines.append(Line(point.label, [where], "published", joined=False, texts=[f"{point.bpp:.3f} bpp"]))
    title, axes = f"At {at.bpp:.3f} bits a pixel", (SCALES["psnr"].axis, SCALES[metric].axis)
    alone = [Panel("Regrain alone, of the same files", *axes, paths)] if paths else []
    return [Panel(title, *axes, _sorted(lines)), *alone]


def time_quality(rows: Sequence[Row], metric: str, at: Fixed, timings: Sequence[Timing] = ()) -> list[Panel]:
    """The metric at the rate `at` over seconds to encode, and to decode, a picture at the setting nearest to it.

    The seconds are those of `timings`, warm, where they have any, and otherwise those that the rows were made in.
    """
    panels = []
    names = labels(row.series for row in rows)
    for title, field in (("Encoding", "encode_s"), ("Decoding", "decode_s")):
        lines = []
        for series, means in curves(rows, metric).items():
            near = min(means, key=lambda mean: abs(math.log(mean.bpp / at.bpp)))
            own = [row for row in rows if row.series == series and row.setting == near.setting]
            seconds = _seconds(series, own, field, timings)
            value = near.value if near.setting == at.setting and learned(series) else _at(means, at.bpp, metric)
            if seconds and value is not None:
                way = [f"r {series.realism:g}, n {series.steps}"] if series.realism is not None else []
                lines.append(Line(names[series], [(seconds, value)], kind(series), joined=False, texts=way))
        what = f"{title} at {at.bpp:.3f} bits a pixel"
        panels.append(Panel(what, "seconds a picture", SCALES[metric].axis, _sorted(lines), log=True))
    return panels


def _seconds(series: Series, rows: Sequence[Row], field: str, timings: Sequence[Timing]) -> float | None:
    found = of(series, timings)
    alone = None if found is None else getattr(found, field)
    return alone or mean_of(rows, lambda row: getattr(row, field))


def _at(means: Sequence[Mean], bpp: float, metric: str) -> float | None:
    return bd.at_rate([(mean.bpp, mean.value) for mean in means], bpp, higher=SCALES[metric].higher)


def _sorted(lines: Sequence[Line]) -> list[Line]:
    """Ours first and the published last, otherwise in their order."""
    return sorted(lines, key=lambda line: (line.kind == "published", line.kind == "other"))


class _Way(NamedTuple):
    """A way to decode, and where it leads."""

    steps: int
    realism: float
    point: tuple[float, float]


def _paths(rows: Sequence[Row], metric: str, at: Fixed) -> Iterator[Line]:
    """Of each learned codec a line over realism at each number of steps, and over steps at the highest realism."""
    ours = [row for row in rows if learned(row.series) and row.setting == at.setting]
    names = labels(row.series._replace(steps=None, realism=None) for row in ours)
    for name, ways in _ways(ours, metric, pictures_with(rows, metric)).items():
        for count in sorted({way.steps for way in ways}):
            along = sorted((way for way in ways if way.steps == count), key=lambda way: way.realism)
            yield _path(f"{names[name]}, steps {count}", along, [f"r {way.realism:g}" for way in along])
        top = max(way.realism for way in ways)
        along = sorted((way for way in ways if way.realism == top), key=lambda way: way.steps)
        if len(along) > 1:
            yield _path(f"{names[name]}, realism {top:g}", along, [f"n {way.steps}" for way in along], dashed=True)


def _path(label: str, ways: Sequence[_Way], texts: Sequence[str], *, dashed: bool = False) -> Line:
    return Line(label, [way.point for way in ways], "ours", dashed=dashed, texts=texts)


def _ways(rows: Sequence[Row], metric: str, images: Collection[str]) -> dict[Series, list[_Way]]:
    """By learned codec, without regard to how it decodes, its ways and their mean PSNR and metric."""
    across, up = (curves(rows, name, images) for name in ("psnr", metric))
    found: dict[Series, list[_Way]] = {}
    for series in across:
        if series in up and series.steps is not None and series.realism is not None:
            way = _Way(series.steps, series.realism, (across[series][0].value, up[series][0].value))
            found.setdefault(series._replace(steps=None, realism=None), []).append(way)
    return found
