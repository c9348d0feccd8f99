"""The tables of a report: codecs, BD-rates by metric, the means behind every chart, gains picture by picture, times,
distributions, and failures.

Invariant: a mean over fewer pictures than others, or a comparison over a part of a curve, is marked in its cell.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import zip_longest
from operator import attrgetter

from regrain_lab.evaluation.curves import (
    Comparison,
    Mean,
    compare,
    curves,
    labels,
    learned,
    mean_of,
    pictures_with,
    without_single_settings,
)
from regrain_lab.evaluation.page import Table
from regrain_lab.evaluation.per_image import Comparison as Gains
from regrain_lab.evaluation.per_image import Gain, format_gain
from regrain_lab.evaluation.table import Distribution, Row, Series, Timing
from regrain_lab.evaluation.timing import reference_of
from regrain_lab.metrics.registry import SCALES

__all__ = [
    "bd_rates", "codecs", "distributions", "extreme_gains", "failures", "means", "smallest_gains", "stages", "times",
]  # fmt: skip

_SHORT = 0.5


def codecs(rows: Sequence[Row]) -> Table:
    """A line for each series: version, options, weights, threads, and how many of its rows failed."""
    names = labels(row.series for row in rows)
    head = ["codec", "version", "fixed settings", "weights", "threads", "settings tried", "rows", "failed"]
    lines = []
    for series, own in _by_series(rows).items():
        threads = ", ".join(dict.fromkeys(str(row.threads) for row in own if row.threads))
        counts = [len({row.setting for row in own}), len(own), sum(bool(row.error) for row in own)]
        texts = [series.version, series.options, series.fingerprint, threads]
        lines.append([names[series], *texts, *map(str, counts)])
    return Table(head, lines, left=5)


def bd_rates(rows: Sequence[Row], metric: str) -> Table | None:
    """BD-rates in percent of every series (rows) against every codec without weights (columns); None without those.

    Series that have no figure of the metric, or that are no curve, do not appear.
    """
    swept = curves(without_single_settings(rows), metric)
    names = {series: name for series, name in labels(row.series for row in rows).items() if series in swept}
    anchors = [series for series in names if not learned(series)]
    pictures = len(pictures_with(rows, metric))
    head = [f"{SCALES[metric].title}, against", *(names[anchor] for anchor in anchors)]

    def _line(test: Series) -> list[str]:
        others = ((anchor, compare(rows, metric, anchor, test)) for anchor in anchors)
        return [names[test], *("" if test == anchor else _bd_cell(delta, pictures) for anchor, delta in others)]

    return Table(head, list(map(_line, names))) if anchors else None


def means(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """A line for each series and setting: pictures, mean bpp, metrics, seconds and memory."""
    names = labels(row.series for row in rows)
    by_setting = {
        (series, mean.setting, metric): mean
        for metric in metrics
        for series, points in curves(rows, metric).items()
        for mean in points
    }
    pictures = len({row.image for row in rows if row.bpp is not None})
    head = ["codec", "setting", "pictures", "bpp", *(SCALES[name].title for name in metrics)]
    lines = []
    for series, setting in dict.fromkeys((row.series, row.setting) for row in rows):
        own = [row for row in rows if (row.series, row.setting) == (series, setting) and not row.error]
        count = f"{len(own)}{'' if len(own) == pictures else '*'}"
        cells = [_cell(by_setting.get((series, setting, metric)), SCALES[metric].digits) for metric in metrics]
        costs = [_mean(own, name, digits) for name, digits in (("encode_s", 3), ("decode_s", 3), ("peak_mb", 0))]
        lines.append([names[series], setting, count, _mean(own, "bpp", 3), *cells, *costs])
    return Table([*head, "encode s", "decode s", "peak MB"], lines)


def failures(rows: Sequence[Row], most: int) -> Table:
    """The first `most` rows that failed, each with its error."""
    names = labels(row.series for row in rows)
    failed = [row for row in rows if row.error][:most]
    lines = [[names[row.series], row.setting, row.image, row.error] for row in failed]
    return Table(["codec", "setting", "picture", "error"], lines, left=4)


def extreme_gains(comparison: Gains) -> Table:
    """By metric the pictures of the largest and of the smallest gain, and how many pictures gain at all."""
    head = ["metric", "largest gain on", "smallest gain on", "pictures", "gains", "largest", "mean", "smallest"]
    lines = []
    for metric, gains in comparison.gains.items():
        values = [gain.value for gain in gains]
        mean = Gain("", statistics.fmean(values))
        figures = [format_gain(metric, gain) for gain in (gains[0], mean, gains[-1])]
        names = [SCALES[metric].title, gains[0].image, gains[-1].image]
        lines.append([*names, str(len(values)), str(sum(value > 0 for value in values)), *figures])
    return Table(head, lines, left=3)


def smallest_gains(comparison: Gains, most: int) -> Table:
    """By metric, a column each, the `most` pictures with the smallest gains, from the smallest."""
    head = ["", *(SCALES[metric].title for metric in comparison.gains)]
    columns = [
        [f"{gain.image} {format_gain(metric, gain)}" for gain in reversed(gains)][:most]
        for metric, gains in comparison.gains.items()
    ]
    ranks = map(str, range(1, 1 + max(map(len, columns))))
    return Table(head, [list(cells) for cells in zip_longest(ranks, *columns, fillvalue="")])


_TIMES = ("encode_s", "decode_s", "cold_encode_s", "cold_decode_s")
_STAGES = {"analyse_s": "encode_s", "code_s": "encode_s", "symbols_s": "decode_s", "regrow_s": "decode_s"}
"""Columns of stages, and of the whole that each is a stage of."""


def times(timings: Sequence[Timing], among: Sequence[Timing]) -> Table:
    """Seconds warm and cold, and as multiples of the reference's in the same run, which is one of `among`."""
    names = labels(timing.series for timing in timings)
    head = ["codec", "setting", "threads", *(f"{name.removesuffix('_s').replace('_', ' ')} s" for name in _TIMES)]
    lines = []
    for timing in timings:
        reference = reference_of(timing, among)
        cells = [_multiple(getattr(timing, name), getattr(reference, name, None)) for name in _TIMES]
        lines.append([names[timing.series], timing.setting, str(timing.threads), *cells])
    return Table(head, lines)


