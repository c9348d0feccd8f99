"""Rows -> panels of lines -> charts: rate against a metric, and, at one fixed rate, distortion against perception and
time against quality.

Points of this run are solid, those that are published or measured elsewhere are hollow, and a point that misses
pictures is crossed. At the fixed rate (`curves.comparison_rate`) the ways to decode regrain's files form a path at
equal bytes to the byte; every other codec is read off its curve (PCHIP over log-rate), and has no point where its curve
does not reach that rate. Charts are drawn without a display, and repeatably: the same points give the same bytes of SVG
with the same version of matplotlib.
"""

import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.codecs import DecodeSetting
from regrain_lab.evaluation.curves import (
    ComparisonRate,
    Mean,
    curves,
    labels,
    learned,
    mean_of,
    pictures_with,
    without_single_settings,
)
from regrain_lab.evaluation.published import ELSEWHERE, MARK, Published
from regrain_lab.evaluation.table import Row, Series, Timing
from regrain_lab.evaluation.timing import timing_of
from regrain_lab.metrics.registry import SCALES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Kind", "Line", "Panel", "assign_colours", "draw", "kind_of", "perception_distortion_panels", "rate_panel",
    "time_panels",
]  # fmt: skip

Kind = Literal["ours", "other", "published"]

_OURS = ("#c1121f", "#e07a1f", "#8d0b5f", "#d4a017", "#7a1f1f", "#ff6f91")
_OTHERS = ("#1f77b4", "#2ca02c", "#17becf", "#7f7f7f", "#4b3fae", "#0b6e4f", "#9ab0c4", "#243b53", "#8fbc2b", "#5c6f7b")
_MARKERS = "sD^vP*<>hXd"
_WIDTH, _HEIGHT = 6.4, 4.6
_LEGEND, _LEGEND_ROW = 2.6, 0.18
_ROOM = 0.12
"""Share of the axis at either end that texts beside points need."""
_SALT = "regrain"
_NEARBY = 1.25
"""Published points are drawn at a rate that differs by less than this factor."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Points (x, y) of one label, in order; points that are not finite are left out.

    `partial` says of each whether pictures are missing, `texts` is written beside each; `joined` draws the line, and
    `marked` a sign at each point.
    """

    label: str
    points: Sequence[Point]
    kind: Kind = "other"
    joined: bool = True
    marked: bool = True
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


def kind_of(series: Series) -> Kind:
    """How the series is drawn."""
    if learned(series):
        return "ours"
    return "published" if series.codec.endswith((f"({MARK})", f"({ELSEWHERE})")) else "other"


def rate_panel(rows: Sequence[Row], metric: str, published: Sequence[Published]) -> Panel:
    """The metric over the rate, a line for each series that is a curve, then the published points of that metric."""
    names = labels(row.series for row in rows)
    lines = [
        Line(
            names[series],
            [(mean.bpp, mean.value) for mean in means],
            kind_of(series),
            partial=[not mean.whole for mean in means],
        )
        for series, means in curves(without_single_settings(rows), metric).items()
    ]
    by_label: dict[str, list[Point]] = {}
    for point in published:
        if metric in point.metrics:
            by_label.setdefault(point.label, []).append((point.bpp, point.metrics[metric]))
    lines += [Line(label, sorted(points), "published", joined=False) for label, points in by_label.items()]
    return Panel(SCALES[metric].title, "bits a pixel", SCALES[metric].axis, lines, log=True)


def perception_distortion_panels(
    rows: Sequence[Row], metric: str, rate: ComparisonRate, published: Sequence[Published]
) -> list[Panel]:
    """PSNR across and a perceptual metric up, all at one rate: all codecs, then regrain's paths alone and larger.

    Its paths run over realism at each number of steps, and over steps at the highest realism.
    """
    paths = list(_paths(rows, metric, rate))
    lines = [replace(line, texts=()) for line in paths]
    images = pictures_with(rows, metric)
    psnr, perception = (curves(rows, name, images) for name in ("psnr", metric))
    names = labels(row.series for row in rows)
    for series in psnr:
        if series in perception and not learned(series):
            x, y = _read_off(psnr[series], rate.bpp, "psnr"), _read_off(perception[series], rate.bpp, metric)
            if x is not None and y is not None:
                lines.append(Line(names[series], [(x, y)], kind_of(series), joined=False))
    for point in published:
        if {"psnr", metric} <= point.metrics.keys() and 1 / _NEARBY < point.bpp / rate.bpp < _NEARBY:
            place = (point.metrics["psnr"], point.metrics[metric])
            lines.append(Line(point.label, [place], "published", joined=False, texts=[f"{point.bpp:.3f} bpp"]))
    axes = SCALES["psnr"].axis, SCALES[metric].axis
    alone = [Panel("Regrain alone, of the same files", *axes, paths)] if paths else []
    return [Panel(f"At {rate.bpp:.3f} bits a pixel", *axes, _by_kind(lines)), *alone]


