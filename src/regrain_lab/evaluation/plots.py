"""Charts: lines of points on one or more panels, the same look and the same colours on every one.

What was measured is solid, what others published is hollow, and a point that misses pictures is crossed. Drawn without
a display, and repeatably: the same points give the same bytes of SVG with the same version of matplotlib.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "Panel", "chart", "palette"]

Kind = Literal["ours", "other", "published"]

_OURS = ("#c1121f", "#e07a1f", "#8d0b5f", "#d4a017", "#7a1f1f", "#ff6f91")
_OTHERS = ("#1f77b4", "#2ca02c", "#17becf", "#7f7f7f", "#4b3fae", "#0b6e4f", "#9ab0c4", "#243b53", "#8fbc2b", "#5c6f7b")
_MARKERS = "sD^vP*<>hXd"
_WIDTH, _HEIGHT = 6.4, 4.6
_LEGEND = 2.6
_ROOM = 0.12
"""For the texts beside points, as a share of the axis at either end."""
_SALT = "regrain"


@dataclass(frozen=True)
class Line:
    """Points (x, y) of one label, in order; points that are not finite are left out.

    `partial` says of each whether pictures are missing, `texts` is written beside each; `joined` draws the line.
    """

    label: str
    points: Sequence[tuple[float, float]]
    kind: Kind = "other"
    joined: bool = True
    dashed: bool = False
    partial: Sequence[bool] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `x` and `y` are their labels; `log` is of x."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log: bool = False


def palette(lines: Iterable[tuple[str, Kind]], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each label, beside those `known`: warm ones are ours, cold ones the others'."""
    colours = dict(known or {})
    used = {"ours": 0, "other": 0, "published": 0}
    for label, kind in lines:
        if label not in colours:
            choice = _OURS if kind == "ours" else _OTHERS
            colours[label] = choice[used[kind] % len(choice)]
            used[kind] += 1
    return colours


def chart(panels: Sequence[Panel], colours: Mapping[str, str]) -> dict[str, bytes]:
    """The panels side by side and one legend, as the bytes of a `png` and of an `svg` file.

    `colours` are by label, as of `palette`; labels that it lacks get their own.
    """
    import matplotlib
    from matplotlib.figure import Figure

    colours = palette(((line.label, line.kind) for panel in panels for line in panel.lines), colours)

    with matplotlib.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH * len(panels) + _LEGEND, _HEIGHT), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel, colours)
        _legend(figure)
        return {"png": _file(figure, "png"), "svg": _file(figure, "svg")}


def _draw(axes: "Axes", panel: Panel, colours: Mapping[str, str]) -> None:
    if panel.log:
        _log_axis(axes)
    markers = {label: _MARKERS[index % len(_MARKERS)] for index, label in enumerate(colours)}
    for line in panel.lines:
        _draw_line(axes, line, colours.get(line.label, "black"), markers.get(line.label, "o"))
    if any(line.texts for line in panel.lines):
        axes.margins(x=_ROOM)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axes.grid(alpha=0.25, which="both", linewidth=0.5)


def _draw_line(axes: "Axes", line: Line, colour: str, marker: str) -> None:
    kept = [index for index, point in enumerate(line.points) if all(map(math.isfinite, point))]
    if not kept:
        return
    points = [line.points[index] for index in kept]
    ours, hollow = line.kind == "ours", line.kind == "published"
    axes.plot(
        *zip(*points, strict=True),
        label=line.label,
        color=colour,
        linestyle=("--" if hollow or line.dashed else "-") if line.joined else "none",
        linewidth=2.2 if ours else 1.2,
        marker="o" if ours else marker,
        markersize=5,
        markerfacecolor="white" if hollow else colour,
        zorder=3 if ours else 2,
    )
    for index in kept:
        if index < len(line.partial) and line.partial[index]:
            axes.plot(*line.points[index], color="black", marker="x", markersize=8, linestyle="none", zorder=4)
        if index < len(line.texts) and line.texts[index]:
            axes.annotate(
                line.texts[index],
                line.points[index],
                xytext=(5, -10 if line.dashed else 4),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )


def _log_axis(axes: "Axes") -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(figure: "Figure") -> None:
    """One legend for all panels, each label once, at the right."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside right upper", frameon=False, fontsize=8)


def _file(figure: "Figure", kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()
