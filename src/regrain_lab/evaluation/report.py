"""The report of an evaluation, made from its tables alone: charts, BD-rates and means, as RESULTS.md and results.html.

Nothing is measured here, so that whoever has the tables can draw the page again, but for the contact sheet. A mean says
over how many pictures it is, published figures are marked, and where two curves share no range the page says so instead
of a number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation import charts, per_image, tables
from regrain_lab.evaluation.contact_sheet import ContactSheet
from regrain_lab.evaluation.curves import comparison_rate, curves, labels
from regrain_lab.evaluation.page import Block, Heading, Picture, Text, html, markdown
from regrain_lab.evaluation.published import Published, measured_rows, published_points
from regrain_lab.evaluation.table import Distribution, Row, Timing, metrics_of
from regrain_lab.evaluation.timing import latest, reference_of
from regrain_lab.metrics.registry import SCALES

__all__ = ["CSV", "DISTRIBUTIONS", "HTML", "MARKDOWN", "TIMINGS", "Attachments", "report"]

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


_DISTRIBUTIONS = (
    "Between the {} of the originals and the same patches of what was decoded: KID on VGG16's features and the "
    "distance of AlexNet's Gram matrices, unbiased, with standard errors of a bootstrap over pictures; lower is better."
)


@dataclass(frozen=True)
class Attachments:
    """The parts of a page that are not made from the table of rows; a page does without those that are missing."""

    timings: Sequence[Timing] = ()
    contact_sheet: ContactSheet | None = None
    distributions: Sequence[Distribution] = ()


@dataclass
class _Page:
    """The sources of all sections of a page, and the files of its charts by address."""

    rows: Sequence[Row]
    images: int
    published: Sequence[Published]
    note: str
    attachments: Attachments
    colours: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that the page is about."""
        return [name for name in metrics_of(self.rows) if name in SCALES and curves(self.rows, name)]

    def chart(self, name: str, panels: Sequence[charts.Panel], caption: str) -> Picture:
        """Draw a chart, and return the block that shows it."""
        address = f"{_CHARTS}/{name}"
        self.files |= {f"{address}.{kind}": data for kind, data in charts.draw(panels, self.colours).items()}
        return Picture(f"{address}.svg", caption)


def report(
    rows: Sequence[Row], folder: Path, *, reference: Path | None = None, attachments: Attachments | None = None
) -> list[Path]:
    """Write the page and its charts (PNG and SVG) into `folder`; return the files.

    `reference` may hold tables of published figures (see `published`). Raises UsageError where there is no row without
    an error or a reference cannot be read, OutputError where a file cannot be written.
    """
    pixels = {row.image: (row.width or 0) * (row.height or 0) for row in rows if not row.error}
    if not pixels:
        raise UsageError("there is nothing to report: the table has no row without an error")
    published, note = ([], "") if reference is None else published_points(reference, pixels)
    every_row = [*rows, *([] if reference is None else measured_rows(reference, pixels))]
    names = labels(row.series for row in every_row)
    lines: list[tuple[str, charts.Kind]] = [(name, charts.kind_of(series)) for series, name in names.items()]
    colours = charts.assign_colours([*lines, *((point.label, "published") for point in published)])
    page = _Page(every_row, len(pixels), published, note, attachments or Attachments(), colours)
    blocks = [block for section in _SECTIONS for block in section(page)]
    sheet = page.attachments.contact_sheet
    if sheet is not None and sheet.webp is not None:
        page.files[_CROPS] = sheet.webp
    embedded = {name: data for name, data in page.files.items() if name.endswith((".svg", ".webp"))}
    texts = {MARKDOWN: markdown(blocks).encode(), HTML: html(blocks, embedded).encode()}
    return _write(texts | page.files, folder)


def _write(files: dict[str, bytes], folder: Path) -> list[Path]:
    from regrain.output import write_bytes

    try:
        (folder / _CHARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder / _CHARTS}: {error.strerror or error}") from error
    for name, data in files.items():
        write_bytes(data, folder / name)
    return [folder / name for name in files]


def _preface(page: _Page) -> Iterator[Block]:
    """The facts that hold for all figures."""
    yield Heading(f"Results on {page.images} pictures" if page.images > 1 else "Results on one picture", 1)
    own = [row for row in page.rows if row.width and row.height]
    sizes = sorted({(row.width or 0) * (row.height or 0) for row in own})
    span = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
    machines = sorted({row.machine for row in own})
    yield Text(
        f"{len({row.image for row in own})} pictures of {span} pixels; {len(own):,} rows, of which "
        f"{sum(bool(row.error) for row in own)} failed. Every rate is the size of a file, header and all. Everybody "
        f"got the same 8-bit RGB pixels. Measured on: {'; '.join(machines)}."
    )
    if page.attachments.timings:
        yield Text(f"{_SWEPT}those to quote are under Time.")
    if page.note:
        yield Text(page.note)


