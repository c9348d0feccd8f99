"""The tables of a report: who took part, BD-rates by metric, the means behind every chart, gains picture by picture,
times, and what failed.

Invariant: a mean over fewer pictures than others, or a comparison over a part of a curve, is marked in its cell.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

from regrain_lab.evaluation.curves import (
    Comparison,
    Mean,
    compare,
    curves,
    labels,
    learned,
    mean_of,
    pictures_with,
    spread,
)
from regrain_lab.evaluation.gains import Duel, Gain, shown
from regrain_lab.evaluation.page import Table
from regrain_lab.evaluation.rows import Row, Series
from regrain_lab.evaluation.timings import Timing, against
from regrain_lab.metrics.registry import SCALES

__all__ = ["bd_rates", "codecs", "extremes", "failures", "means", "stages", "times", "worst"]

_SHORT = 0.5


def codecs(rows: Sequence[Row]) -> Table:
    """A line for each series: version, settings, weights, threads, and how many rows of it failed."""
    names = labels(row.series for row in rows)
    head = ["codec", "version", "fixed settings", "weights", "threads", "settings tried", "rows", "failed"]
    lines = []
    for series, own in _by_series(rows).items():
        threads = ", ".join(dict.fromkeys(str(row.threads) for row in own if row.threads))
        counts = [len({row.setting for row in own}), len(own), sum(bool(row.error) for row in own)]
        facts = [series.version, series.options, series.fingerprint, threads]
        lines.append([names[series], *facts, *map(str, counts)])
    return Table(head, lines, left=5)


def bd_rates(rows: Sequence[Row], metric: str) -> Table | None:
    """BD-rates in percent of every series (rows) against every codec without weights (columns); None without those.

    Series that have no figure of the metric, or that are no curve, do not appear.
    """
    drawn = curves(spread(rows), metric)
    names = {series: name for series, name in labels(row.series for row in rows).items() if series in drawn}
    anchors = [series for series in names if not learned(series)]
    every = len(pictures_with(rows, metric))
    head = [f"{SCALES[metric].title}, against", *(names[anchor] for anchor in anchors)]

    def _line(test: Series) -> list[str]:
        found = ["" if test == anchor else _saved(compare(rows, metric, anchor, test), every) for anchor in anchors]
        return [names[test], *found]

    return Table(head, list(map(_line, names))) if anchors else None


def means(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """A line for each series and setting: pictures, mean bpp, metrics, seconds and memory."""
    names = labels(row.series for row in rows)
    found = {
        (series, mean.setting, metric): mean
        for metric in metrics
        for series, points in curves(rows, metric).items()
        for mean in points
    }
    every = len({row.image for row in rows if row.bpp is not None})
    head = ["codec", "setting", "pictures", "bpp", *(SCALES[name].title for name in metrics)]
    lines = []
    for series, setting in dict.fromkeys((row.series, row.setting) for row in rows):
        own = [row for row in rows if (row.series, row.setting) == (series, setting) and not row.error]
        count = f"{len(own)}{'' if len(own) == every else '*'}"
        cells = [_cell(found.get((series, setting, metric)), SCALES[metric].digits) for metric in metrics]
        lines.append([names[series], setting, count, _mean(own, lambda row: row.bpp, 3), *cells, *_costs(own)])
    return Table([*head, "encode s", "decode s", "peak MB"], lines)


def failures(rows: Sequence[Row], most: int) -> Table:
    """The first `most` rows that failed, and why."""
    names = labels(row.series for row in rows)
    failed = [row for row in rows if row.error][:most]
    lines = [[names[row.series], row.setting, row.image, row.error] for row in failed]
    return Table(["codec", "setting", "picture", "error"], lines, left=4)


def extremes(found: Duel) -> Table:
    """By metric the pictures of the largest and of the smallest gain, and of how many there is one."""
    head = ["metric", "largest gain on", "smallest gain on", "pictures", "gains", "largest", "mean", "smallest"]
    lines = []
    for metric, all_gains in found.gains.items():
        values = [gain.value for gain in all_gains]
        mean = Gain("", statistics.fmean(values))
        above = f"{sum(value > 0 for value in values)}"
        figures = [shown(metric, gain) for gain in (all_gains[0], mean, all_gains[-1])]
        names = [SCALES[metric].title, all_gains[0].image, all_gains[-1].image]
        lines.append([*names, str(len(values)), above, *figures])
    return Table(head, lines, left=3)


def worst(found: Duel, most: int) -> Table:
    """By metric, a column each, the `most` pictures with the smallest gains, from the smallest."""
    head = ["", *(SCALES[metric].title for metric in found.gains)]
    lines = []
    for index in range(min(most, max(map(len, found.gains.values())))):
        ranked = {metric: all_gains[-1 - index] for metric, all_gains in found.gains.items() if index < len(all_gains)}
        cells = {metric: f"{gain.image} {shown(metric, gain)}" for metric, gain in ranked.items()}
        lines.append([str(index + 1), *(cells.get(metric, "") for metric in found.gains)])
    return Table(head, lines)


_TIMES = ("encode_s", "decode_s", "cold_encode_s", "cold_decode_s")
_STAGES = ("analyse_s", "code_s", "symbols_s", "regrow_s")


def times(timings: Sequence[Timing], among: Sequence[Timing]) -> Table:
    """Seconds of each, warm and cold, and as multiples of the reference's in the same run, which is one of `among`."""
    names = labels(timing.series for timing in timings)
    head = ["codec", "setting", "threads", *(f"{name.removesuffix('_s').replace('_', ' ')} s" for name in _TIMES)]
    lines = []
    for timing in timings:
        one = against(timing, among)
        cells = [_multiple(getattr(timing, name), getattr(one, name, None)) for name in _TIMES]
        lines.append([names[timing.series], timing.setting, str(timing.threads), *cells])
    return Table(head, lines)


