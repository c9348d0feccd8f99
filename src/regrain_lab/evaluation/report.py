"""The report of an evaluation, made from its tables alone: charts, BD-rates and means, as RESULTS.md and results.html.

Nothing is measured here, so that whoever has the tables can draw the page again, but for the sheet of crops. What is a
mean says over how many pictures, what others published is marked, and where two curves share no range the page says so
instead of a number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation import gains, planes, plots, tables
from regrain_lab.evaluation.curves import curves, labels
from regrain_lab.evaluation.distributions import Distribution
from regrain_lab.evaluation.distributions import blocks as distributed
from regrain_lab.evaluation.page import Block, Heading, Picture, Text, html, markdown
from regrain_lab.evaluation.published import Published, elsewhere, points
from regrain_lab.evaluation.rows import Row, metrics_of
from regrain_lab.evaluation.timings import Timing, against, latest
from regrain_lab.metrics.registry import SCALES

if TYPE_CHECKING:
    from regrain_lab.evaluation.crops import Crops

__all__ = ["CSV", "DISTRIBUTIONS", "HTML", "MARKDOWN", "TIMINGS", "Beside", "report"]

CSV, TIMINGS, MARKDOWN, HTML = "results.csv", "timings.csv", "RESULTS.md", "results.html"
DISTRIBUTIONS = "distributions.csv"
_CHARTS = "results"
_CROPS = f"{_CHARTS}/crops.webp"
_MOST_FAILURES = 20
_WORST = 10

_BD = (
    "Bits saved (negative) or spent (positive) at equal quality: BD-rate, PCHIP over log-rate, on the range of quality "
    "that both curves have. Rows against columns. † the shared range is under half of the shorter curve's; ‡ a setting "
    "that another of the same codec betters at no larger a rate took no part; a number in brackets: the pictures that "
    "both have, where these are not all."
)
_AT = (
    "At the rate of regrain's own files at the quality where it was decoded in most ways; its files there are the same "
    "for every realism (r) and number of steps (n). Other codecs are read off their curves at that rate; one whose "
    "curve does not reach it is not shown."
)
_GAINS = (
    "Regrain's default decode (realism 1, one step) at quality {setting}, less the value of {anchor}'s own curve of "
    "the same picture at the same bytes, with the sign turned where lower is better: a positive gain is regrain's. A "
    "picture whose curve does not reach there takes no part. “Gains” counts the pictures where it is over 0."
)
_SWEPT = "Seconds in the rows are those of the sweep, where several processes may have shared the machine; "
_TIME = (
    "Seconds of wall-clock time, taken while nothing else of the evaluation ran, each codec with the threads it takes "
    "by itself and at the setting nearest to the rate of comparison. Warm: means over pictures of the median of five "
    "calls, after one that does not count; in each round all codecs take turns. Cold: the first call in a fresh "
    "process, one picture, from the start of the interpreter over imports, weights and reading the picture to the file "
    "or the pixels; of regrain at the fewest steps. In brackets: multiples of the reference in the same run "
    "({reference}). Time hardly depends on realism: it was taken at the highest. The charts of time show the warm ones."
)
_STAGES = (
    "Analyse: the network that turns pixels into latents. Code: all the rest of encoding. Symbols: the file to its "
    "latents. Regrow: latents to pixels, the diffusion decoder. Each is a median of its own: shares need not add up."
)
_MEANS = (
    "Means over pictures at each setting, of both axes over the same pictures. * a setting at which pictures are "
    "missing that others have, and which is therefore no like-for-like mean (crossed in the charts). Seconds here are "
    "those of the sweep."
)


@dataclass(frozen=True)
class Beside:
    """What was made beside the table of rows; the page does without what is not there."""

    timings: Sequence[Timing] = ()
    crops: "Crops | None" = None
    distributions: Sequence[Distribution] = ()


@dataclass
class _Charts:
    """The charts of a page, by address without suffix; drawing one gives its block."""

    colours: dict[str, str]
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, name: str, panels: Sequence[plots.Panel], shows: str) -> Picture:
        address = f"{_CHARTS}/{name}"
        self.files[address] = plots.chart(panels, self.colours)
        return Picture(f"{address}.svg", shows)


def report(
    rows: Sequence[Row], folder: Path, *, reference: Path | None = None, beside: Beside | None = None
) -> list[Path]:
    """Write the page and its charts (PNG and SVG) into `folder`; return the files.

    `reference` may hold tables of published figures (see `published`). Raises UsageError where there is no row without
    an error or a reference cannot be read, OutputError where a file cannot be written.
    """
    images = {row.image: (row.width or 0) * (row.height or 0) for row in rows if not row.error}
    if not images:
        raise UsageError("there is nothing to report: the table has no row without an error")
    found, note = ([], "") if reference is None else points(reference, images)
    every = [*rows, *([] if reference is None else elsewhere(reference, images))]
    names = labels(row.series for row in every)
    lines: list[tuple[str, plots.Kind]] = [(name, planes.kind(series)) for series, name in names.items()]
    charts = _Charts(plots.palette([*lines, *((point.label, "published") for point in found)]))
    beside = beside or Beside()
    blocks = list(_page(every, len(images), found, note, charts, beside))
    files = {MARKDOWN: markdown(blocks).encode()}
    files |= {f"{name}.{kind}": data for name, both in charts.files.items() for kind, data in both.items()}
    if beside.crops is not None and beside.crops.webp is not None:
        files[_CROPS] = beside.crops.webp
    drawn = {name: data for name, data in files.items() if name.endswith((".svg", ".webp"))}
    return _written({**files, HTML: html(blocks, drawn).encode()}, folder)


def _written(files: dict[str, bytes], folder: Path) -> list[Path]:
    from regrain.image import write_bytes

    try:
        (folder / _CHARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder / _CHARTS}: {error.strerror or error}") from error
    for name, data in files.items():
        write_bytes(data, folder / name)
    return [folder / name for name in files]


def _page(
    rows: Sequence[Row], images: int, published: Sequence[Published], note: str, charts: _Charts, beside: Beside
) -> Iterator[Block]:
    metrics = [name for name in metrics_of(rows) if name in SCALES and curves(rows, name)]
    yield Heading(f"Results on {images} pictures" if images > 1 else "Results on one picture", 1)
    yield from _preface(rows, note, timed=bool(beside.timings))
    yield Heading("Codecs")
    yield tables.codecs(rows)
    yield Heading("Rate and quality")
    for metric in metrics:
        panel = planes.rate(rows, metric, published)
        yield charts.add(f"rate-{metric}", [panel], f"{SCALES[metric].title} over bits a pixel")
        if SCALES[metric].note:
            yield Text(f"{SCALES[metric].title}: {SCALES[metric].note}.")
    yield from _bd_rates(rows, metrics)
    yield from _at_one_rate(rows, metrics, published, charts, beside.timings)
    yield from _picture_by_picture(rows, beside.crops)
    yield from _time(rows, beside.timings)
    yield from distributed(beside.distributions)
    yield Heading("Means")
    yield Text(_MEANS)
    yield tables.means(rows, metrics)
    yield from _failures(rows)


def _preface(rows: Sequence[Row], note: str, *, timed: bool) -> Iterator[Block]:
    """What a reader must know of all figures."""
    own = [row for row in rows if row.width and row.height]
    sizes = sorted({(row.width or 0) * (row.height or 0) for row in own})
    span = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
    machines = sorted({row.machine for row in own})
    yield Text(
        f"{len({row.image for row in own})} pictures of {span} pixels; {len(own):,} rows, of which "
        f"{sum(bool(row.error) for row in own)} failed. Every rate is the size of a file, header and all. Everybody "
        f"got the same 8-bit RGB pixels. Measured on: {'; '.join(machines)}."
    )
    if timed:
        yield Text(f"{_SWEPT}those to quote are under Time.")
    if note:
        yield Text(note)


def _bd_rates(rows: Sequence[Row], metrics: Sequence[str]) -> Iterator[Block]:
    found = {metric: tables.bd_rates(rows, metric) for metric in metrics}
    if not any(found.values()):
        return
    yield Heading("BD-rate")
    yield Text(_BD)
    for metric, table in found.items():
        if table is not None:
            yield Heading(SCALES[metric].title, 3)
            yield table


def _at_one_rate(
    rows: Sequence[Row],
    metrics: Sequence[str],
    published: Sequence[Published],
    charts: _Charts,
    timings: Sequence[Timing],
) -> Iterator[Block]:
    at = planes.fixed(rows)
    judges = [name for name in metrics if SCALES[name].perceptual]
    yield Heading(f"At {at.bpp:.3f} bits a pixel")
    yield Text(_AT if at.setting is not None else "Values are read off each codec's curve at that rate.")
    if not judges or "psnr" not in metrics:
        yield Text("There is no plane of perception and distortion: it needs PSNR and a perceptual metric.")
    for metric in judges if "psnr" in metrics else ():
        panels = planes.perception_distortion(rows, metric, at, published)
        yield charts.add(f"plane-{metric}", panels, f"{SCALES[metric].title} over PSNR at one rate")
    for metric in judges[:1] or metrics[:1]:
        panels = planes.time_quality(rows, metric, at, timings)
        yield charts.add(f"time-{metric}", panels, f"{SCALES[metric].title} over time at one rate")


def _picture_by_picture(rows: Sequence[Row], crops: "Crops | None") -> Iterator[Block]:
    yield Heading(f"Picture by picture against {gains.ANCHOR}")
    found = gains.duel(rows)
    if isinstance(found, str):
        yield Text(f"There is no list of gains, and no sheet of crops. {found}")
        return
    yield Text(_GAINS.format(setting=found.setting, anchor=gains.ANCHOR))
    yield tables.extremes(found)
    if crops is not None:
        yield Text(crops.note)
        if crops.webp is not None:
            yield Picture(_CROPS, "Details at equal bytes: original, regrain, AVIF, WebP")
    yield Heading("Failures", 3)
    yield Text(f"The pictures with the smallest gain, the worst for regrain first; of each metric at most {_WORST}.")
    yield tables.worst(found, _WORST)


def _time(rows: Sequence[Row], timings: Sequence[Timing]) -> Iterator[Block]:
    known = {row.series for row in rows}
    own = [timing for timing in latest(timings) if timing.series in known]
    if not own:
        return
    yield Heading("Time")
    found = dict.fromkeys(one.codec for timing in own if (one := against(timing, timings)) is not None)
    yield Text(_TIME.format(reference=", ".join(found) or "there is none"))
    sizes = dict.fromkeys(f"{one.pictures} pictures of {one.pixels:,} pixels on average, {one.machine}" for one in own)
    yield Text(f"Taken on: {'; '.join(sizes)}.")
    yield tables.times(own, timings)
    parts = tables.stages(own)
    if parts is not None:
        yield Text(_STAGES)
        yield parts


def _failures(rows: Sequence[Row]) -> Iterator[Block]:
    failed = sum(bool(row.error) for row in rows)
    if not failed:
        return
    yield Heading("What failed")
    yield tables.failures(rows, _MOST_FAILURES)
    if failed > _MOST_FAILURES:
        yield Text(f"And {failed - _MOST_FAILURES} more: they are in {CSV}.")
