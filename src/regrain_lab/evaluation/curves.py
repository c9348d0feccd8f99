"""Rows -> curves: at each setting the mean over pictures of both axes, over the same pictures.

    point(setting) = ( mean_i bpp_i ,  mean_i metric_i ) ,   i over the pictures that have a figure there

Invariants: no picture counts on one axis alone; a point that misses pictures which others have says so (`whole`); two
curves are compared on the pictures that both have at all their settings, so that none gains by a picture it failed at.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.rows import Row, Series
from regrain_lab.metrics.registry import SCALES

__all__ = [
    "Comparison",
    "Mean",
    "compare",
    "curves",
    "labels",
    "learned",
    "mean_of",
    "pictures_with",
    "spread",
    "varying",
]


class Mean(NamedTuple):
    """One setting: mean bpp and mean of the metric over `images` pictures; `whole` if no picture is missing."""

    setting: str
    bpp: float
    value: float
    images: int
    whole: bool = True


class Comparison(NamedTuple):
    """The BD-rate of one curve against another, and the number of pictures that it is over."""

    delta: bd.Delta
    images: int


def learned(series: Series) -> bool:
    """Whether the codec has weights, and so is not one of the encoders to measure against."""
    return bool(series.fingerprint)


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
        series: tuple(sorted((_mean(name, found, metric, len(among)) for name, found in settings.items()), key=_by_bpp))
        for series, settings in groups.items()
    }


def spread(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of series that have one setting alone while another of the same codec has several.

    Such a series is a way to decode that was tried at one rate: a point of a path, and no curve.
    """
    settings: dict[Series, set[str]] = defaultdict(set)
    for row in rows:
        settings[row.series].add(row.setting)
    several = {(one.codec, one.fingerprint) for one, found in settings.items() if len(found) > 1}
    return [row for row in rows if len(settings[row.series]) > 1 or (row.codec, row.fingerprint) not in several]


def compare(rows: Sequence[Row], metric: str, anchor: Series, test: Series) -> Comparison:
    """BD-rate in percent of `test` against `anchor`, over the pictures that both have at all of their settings."""
    both = [row for row in rows if row.series in (anchor, test) and _has(row, metric)]
    images = set.intersection(*_pictures_by_setting(both).values()) if both else set()
    found = curves(both, metric, images)
    points = [[(mean.bpp, mean.value) for mean in found.get(series, ())] for series in (anchor, test)]
    return Comparison(bd.bd_rate(*points, higher=SCALES[metric].higher), len(images))


def mean_of(rows: Iterable[Row], figure: Callable[[Row], float | None]) -> float | None:
    """The mean of what `figure` finds in the rows, without its Nones; None when there are no others."""
    found = [value for value in map(figure, rows) if value is not None]
    return statistics.fmean(found) if found else None


def labels(series: Iterable[Series]) -> dict[Series, str]:
    """A short name for each: the codec, and what tells it from others of the same codec."""
    every = list(dict.fromkeys(series))
    return {one: " ".join([one.codec, *_distinguishing(one, every)]) for one in every}


def varying(series: Iterable[Series]) -> set[str]:
    """The fields that are not the same in all of `series`."""
    every = list(series)
    return {name for name in Series._fields if len({getattr(one, name) for one in every}) > 1}


_WORDS: Mapping[str, str] = {
    "options": "({})",
    "version": "{}",
    "fingerprint": "{}",
    "realism": "realism {:g}",
    "steps": "steps {}",
    "seed": "seed {}",
}


def _distinguishing(one: Series, every: Sequence[Series]) -> list[str]:
    different = varying(other for other in every if other.codec == one.codec)
    return [
        words.format(getattr(one, name))
        for name, words in _WORDS.items()
        if name in different and getattr(one, name) not in ("", None)
    ]


def _has(row: Row, metric: str) -> bool:
    return row.bpp is not None and row.metrics.get(metric) is not None


def _pictures_by_setting(rows: Iterable[Row]) -> dict[tuple[Series, str], set[str]]:
    found: dict[tuple[Series, str], set[str]] = defaultdict(set)
    for row in rows:
        found[row.series, row.setting].add(row.image)
    return found


def _mean(setting: str, rows: Sequence[Row], metric: str, among: int) -> Mean:
    bpp = statistics.fmean(row.bpp or 0.0 for row in rows)
    value = statistics.fmean(row.metrics[metric] or 0.0 for row in rows)
    return Mean(setting, bpp, value, len(rows), whole=len(rows) == among)


def _by_bpp(mean: Mean) -> float:
    return mean.bpp
