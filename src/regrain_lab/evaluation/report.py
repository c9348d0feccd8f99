"""The report of an evaluation, made from its tables alone: charts, BD-rates and means, as RESULTS.md and results.html.

Its words are those of `results.md`, whose marks are filled here. Nothing is measured, so that whoever has the tables
can draw the page again, but for the contact sheet. A mean says over how many pictures it is, published figures are
marked, and where two curves share no range the page says so instead of a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation import charts, per_image, tables
from regrain_lab.evaluation.contact_sheet import ContactSheet
from regrain_lab.evaluation.curves import comparison_rate, curves, labels
from regrain_lab.evaluation.page import escape, fill, html, picture
from regrain_lab.evaluation.published import Published, measured_rows, published_points
from regrain_lab.evaluation.table import Distribution, Row, Timing, metrics_of
from regrain_lab.evaluation.timing import latest, reference_of
from regrain_lab.metrics.registry import SCALES

__all__ = ["CSV", "DISTRIBUTIONS", "HTML", "MARKDOWN", "TIMINGS", "Attachments", "report"]

CSV, TIMINGS, MARKDOWN, HTML = "results.csv", "timings.csv", "RESULTS.md", "results.html"
DISTRIBUTIONS = "distributions.csv"
_TEMPLATE = Path(__file__).with_name("results.md")
_CHARTS = "results"
_CROPS = f"{_CHARTS}/crops.webp"
_MOST_FAILURES = 20
_WORST = 10

Values = dict[str, str | None]
"""Of marks of the template, in Markdown; see `page.fill`."""


@dataclass(frozen=True)
class Attachments:
    """The parts of a page that are not made from the table of rows; a page does without those that are missing."""

    timings: Sequence[Timing] = ()
    contact_sheet: ContactSheet | None = None
    distributions: Sequence[Distribution] = ()


@dataclass
class _Page:
    """The sources of all values of a page, and the files of its charts by address."""

    rows: Sequence[Row]
    published: Sequence[Published]
    attachments: Attachments
    colours: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that the page is about."""
        return [name for name in metrics_of(self.rows) if name in SCALES and curves(self.rows, name)]

    def chart(self, name: str, panels: Sequence[charts.Panel], caption: str) -> str:
        """Draw a chart, and return the Markdown that shows it."""
        address = f"{_CHARTS}/{name}"
        self.files |= {f"{address}.{kind}": data for kind, data in charts.draw(panels, self.colours).items()}
        return picture(f"{address}.svg", caption)


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
    page = _Page(every_row, published, attachments or Attachments(), colours)
    values: Values = {"note": escape(note) or None, "title": f"Results on {len(pixels)} pictures"}
    if len(pixels) == 1:
        values["title"] = "Results on one picture"
    for part in (_facts, _curves, _one_rate, _per_image, _times):
        values |= part(page)
    text = fill(_TEMPLATE.read_text(encoding="utf-8"), values)
    embedded = {name: data for name, data in page.files.items() if name.endswith((".svg", ".webp"))}
    return _write({MARKDOWN: text.encode(), HTML: html(text, embedded).encode()} | page.files, folder)


def _write(files: dict[str, bytes], folder: Path) -> list[Path]:
    from regrain.image import write_bytes

    try:
        (folder / _CHARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder / _CHARTS}: {error.strerror or error}") from error
    for name, data in files.items():
        write_bytes(data, folder / name)
    return [folder / name for name in files]