def _paths(rows: Sequence[Row], metric: str, rate: ComparisonRate) -> Iterator[Line]:
    """For each learned codec a line over realism at each number of steps, and one over steps at the highest realism."""
    own = [row for row in rows if learned(row.series) and row.setting == rate.setting]
    names = labels(row.series._replace(steps=None, realism=None) for row in own)
    for codec, points in _points_by_setting(own, metric, pictures_with(rows, metric)).items():
        for steps in sorted({setting.steps or 0 for setting in points}):
            along = sorted((s for s in points if s.steps == steps), key=lambda setting: setting.realism or 0.0)
            texts = [f"r {setting.realism:g}" for setting in along]
            yield Line(f"{names[codec]}, steps {steps}", [points[s] for s in along], "ours", texts=texts)
        top = max(setting.realism or 0.0 for setting in points)
        along = sorted((s for s in points if s.realism == top), key=lambda setting: setting.steps or 0)
        if len(along) > 1:
            texts = [f"n {setting.steps}" for setting in along]
            label = f"{names[codec]}, realism {top:g}"
            yield Line(label, [points[s] for s in along], "ours", dashed=True, texts=texts)


def _points_by_setting(
    rows: Sequence[Row], metric: str, images: Collection[str]
) -> dict[Series, dict[DecodeSetting, Point]]:
    """By learned codec, whatever its way to decode, mean PSNR and metric of each of its ways."""
    psnr, perception = (curves(rows, name, images) for name in ("psnr", metric))
    points: dict[Series, dict[DecodeSetting, Point]] = {}
    for series in psnr:
        if series in perception and series.steps is not None and series.realism is not None:
            setting = DecodeSetting(series.seed, series.steps, series.realism)
            codec = points.setdefault(series._replace(steps=None, realism=None), {})
            codec[setting] = psnr[series][0].value, perception[series][0].value
    return points


def time_panels(rows: Sequence[Row], metric: str, rate: ComparisonRate, timings: Sequence[Timing] = ()) -> list[Panel]:
    """The metric at a rate over seconds to encode, and to decode, a picture at the setting nearest to it.

    The seconds are those of `timings`, warm, where they have any, and otherwise those that the rows were made in.
    """
    panels = []
    names = labels(row.series for row in rows)
    for title, field in (("Encoding", "encode_s"), ("Decoding", "decode_s")):
        lines = []
        for series, means in curves(rows, metric).items():
            nearest = min(means, key=lambda mean: abs(math.log(mean.bpp / rate.bpp)))
            own = [row for row in rows if row.series == series and row.setting == nearest.setting]
            seconds = getattr(timing_of(series, timings), field, None) or mean_of(own, attrgetter(field))
            is_at_rate = nearest.setting == rate.setting and learned(series)
            value = nearest.value if is_at_rate else _read_off(means, rate.bpp, metric)
            if seconds and value is not None:
                texts = [f"r {series.realism:g}, n {series.steps}"] if series.realism is not None else []
                lines.append(Line(names[series], [(seconds, value)], kind_of(series), joined=False, texts=texts))
        title = f"{title} at {rate.bpp:.3f} bits a pixel"
        panels.append(Panel(title, "seconds a picture", SCALES[metric].axis, _by_kind(lines), log=True))
    return panels


def _read_off(means: Sequence[Mean], bpp: float, metric: str) -> float | None:
    return bd.at_rate([(mean.bpp, mean.value) for mean in means], bpp, higher=SCALES[metric].higher)


def _by_kind(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: ("ours", "other", "published").index(line.kind))


def assign_colours(lines: Iterable[tuple[str, Kind]], colours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Add a colour for each label to `colours`: warm ones are ours, cold ones the others'."""
    assigned = dict(colours or {})
    count = {"ours": 0, "other": 0, "published": 0}
    for label, kind in lines:
        if label not in assigned:
            choice = _OURS if kind == "ours" else _OTHERS
            assigned[label] = choice[count[kind] % len(choice)]
            count[kind] += 1
    return assigned


def draw(panels: Sequence[Panel], colours: Mapping[str, str]) -> dict[str, bytes]:
    """The panels side by side and one legend, as the bytes of a `png` and of an `svg` file.

    `colours` are by label, as `assign_colours` gives them; labels without one get their own.
    """
    import matplotlib
    from matplotlib.figure import Figure

    colours = assign_colours(((line.label, line.kind) for panel in panels for line in panel.lines), colours)

    with matplotlib.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none", "font.size": 9}):
        height = max(_HEIGHT, _LEGEND_ROW * len({line.label for panel in panels for line in panel.lines}))
        figure = Figure(figsize=(_WIDTH * len(panels) + _LEGEND, height), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw_panel(axes, panel, colours)
        _legend(figure)
        return {"png": _file(figure, "png"), "svg": _file(figure, "svg")}


def _draw_panel(axes: "Axes", panel: Panel, colours: Mapping[str, str]) -> None:
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
    finite = [index for index, point in enumerate(line.points) if all(map(math.isfinite, point))]
    if not finite:
        return
    points = [line.points[index] for index in finite]
    ours, hollow = line.kind == "ours", line.kind == "published"
    axes.plot(
        *zip(*points, strict=True),
        label=line.label,
        color=colour,
        linestyle=("--" if hollow or line.dashed else "-") if line.joined else "none",
        linewidth=2.2 if ours else 1.2,
        marker=("o" if ours else marker) if line.marked else "",
        markersize=5,
        markerfacecolor="white" if hollow else colour,
        zorder=3 if ours else 2,
    )
    for index in finite:
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
