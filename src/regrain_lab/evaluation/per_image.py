"""Picture by picture, how far regrain is above an anchor at equal bytes; and, by rule, which pictures to look at.

    gain(picture, metric) = +-( regrain's value - the anchor's own curve of that picture, read at the same rate )

The sign makes a gain positive where regrain is the better one. Regrain's rows are those of its default decode at the
setting of `curves.comparison_rate`. Nothing is extrapolated: where the anchor's curve of a picture does not reach the
rate, that picture has no gain. Of each metric the pictures of the largest and of the smallest gain are chosen, so that
nobody's taste decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.codecs import REGRAIN, DecodeSetting
from regrain_lab.evaluation.curves import comparison_rate, learned
from regrain_lab.evaluation.table import Row, metrics_of
from regrain_lab.metrics.registry import SCALES

__all__ = ["ANCHOR", "DEFAULT", "Comparison", "Gain", "choose_pictures", "compare", "format_gain"]

ANCHOR = "AVIF"
DEFAULT = DecodeSetting(seed=0, steps=1, realism=1.0)


class Gain(NamedTuple):
    """Regrain's gain on one picture, in the metric's own unit; positive is better."""

    image: str
    value: float


@dataclass(frozen=True)
class Comparison:
    """Regrain against the anchor: our rows by picture, and by metric the gains from the largest to the smallest.

    Pictures without a gain are not among them; a metric without any is left out.
    """

    setting: str
    rows: Mapping[str, Row]
    gains: Mapping[str, Sequence[Gain]]


def compare(rows: Sequence[Row]) -> Comparison | str:
    """The gains in the table, or a sentence that says why there are none.

    Of several versions or weights the one whose rows were added last counts.
    """
    setting = comparison_rate(rows).setting
    ours = _last_series([row for row in rows if _is_default(row) and row.setting == setting])
    if not ours:
        return "The table has no rows of regrain's default decode, realism 1 in one step, at the rate of comparison."
    anchor = _last_series([row for row in rows if row.codec == ANCHOR and not learned(row.series)])
    if not anchor:
        return f"The table has no rows of {ANCHOR}."
    by_metric = {name: _gains(name, ours, anchor) for name in metrics_of(ours) if name in SCALES}
    gains = {name: values for name, values in by_metric.items() if values}
    if not gains:
        return f"On no picture does the curve of {ANCHOR} reach the rate of regrain's file."
    return Comparison(ours[0].setting, {row.image: row for row in ours}, gains)


def choose_pictures(comparison: Comparison) -> dict[str, list[str]]:
    """The pictures of the largest and the smallest gain of each metric, in the order of metrics, and why they are.

    Each picture has a line for each metric that it is an extreme of.
    """
    reasons: dict[str, list[str]] = {}
    for metric, gains in comparison.gains.items():
        for word, gain in {"largest": gains[0], "smallest": gains[-1]}.items():
            reason = f"{word} gain in {SCALES[metric].title}, {format_gain(metric, gain)}"
            reasons.setdefault(gain.image, []).append(reason)
    return reasons


def format_gain(metric: str, gain: Gain) -> str:
    """A gain with its sign and unit."""
    scale = SCALES[metric]
    return f"{gain.value:+.{scale.digits}f}{f' {scale.unit}' if scale.unit else ''}"


def _is_default(row: Row) -> bool:
    return row.codec == REGRAIN and (row.seed, row.steps, row.realism) == DEFAULT and row.bpp is not None


def _last_series(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.series == rows[-1].series]


def _gains(metric: str, ours: Sequence[Row], anchor: Sequence[Row]) -> list[Gain]:
    """From the largest to the smallest; of equal gains the first by name stands first."""
    values = {row.image: _gain(metric, row, [other for other in anchor if other.image == row.image]) for row in ours}
    gains = [Gain(image, value) for image, value in values.items() if value is not None]
    return sorted(gains, key=lambda gain: (-gain.value, gain.image))


def _gain(metric: str, row: Row, anchor: Sequence[Row]) -> float | None:
    """None where the picture has no figure, or the curve through `anchor` does not reach the row's rate."""
    higher, value = SCALES[metric].higher, row.metrics.get(metric)
    figures = [(other.bpp, other.metrics.get(metric)) for other in anchor]
    points = [(bpp, figure) for bpp, figure in figures if bpp is not None and figure is not None]
    if value is None or row.bpp is None:
        return None
    reference = bd.at_rate(points, row.bpp, higher=higher)
    return None if reference is None else (value - reference) * (1 if higher else -1)
