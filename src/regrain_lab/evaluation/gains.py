"""Picture by picture, how far regrain is above an anchor at equal bytes; and, by rule, which pictures to look at.

    gain(picture, metric) = +-( regrain's value - the anchor's own curve of that picture, read at the same rate )

The sign makes a gain positive where regrain is the better one. Regrain's rows are those of its default decode at the
quality that has the common rate (`planes.fixed`). Nothing is extrapolated: where the anchor's curve of a picture does
not reach the rate, that picture has no gain. Of each metric the pictures of the largest and of the smallest gain are
chosen, and nobody's taste.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.contestants import OURS, Knobs
from regrain_lab.evaluation.curves import learned
from regrain_lab.evaluation.planes import fixed
from regrain_lab.evaluation.rows import Row, Series, metrics_of
from regrain_lab.metrics.registry import SCALES

__all__ = ["ANCHOR", "Choice", "Duel", "Gain", "chosen", "duel", "shown"]

ANCHOR = "AVIF"
DEFAULT = Knobs(seed=0, steps=1, realism=1.0)


class Gain(NamedTuple):
    """What regrain gains on one picture, in the metric's own unit; positive is better."""

    image: str
    value: float


@dataclass(frozen=True)
class Duel:
    """Regrain against the anchor: our rows by picture, and by metric the gains from the largest to the smallest.

    Pictures without a gain are not among them; a metric without any is left out.
    """

    setting: str
    ours: Mapping[str, Row]
    anchor: Series
    gains: Mapping[str, Sequence[Gain]]


class Choice(NamedTuple):
    """A picture to look at, and why: a line for each metric that it is an extreme of."""

    image: str
    reasons: Sequence[str]


def duel(rows: Sequence[Row]) -> Duel | str:
    """The gains that the table tells of, or in a sentence why it tells of none.

    Of several versions or weights the one whose rows were added last counts.
    """
    setting = fixed(rows).setting
    ours = _last([row for row in rows if _is_default(row) and row.setting == setting])
    if not ours:
        return "The table has no rows of regrain's default decode, realism 1 in one step, at the rate of comparison."
    theirs = _last([row for row in rows if row.codec == ANCHOR and not learned(row.series)])
    if not theirs:
        return f"The table has no rows of {ANCHOR}."
    found = {name: _gains(name, ours, theirs) for name in metrics_of(ours) if name in SCALES}
    gains = {name: values for name, values in found.items() if values}
    if not gains:
        return f"On no picture does the curve of {ANCHOR} reach the rate of regrain's file."
    return Duel(ours[0].setting, {row.image: row for row in ours}, theirs[0].series, gains)


def chosen(found: Duel) -> list[Choice]:
    """The pictures of the largest and the smallest gain of each metric, each picture once, as the metrics come."""
    reasons: dict[str, list[str]] = {}
    for metric, gains in found.gains.items():
        for word, gain in {"largest": gains[0], "smallest": gains[-1]}.items():
            reasons.setdefault(gain.image, []).append(f"{word} gain in {SCALES[metric].title}, {shown(metric, gain)}")
    return [Choice(image, lines) for image, lines in reasons.items()]


def shown(metric: str, gain: Gain) -> str:
    """A gain with its sign and unit."""
    scale = SCALES[metric]
    return f"{gain.value:+.{scale.digits}f}{f' {scale.unit}' if scale.unit else ''}"


def _is_default(row: Row) -> bool:
    return row.codec == OURS and (row.seed, row.steps, row.realism) == DEFAULT and row.bpp is not None


def _last(rows: Sequence[Row]) -> list[Row]:
    """The rows of the series that the last of them is of."""
    return [row for row in rows if row.series == rows[-1].series]


def _gains(metric: str, ours: Sequence[Row], theirs: Sequence[Row]) -> list[Gain]:
    """From the largest to the smallest; of equal ones the first by name stands first."""
    values = {row.image: _gain(metric, row, [other for other in theirs if other.image == row.image]) for row in ours}
    found = [Gain(image, value) for image, value in values.items() if value is not None]
    return sorted(found, key=lambda gain: (-gain.value, gain.image))


def _gain(metric: str, row: Row, anchor: Sequence[Row]) -> float | None:
    """None where the picture has no figure, or the curve through `anchor` does not reach the row's rate."""
    higher, value = SCALES[metric].higher, row.metrics.get(metric)
    points = [(other.bpp, other.metrics.get(metric)) for other in anchor]
    known = [(bpp, figure) for bpp, figure in points if bpp is not None and figure is not None]
    if value is None or row.bpp is None:
        return None
    theirs = bd.at_rate(known, row.bpp, higher=higher)
    return None if theirs is None else (value - theirs) * (1 if higher else -1)