def _rates(page: _Page) -> Iterator[Block]:
    yield Heading("Codecs")
    yield tables.codecs(page.rows)
    yield Heading("Rate and quality")
    for metric in page.metrics:
        scale = SCALES[metric]
        panel = charts.rate_panel(page.rows, metric, page.published)
        yield page.chart(f"rate-{metric}", [panel], f"{scale.title} over bits a pixel")
        if scale.note:
            yield Text(f"{scale.title}: {scale.note}.")


def _bd_rates(page: _Page) -> Iterator[Block]:
    by_metric = {metric: tables.bd_rates(page.rows, metric) for metric in page.metrics}
    if any(by_metric.values()):
        yield Heading("BD-rate")
        yield Text(_BD)
    for metric, table in by_metric.items():
        if table is not None:
            yield Heading(SCALES[metric].title, 3)
            yield table


def _one_rate(page: _Page) -> Iterator[Block]:
    rate, metrics = comparison_rate(page.rows), page.metrics
    perceptual = [name for name in metrics if SCALES[name].perceptual]
    yield Heading(f"At {rate.bpp:.3f} bits a pixel")
    yield Text(_AT if rate.setting is not None else "Values are read off each codec's curve at that rate.")
    if not perceptual or "psnr" not in metrics:
        yield Text("There is no plane of perception and distortion: it needs PSNR and a perceptual metric.")
    for metric in perceptual if "psnr" in metrics else ():
        panels = charts.perception_distortion_panels(page.rows, metric, rate, page.published)
        yield page.chart(f"plane-{metric}", panels, f"{SCALES[metric].title} over PSNR at one rate")
    for metric in perceptual[:1] or metrics[:1]:
        panels = charts.time_panels(page.rows, metric, rate, page.attachments.timings)
        yield page.chart(f"time-{metric}", panels, f"{SCALES[metric].title} over time at one rate")


def _per_image(page: _Page) -> Iterator[Block]:
    yield Heading(f"Picture by picture against {per_image.ANCHOR}")
    comparison = per_image.compare(page.rows)
    if isinstance(comparison, str):
        yield Text(f"There is no list of gains, and no sheet of crops. {comparison}")
        return
    yield Text(_GAINS.format(setting=comparison.setting, anchor=per_image.ANCHOR))
    yield tables.extreme_gains(comparison)
    sheet = page.attachments.contact_sheet
    if sheet is not None:
        yield Text(sheet.note)
        if sheet.webp is not None:
            yield Picture(_CROPS, "Details at equal bytes: original, regrain, AVIF, WebP")
    yield Heading("Failures", 3)
    yield Text(f"The pictures with the smallest gain, the worst for regrain first; of each metric at most {_WORST}.")
    yield tables.smallest_gains(comparison, _WORST)


def _time(page: _Page) -> Iterator[Block]:
    timings, series = page.attachments.timings, {row.series for row in page.rows}
    own = [timing for timing in latest(timings) if timing.series in series]
    if not own:
        return
    yield Heading("Time")
    references = [reference for timing in own if (reference := reference_of(timing, timings)) is not None]
    names = dict.fromkeys(reference.codec for reference in references)
    yield Text(_TIME.format(reference=", ".join(names) or "there is none"))
    sizes = dict.fromkeys(f"{t.pictures} pictures of {t.pixels:,} pixels on average, {t.machine}" for t in own)
    yield Text(f"Taken on: {'; '.join(sizes)}.")
    yield tables.times(own, timings)
    stages = tables.stages(own)
    if stages is not None:
        yield Text(_STAGES)
        yield stages


def _distributions(page: _Page) -> Iterator[Block]:
    records = page.attachments.distributions
    if records:
        sizes = sorted({f"{record.patches:,} patches of {record.side} x {record.side}" for record in records})
        yield Heading("Distributions")
        yield Text(_DISTRIBUTIONS.format(" or ".join(sizes)))
        yield tables.distributions(records)


def _means(page: _Page) -> Iterator[Block]:
    yield Heading("Means")
    yield Text(_MEANS)
    yield tables.means(page.rows, page.metrics)


def _failures(page: _Page) -> Iterator[Block]:
    failed = sum(bool(row.error) for row in page.rows)
    if failed:
        yield Heading("What failed")
        yield tables.failures(page.rows, _MOST_FAILURES)
    if failed > _MOST_FAILURES:
        yield Text(f"And {failed - _MOST_FAILURES} more: they are in {CSV}.")


_SECTIONS = (_preface, _rates, _bd_rates, _one_rate, _per_image, _time, _distributions, _means, _failures)
