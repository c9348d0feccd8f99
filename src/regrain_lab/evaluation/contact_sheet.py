"""Pictures as several codecs leave them, side by side: the sheet of one picture, and the contact sheet of a suite.

A sheet has a strip for each picture, and a strip a column for each codec: title, the whole picture scaled down to the
panel if the strip has overviews, a detail in whole-number magnification (so no resampling stands between a pixel and
the eye), and a caption. The detail is at the same place in every column, and that place depends on the original alone,
so no codec is favoured by it.

The contact sheet shows the pictures that `per_image` chose: the original, regrain's file, and at its bytes those of
other encoders. Regrain's file is made anew, and where it is not as large as the one in the table a note says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regrain import image
from regrain.errors import UsageError
from regrain_lab.evaluation import baselines, per_image
from regrain_lab.evaluation.baselines import Encoded
from regrain_lab.evaluation.codecs import REGRAIN, BenchmarkCodec, Pixels
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.suite import CodecSource
from regrain_lab.evaluation.sweep import load_pixels
from regrain_lab.evaluation.table import Row
from regrain_lab.metrics.registry import SCALES, Metric

__all__ = ["Box", "Column", "ContactSheet", "Strip", "detail_box", "draw", "make", "overview"]

WIDTH, HEIGHT = 192, 144
"""Pixels of a detail on the contact sheet: so many that the whole sheet is a file of one or two megabytes."""
_OTHERS = (baselines.AVIF, baselines.WEBP)
_MARGIN, _GUTTER, _GAP = 28, 14, 8
_NARROWEST, _WIDEST, _SHEET = 230, 512, 2000
_TALLEST = 1.5
_HEADING, _TITLE, _CAPTION = 21, 19, 16
_LEADING = 1.4
_INK, _GREY = (20, 20, 20), (110, 110, 110)
_MAGNIFY = 2
_POSITIONS = 12


class Box(NamedTuple):
    """A window of pixels: `left` and `top` inclusive, then its size."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index of this window in a (h, w, ...) array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class Column(NamedTuple):
    """One codec's column: its title, its uint8 (h, w, 3) pixels, and what its caption says."""

    title: str
    pixels: Pixels
    caption: Sequence[str]


@dataclass(frozen=True)
class Strip:
    """One picture in several columns: the heading above them, the detail's place and magnification.

    `panel` is the width of the whole picture above each detail, in pixels of the sheet; 0 shows details alone.
    """

    heading: str
    columns: Sequence[Column]
    crop: Box
    zoom: int = _MAGNIFY
    panel: int = 0


class ContactSheet(NamedTuple):
    """The sheet as a lossless WebP file, or None; and what a reader must know of it, or why there is none."""

    webp: bytes | None
    note: str


def detail_box(original: Pixels, width: int, height: int) -> Box:
    """The window of at most (`width`, `height`) pixels that shows `original`, uint8 (h, w, 3), where it is textured.

    Of windows on a regular grid, at most 12 by 12, the one in which the *median* squared gradient of the mean of R, G
    and B is highest: the median asks for texture in over half of the window, so that one hard edge in a flat sky does
    not win. Equal medians (drawings, mostly 0) are told apart by the mean, then the first in reading order is taken.
    """
    rows, columns = original.shape[:2]
    width, height = min(width, columns), min(height, rows)
    lefts = np.unique(np.linspace(0, columns - width, _POSITIONS).astype(int))
    tops = np.unique(np.linspace(0, rows - height, _POSITIONS).astype(int))
    boxes = [Box(int(left), int(top), width, height) for top in tops for left in lefts]
    return max(boxes, key=lambda box: _texture(original[box.slices]))


def _texture(pixels: Pixels) -> tuple[float, float]:
    """Median and mean over `pixels`, uint8 (h, w, 3), of the squared gradient of their grey."""
    grey = pixels.astype(np.float32).mean(axis=2)
    energy = np.zeros_like(grey)
    energy[:, :-1] += np.square(np.diff(grey, axis=1))
    energy[:-1] += np.square(np.diff(grey, axis=0))
    return float(np.median(energy)), float(energy.mean())