def stages(timings: Sequence[Timing]) -> Table | None:
    """Seconds of both stages of encoding and of decoding, with their share; None where no codec has them."""
    names = labels(timing.series for timing in timings)
    head = ["codec", "encode: analyse s", "encode: code s", "decode: symbols s", "decode: regrow s"]
    lines = []
    for timing in timings:
        seconds = {name: getattr(timing, name) for name in _STAGES}
        if any(value is not None for value in seconds.values()):
            cells = (_share(seconds[name], getattr(timing, whole)) for name, whole in _STAGES.items())
            lines.append([names[timing.series], *cells])
    return Table(head, lines) if lines else None


def distributions(records: Sequence[Distribution]) -> Table:
    """A line for each codec, setting and way to decode: mean bpp, patches, and a thousand times both distances."""
    names = labels(record.series for record in records)
    head = ["codec", "setting", "bpp", "patches", "1000 KID", "1000 Gram"]
    lines = []
    for record in records:
        rate = "" if record.bpp is None else f"{record.bpp:.3f}"
        distances = _distance(record.kid, record.kid_error), _distance(record.gram, record.gram_error)
        lines.append([names[record.series], record.setting, rate, str(record.patches), *distances])
    return Table(head, lines)


def _distance(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{1000 * value:.3f}" + ("" if error is None else f" ± {1000 * error:.3f}")


def _multiple(seconds: float | None, reference: float | None) -> str:
    if seconds is None:
        return ""
    return _seconds(seconds) + (f" ({_seconds(seconds / reference)} x)" if reference else "")


def _share(stage: float | None, whole: float | None) -> str:
    return "" if stage is None or not whole else f"{_seconds(stage)} ({100 * stage / whole:.0f} %)"


def _seconds(value: float) -> str:
    """Two significant digits at least, and never an exponent: from 0.00093 to 22253."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _by_series(rows: Sequence[Row]) -> dict[Series, list[Row]]:
    groups: dict[Series, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.series, []).append(row)
    return groups


def _bd_cell(comparison: Comparison, pictures: int) -> str:
    if not comparison.images:
        return "no common picture"
    delta = comparison.delta
    if delta.value is None:
        return "no overlap" if "overlap" in delta.reason else delta.reason
    marks = ("†" if delta.share < _SHORT else "") + ("‡" if delta.left_out else "")
    return f"{delta.value:+.1f} %{marks}" + (f" ({comparison.images})" if comparison.images < pictures else "")


def _cell(mean: Mean | None, digits: int) -> str:
    return "" if mean is None else _figure(mean.value, digits) + ("" if mean.whole else "*")


def _mean(rows: Sequence[Row], column: str, digits: int) -> str:
    value = mean_of(rows, attrgetter(column))
    return "" if value is None else _figure(value, digits)


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "equal"