def stages(timings: Sequence[Timing]) -> Table | None:
    """Seconds of both parts of encoding and of decoding, with their share; None where nobody has them."""
    names = labels(timing.series for timing in timings)
    head = ["codec", "encode: analyse s", "encode: code s", "decode: symbols s", "decode: regrow s"]
    wholes = ("encode_s", "encode_s", "decode_s", "decode_s")
    lines = []
    for timing in timings:
        parts = [(getattr(timing, part), getattr(timing, whole)) for part, whole in zip(_STAGES, wholes, strict=True)]
        if any(part is not None for part, _ in parts):
            lines.append([names[timing.series], *(_share(part, whole) for part, whole in parts)])
    return Table(head, lines) if lines else None


def _multiple(seconds: float | None, one: float | None) -> str:
    if seconds is None:
        return ""
    return _seconds(seconds) + (f" ({_seconds(seconds / one)} x)" if one else "")


def _share(part: float | None, whole: float | None) -> str:
    return "" if part is None or not whole else f"{_seconds(part)} ({100 * part / whole:.0f} %)"


def _seconds(value: float) -> str:
    """Two significant digits at least, and never an exponent: from 0.00093 to 22253."""
    return f"{value:.2g}" if value < 0.1 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _by_series(rows: Sequence[Row]) -> dict[Series, list[Row]]:
    found: dict[Series, list[Row]] = {}
    for row in rows:
        found.setdefault(row.series, []).append(row)
    return found


def _saved(found: Comparison, every: int) -> str:
    """The cell of one BD-rate."""
    if not found.images:
        return "no common picture"
    delta = found.delta
    if delta.value is None:
        return "no overlap" if "overlap" in delta.reason else delta.reason
    marks = ("†" if delta.share < _SHORT else "") + ("‡" if delta.left_out else "")
    return f"{delta.value:+.1f} %{marks}" + (f" ({found.images})" if found.images < every else "")


def _cell(mean: Mean | None, digits: int) -> str:
    return "" if mean is None else _figure(mean.value, digits) + ("" if mean.whole else "*")


def _costs(rows: Sequence[Row]) -> Iterator[str]:
    yield _mean(rows, lambda row: row.encode_s, 3)
    yield _mean(rows, lambda row: row.decode_s, 3)
    yield _mean(rows, lambda row: row.peak_mb, 0)


def _mean(rows: Sequence[Row], figure: Callable[[Row], float | None], digits: int) -> str:
    value = mean_of(rows, figure)
    return "" if value is None else _figure(value, digits)


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "equal"
