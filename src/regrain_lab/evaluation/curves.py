"""Rows -> curves: at each setting the mean over pictures of both axes, over the same pictures.

    point(setting) = ( mean_i bpp_i ,  mean_i metric_i ) ,   i over the pictures that have a figure there

Invariants: no picture counts on one axis alone; a point that misses pictures which others have says so (`whole`); two
curves are compared on the pictures that both have at all their settings, so that none gains by a picture it failed at.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.table import Row, Series
from regrain_lab.metrics.registry import SCALES

__all__ = [
    "Comparison", "ComparisonRate", "Mean", "compare", "comparison_rate", "curves", "labels", "learned", "mean_of",
    "pictures_with", "without_single_settings",
]  # fmt: skip


_USUAL_RATE = 0.2


class Mean(NamedTuple):
    """One setting: mean bpp and mean of the metric over `images` pictures; `whole` if no picture is missing."""

    setting: str
    bpp: float
    value: float
    images: int
    whole: bool = True


class ComparisonRate(NamedTuple):
    """A rate in bits a pixel; `setting` is the one of the learned codec that has it, None without such a codec."""

    bpp: float
    setting: str | None


class Comparison(NamedTuple):
    """The BD-rate of one curve against another, and the number of pictures that it is over."""

    delta: bd.Delta
    images: int


def learned(series: Series) -> bool:
    """Whether the codec has weights, and so is not one of the encoders to measure against."""
    return bool(series.fingerprint)


def comparison_rate(rows: Sequence[Row]) -> ComparisonRate:
    """The rate to compare codecs at: that of regrain's files at the setting where they were decoded in most ways.

    These files are the same whatever realism and steps are. Of several such settings the one nearest to 0.2 bits a
    pixel counts.
    """
    own = [row for row in rows if learned(row.series) and row.bpp]
    ways = Counter(setting for setting, _ in {(row.setting, row.series) for row in own})
    if not ways:
        return ComparisonRate(_USUAL_RATE, None)
    rates = {name: mean_of((row for row in own if row.setting == name), lambda row: row.bpp) or 1.0 for name in ways}
    setting = max(ways, key=lambda name: (ways[name], -abs(math.log(rates[name] / _USUAL_RATE))))
    return ComparisonRate(rates[setting], setting)


def pictures_with(rows: Iterable[Row], metric: str) -> set[str]:
    """The pictures that have a figure of `metric` in any row; the others are too small for it."""
    return {row.image for row in rows if _has(row, metric)}


def curves(rows: Sequence[Row], metric: str, images: Collection[str] | None = None) -> dict[Series, tuple[Mean, ...]]:
    """The curve of each series over bpp, in the order of the rows; over the pictures in `images` alone if given.

    Values may be infinite (PSNR of equal pictures); a setting without any figure has no point.
    """
    among = pictures_with(rows, metric)
    among = among if images is None else among & set(images)
    groups: dict[Series, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if _has(row, metric) and row.image in among:
            groups[row.series][row.setting].append(row)
    return {
        series: tuple(
            sorted((_mean(name, own, metric, len(among)) for name, own in settings.items()), key=attrgetter("bpp"))
        )
        for series, settings in groups.items()
    }


def without_single_settings(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of series that have one setting alone while another of the same codec has several.

    Such a series is a way to decode that was tried at one rate: a point of a path, and no curve.
    """
    settings: dict[Series, set[str]] = defaultdict(set)
    for row in rows:
        settings[row.series].add(row.setting)
    swept = {(series.codec, series.fingerprint) for series, names in settings.items() if len(names) > 1}
    return [row for row in rows if len(settings[row.series]) > 1 or (row.codec, row.fingerprint) not in swept]


def compare(rows: Sequence[Row], metric: str, anchor: Series, test: Series) -> Comparison:
    """BD-rate in percent of `test` against `anchor`, over the pictures that both have at all of their settings."""
    both = [row for row in rows if row.series in (anchor, test) and _has(row, metric)]
    pictures: dict[tuple[Series, str], set[str]] = defaultdict(set)
    for row in both:
        pictures[row.series, row.setting].add(row.image)
    images = set.intersection(*pictures.values()) if both else set()
    means = curves(both, metric, images)
    points = [[(mean.bpp, mean.value) for mean in means.get(series, ())] for series in (anchor, test)]
    return Comparison(bd.bd_rate(*points, higher=SCALES[metric].higher), len(images))


def mean_of(rows: Iterable[Row], figure: Callable[[Row], float | None]) -> float | None:
    """The mean of a figure over the rows that have it; None when no row has."""
    values = [value for value in map(figure, rows) if value is not None]
    return statistics.fmean(values) if values else None


def labels(series: Iterable[Series]) -> dict[Series, str]:
    """A short name for each series: the codec, and the fields that tell it from others of the same codec."""
    distinct, names = list(dict.fromkeys(series)), {}
    for curve in distinct:
        same_codec = [other for other in distinct if other.codec == curve.codec]
        varying = [name for name in _WORDS if len({getattr(other, name) for other in same_codec}) > 1]
        values = {name: getattr(curve, name) for name in varying}
        words = [_WORDS[name].format(value) for name, value in values.items() if value not in ("", None)]
        names[curve] = " ".join([curve.codec, *words])
    return names


_WORDS: Mapping[str, str] = {
    "options": "({})",
    "version": "{}",
    "fingerprint": "{}",
    "realism": "realism {:g}",
    "steps": "steps {}",
    "seed": "seed {}",
}


def _has(row: Row, metric: str) -> bool:
    return row.bpp is not None and row.metrics.get(metric) is not None


def _mean(setting: str, rows: Sequence[Row], metric: str, among: int) -> Mean:
    bpp = statistics.fmean(row.bpp or 0.0 for row in rows)
    value = statistics.fmean(row.metrics[metric] or 0.0 for row in rows)
    return Mean(setting, bpp, value, len(rows), whole=len(rows) == among)