def overview(original: Pixels, columns: Sequence[Column]) -> Strip:
    """The strip of `original`, uint8 (h, w, 3), beside `columns`, with whole pictures above the details.

    The sheet is at most 2000 pixels wide, unless its panels would then be narrower than 230.
    """
    rows, across = original.shape[:2]
    share = (_SHEET - 2 * _MARGIN + _GUTTER) // (1 + len(columns)) - _GUTTER
    panel = min(max(share, _NARROWEST), max(across, _NARROWEST), _WIDEST)
    zoom = max(_MAGNIFY, min(panel // across, panel // rows))
    crop = detail_box(original, panel // zoom, max(1, 3 * panel // (4 * zoom)))
    return Strip("", [original_column(original, crop, zoom), *columns], crop, zoom, panel)


def original_column(pixels: Pixels, crop: Box, zoom: int = _MAGNIFY) -> Column:
    """The column of the original, whose caption says where the detail is."""
    size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    return Column("original", pixels, [size, f"detail from ({crop.left}, {crop.top})", f"at {zoom}:1"])


def draw(strips: Sequence[Strip]) -> Pixels:
    """Draw at least one strip, one below the other, as uint8 (H, W, 3).

    Panels are as wide as the widest detail or whole picture, and at least 230. Raises UsageError where the pixels of a
    strip have not one shape or its crop is not inside.
    """
    for strip in strips:
        _check(strip)
    panel = max(_NARROWEST, *(max(strip.panel, strip.crop.width * strip.zoom) for strip in strips))
    columns = max(len(strip.columns) for strip in strips)
    width = 2 * _MARGIN + columns * (panel + _GUTTER) - _GUTTER
    return np.concatenate(
        [np.full((_MARGIN, width, 3), 255, np.uint8), *(_draw_strip(strip, panel, width) for strip in strips)]
    )


def _check(strip: Strip) -> None:
    shape, crop = strip.columns[0].pixels.shape, strip.crop
    for title, pixels, _ in strip.columns:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.shape != shape:
            raise UsageError(f"{title} is {pixels.dtype} {pixels.shape}: uint8 (h, w, 3) of one size is allowed")
    inside = crop.left + crop.width <= shape[1] and crop.top + crop.height <= shape[0]
    if not inside or min(crop) < 0 or min(crop.width, crop.height) < 1:
        raise UsageError(f"crop {tuple(crop)} (left, top, width, height) is not inside {shape[1]}x{shape[0]} pixels")


def _draw_strip(strip: Strip, panel: int, width: int) -> Pixels:
    heading = _wrap(strip.heading.split(), " ", _HEADING, width - 2 * _MARGIN)
    captions = [_wrap(column.caption, ", ", _CAPTION, panel) for column in strip.columns]
    rows, across = strip.columns[0].pixels.shape[:2]
    scale = min(strip.panel / across, _TALLEST * strip.panel / rows, 1.0)
    size = max(1, round(across * scale)), max(1, round(rows * scale))
    title_top = round(len(heading) * _HEADING * _LEADING)
    whole_top = title_top + round(_TITLE * _LEADING)
    detail_top = whole_top + (size[1] + _GAP if strip.panel else 0)
    caption_top = detail_top + strip.crop.height * strip.zoom + _GAP
    bottom = caption_top + round(max(map(len, captions)) * _CAPTION * _LEADING) + _MARGIN
    sheet = Image.new("RGB", (width, bottom), "white")
    _write(sheet, (_MARGIN, 0), heading, _HEADING, _INK)
    for index, (column, caption) in enumerate(zip(strip.columns, captions, strict=True)):
        left = _MARGIN + index * (panel + _GUTTER)
        _write(sheet, (left, title_top), [_shorten(column.title, _TITLE, panel)], _TITLE, _INK)
        if strip.panel:
            sheet.paste(Image.fromarray(column.pixels).resize(size, Image.Resampling.LANCZOS), (left, whole_top))
        detail = column.pixels[strip.crop.slices].repeat(strip.zoom, axis=0).repeat(strip.zoom, axis=1)
        sheet.paste(Image.fromarray(detail), (left, detail_top))
        _write(sheet, (left, caption_top), caption, _CAPTION, _GREY)
    if strip.panel and strip.crop[2:] != (across, rows):
        _outline(sheet, strip.crop, scale, (_MARGIN, whole_top))
    return np.array(sheet)


def _outline(sheet: Image.Image, box: Box, scale: float, corner: tuple[int, int]) -> None:
    """Outline the detail's place on the whole original, whose top left is `corner`."""
    left, top = corner[0] + round(box.left * scale), corner[1] + round(box.top * scale)
    right, bottom = left + round(box.width * scale) - 1, top + round(box.height * scale) - 1
    if min(right - left, bottom - top) >= 4:
        pen = ImageDraw.Draw(sheet)
        pen.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=3)
        pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=1)


def _write(sheet: Image.Image, place: tuple[int, int], lines: Sequence[str], size: int, ink: tuple[int, ...]) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    for index, line in enumerate(lines):
        pen.text((place[0], place[1] + round(index * size * _LEADING)), line, fill=ink, font=font)


def _wrap(parts: Sequence[str], between: str, size: int, width: int) -> list[str]:
    """The parts in as few lines as they fit in; a part that alone is wider than `width` pixels is cut short."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and ImageFont.load_default(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_shorten(part, size, width))
    return lines


def _shorten(text: str, size: int, width: int) -> str:
    """`text`, cut short with three dots where it is wider than `width` pixels."""
    font = ImageFont.load_default(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


_RULE = (
    "By rule, and not by taste: of every metric the picture on which regrain gains most and the one on which it gains "
    f"least, each once. The detail, {WIDTH} x {HEIGHT} pixels at 2:1, is where the original is most textured. WebP and "
    "AVIF are encoded anew, each to the largest file that is no larger than regrain's. Metrics are of whole pictures."
)


def make(
    rows: Sequence[Row],
    files: Sequence[Path],
    source: CodecSource,
    metrics: Mapping[str, Metric],
    *,
    progress: bool = False,
) -> ContactSheet:
    """Encode the pictures that the rule chooses from `rows`, out of `files`; `progress` draws a bar on a terminal.

    There is no sheet where the rows are of other weights, or of another version, than those that are at hand.
    """
    comparison = per_image.compare(rows)
    if isinstance(comparison, str):
        return ContactSheet(None, f"There is no sheet of crops. {comparison}")
    codec = source.single(REGRAIN, float(comparison.setting), [per_image.DEFAULT])
    if codec.series(per_image.DEFAULT) != next(iter(comparison.rows.values())).series:
        return ContactSheet(None, "There is no sheet of crops. Regrain's rows are of other weights than those at hand.")
    by_name = {path.name: path for path in files}
    choices = per_image.choose_pictures(comparison)
    strips, notes = [], [_RULE]
    with bar(len(choices), "picture", visible=progress) as advance:
        for name, reasons in choices.items():
            try:
                original, row = load_pixels(by_name[name]), comparison.rows[name]
                strip, strip_notes = _strip(f"{name}: {'; '.join(reasons)}", original, codec, row, metrics)
                strips.append(strip)
                notes += [f"{name}: {note}." for note in strip_notes]
            except Exception as error:
                notes.append(f"{name} is not shown: {error}.")
            advance()
    return ContactSheet(image.to_file(image.Picture(draw(strips)), "WEBP") if strips else None, " ".join(notes))


def _strip(
    heading: str, original: Pixels, codec: BenchmarkCodec, row: Row, metrics: Mapping[str, Metric]
) -> tuple[Strip, list[str]]:
    data = codec.encode(original, codec.settings[0])
    ours = Encoded(REGRAIN, codec.settings[0], data, pixels=codec.decode(data, per_image.DEFAULT))
    others, notes = baselines.at_equal_bytes(baselines.available(_OTHERS)[0], original, len(data))
    crop = detail_box(original, WIDTH, HEIGHT)
    columns = [original_column(original, crop), _column(ours, row.metrics)]
    for encoded in others:
        figures = {name: metric(original, encoded.pixels) for name, metric in metrics.items()}
        columns.append(_column(encoded, figures))
    if len(data) != row.bytes:
        notes.append(f"regrain's file has {len(data)} bytes here, and {row.bytes} in the table")
    return Strip(heading, columns, crop), notes


def _column(encoded: Encoded, metrics: Mapping[str, float | None]) -> Column:
    title = f"{encoded.codec}, quality {encoded.quality:g}{'' if encoded.fits else ' (its smallest)'}"
    figures = {name: value for name, value in metrics.items() if name in SCALES and value is not None}
    texts = [f"{SCALES[name].title} {value:.{SCALES[name].digits}f}" for name, value in figures.items()]
    return Column(title, encoded.pixels, [f"{len(encoded.data):,} bytes", f"{encoded.bpp:.3f} bpp", *texts])