def _facts(page: _Page) -> Values:
    """What holds for all figures, and the tables of everything."""
    own = [row for row in page.rows if row.width and row.height]
    sizes = sorted({(row.width or 0) * (row.height or 0) for row in own})
    failed, records = sum(bool(row.error) for row in page.rows), page.attachments.distributions
    patches = sorted({f"{record.patches:,} patches of {record.side} x {record.side}" for record in records})
    return {
        "pictures": f"{len({row.image for row in own})}",
        "pixels": f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else ""),
        "rows": f"{len(own):,}",
        "failed": f"{sum(bool(row.error) for row in own)}",
        "machines": escape("; ".join(sorted({row.machine for row in own}))),
        "codecs": str(tables.codecs(page.rows)),
        "means": str(tables.means(page.rows, page.metrics)),
        "failures": str(tables.failures(page.rows, _MOST_FAILURES)) if failed else None,
        "more_failures": f"{failed - _MOST_FAILURES}" if failed > _MOST_FAILURES else None,
        "patches": " or ".join(patches) or None,
        "distributions": str(tables.distributions(records)) if records else None,
    }


def _curves(page: _Page) -> Values:
    shown, bd_rates = [], []
    for metric in page.metrics:
        scale, table = SCALES[metric], tables.bd_rates(page.rows, metric)
        panel = charts.rate_panel(page.rows, metric, page.published)
        shown.append(page.chart(f"rate-{metric}", [panel], f"{scale.title} over bits a pixel"))
        shown += [f"{scale.title}: {scale.note}."] * bool(scale.note)
        bd_rates += [] if table is None else [f"### {scale.title}", str(table)]
    return {"rate_charts": "\n\n".join(shown) or None, "bd_rates": "\n\n".join(bd_rates) or None}


def _one_rate(page: _Page) -> Values:
    rate, metrics = comparison_rate(page.rows), page.metrics
    perceptual = [name for name in metrics if SCALES[name].perceptual]
    planes, times = [], []
    for metric in perceptual if "psnr" in metrics else ():
        panels = charts.perception_distortion_panels(page.rows, metric, rate, page.published)
        planes.append(page.chart(f"plane-{metric}", panels, f"{SCALES[metric].title} over PSNR at one rate"))
    for metric in perceptual[:1] or metrics[:1]:
        panels = charts.time_panels(page.rows, metric, rate, page.attachments.timings)
        times.append(page.chart(f"time-{metric}", panels, f"{SCALES[metric].title} over time at one rate"))
    return {
        "rate": f"{rate.bpp:.3f}",
        "own_rate": rate.setting,
        "usual_rate": "" if rate.setting is None else None,
        "no_plane": None if planes else "",
        "planes": "\n\n".join(planes) or None,
        "time_charts": "\n\n".join(times) or None,
    }


def _per_image(page: _Page) -> Values:
    comparison, sheet = per_image.compare(page.rows), page.attachments.contact_sheet
    values: Values = {"anchor": per_image.ANCHOR, "worst": f"{_WORST}", "crops_note": None, "crops": None}
    if isinstance(comparison, str):
        names = ("gains_setting", "gains", "smallest_gains")
        return values | dict.fromkeys(names) | {"no_gains": escape(comparison)}
    if sheet is not None:
        values["crops_note"] = escape(sheet.note)
    if sheet is not None and sheet.webp is not None:
        page.files[_CROPS] = sheet.webp
        values["crops"] = picture(_CROPS, "Details at equal bytes: original, regrain, AVIF, WebP")
    return values | {
        "no_gains": None,
        "gains_setting": escape(comparison.setting),
        "gains": str(tables.extreme_gains(comparison)),
        "smallest_gains": str(tables.smallest_gains(comparison, _WORST)),
    }


def _times(page: _Page) -> Values:
    timings, series = page.attachments.timings, {row.series for row in page.rows}
    own = [timing for timing in latest(timings) if timing.series in series]
    references = [reference for timing in own if (reference := reference_of(timing, timings)) is not None]
    names = dict.fromkeys(reference.codec for reference in references)
    sizes = dict.fromkeys(f"{t.pictures} pictures of {t.pixels:,} pixels on average, {t.machine}" for t in own)
    stages = tables.stages(own)
    return {
        "timed": "" if timings else None,
        "reference": escape(", ".join(names) or "there is none"),
        "taken_on": escape("; ".join(sizes)) or None,
        "times": str(tables.times(own, timings)) if own else None,
        "stages": None if stages is None else str(stages),
    }
