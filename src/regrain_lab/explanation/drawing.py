"""Pictures in a row, and lines, of one photo: by the sheets and the charts of the evaluation room."""

from collections.abc import Iterable, Mapping, Sequence

from regrain import image
from regrain_lab.evaluation import charts
from regrain_lab.evaluation.charts import Kind, Line, Panel
from regrain_lab.evaluation.contact_sheet import Box, Column, Strip, draw
from regrain_lab.explanation.reverse import Estimate
from regrain_lab.explanation.subject import Subject

__all__ = ["chart", "choose", "curve", "estimate_columns", "sheet"]

_WIDEST = 230
"""Pixels of a small picture's panel, which it is magnified to in whole steps."""


def sheet(strips: Mapping[str, Sequence[Column]]) -> bytes:
    """A PNG of rows of whole pictures, each below its heading."""
    drawn = draw([_strip(heading, columns) for heading, columns in strips.items()])
    return image.to_file(image.Picture(drawn), "PNG", "sheet")


def _strip(heading: str, columns: Sequence[Column]) -> Strip:
    rows, across = columns[0].pixels.shape[:2]
    return Strip(heading, columns, Box(0, 0, across, rows), max(1, _WIDEST // max(rows, across)))


def chart(panels: Sequence[Panel]) -> bytes:
    """A PNG of panels side by side."""
    return charts.draw(panels, {})["png"]


def curve(label: str, points: Iterable[tuple[float, float]], *, kind: Kind = "ours", formula: bool = False) -> Line:
    """A line without marks; what a formula says is dashed and thin."""
    return Line(label, list(points), "other" if formula else kind, marked=False, dashed=formula)


def choose(states: Sequence[Estimate], count: int) -> list[Estimate]:
    """At most `count` of the states, evenly, the first and the last among them.

    >>> [one.log_snr for one in choose([Estimate(n, None, None) for n in range(9)], 3)]
    [0, 4, 8]
    """
    count = min(count, len(states))
    return [states[round(k * (len(states) - 1) / max(1, count - 1))] for k in range(count)]


def estimate_columns(
    subject: Subject, states: Sequence[Estimate], figures: Sequence[str]
) -> tuple[list[Column], list[Column]]:
    """The states x_t as columns, and the estimates from them with a figure each."""
    noisy = [Column(f"log-SNR {one.log_snr:.1f}", subject.to_pixels(one.x_t), ["x_t"]) for one in states]
    clean = [
        Column(f"log-SNR {one.log_snr:.1f}", subject.to_pixels(one.x_0), ["estimate of x_0", text])
        for one, text in zip(states, figures, strict=True)
    ]
    return noisy, clean
