"""The comparison sheet: one picture as several codecs leave it, side by side, whole and in detail.

Every column is drawn alike: title, the whole picture scaled down to the panel, a detail in whole-number magnification
(so no resampling stands between a pixel and the eye), and its caption. The detail is at the same place in every column
and that place depends on the original alone, so no codec is favoured by it. `stack` shows details alone, of several
pictures one below the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regrain.errors import UsageError

__all__ = ["Box", "Column", "Strip", "detail_box", "draw", "stack"]

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MARGIN, _GUTTER, _GAP = 28, 14, 10
_NARROWEST, _WIDEST = 230, 512
_TALLEST = 1.5
_TITLE, _TEXT, _NOTE = 25, 19, 15
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
        """What to index a (h, w, ...) array with to get this window."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Column:
    """One codec's column: its title, its uint8 (h, w, 3) pixels, and the lines under them."""

    title: str
    pixels: Pixels
    caption: Sequence[str]


@dataclass(frozen=True)
class Strip:
    """One picture's detail in several columns: what is said above them all, and where in the picture it is."""

    heading: str
    columns: Sequence[Column]
    crop: Box


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels of the sheet's parts, one for all columns."""

    panel: int
    whole: tuple[int, int]
    crop: Box
    zoom: int
    lines: int

    @property
    def detail(self) -> tuple[int, int]:
        """Width and height of the magnified detail."""
        return self.crop.width * self.zoom, self.crop.height * self.zoom

    @property
    def tops(self) -> tuple[int, int, int, int]:
        """Where the whole picture, the detail, the caption and the foot note begin."""
        whole = _MARGIN + round(_TITLE * _LEADING) + _GAP // 2
        detail = whole + self.whole[1] + _GAP
        caption = detail + self.detail[1] + _GAP
        return whole, detail, caption, caption + round(self.lines * _TEXT * _LEADING) + _GAP

    def left(self, index: int) -> int:
        """Where column `index` begins."""
        return _MARGIN + index * (self.panel + _GUTTER)

    def size(self, columns: int) -> tuple[int, int]:
        """Width and height of a sheet of that many columns."""
        return self.left(columns) - _GUTTER + _MARGIN, self.tops[3] + round(_NOTE * _LEADING) + _MARGIN


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


def draw(
    original: Pixels,
    columns: Sequence[Column],
    *,
    original_caption: Sequence[str] = (),
    crop: Box | None = None,
    width: int = 2000,
) -> Pixels:
    """Draw the sheet and return it as uint8 (H, W, 3): `original`, uint8 (h, w, 3), then `columns` from left to right.

    `crop` is the detail to show, else `detail_box` chooses. The sheet is at most `width` pixels wide, unless its panels
    would then be narrower than 230 or than `crop`. Raises UsageError where pixels have another shape than the original
    or `crop` is not inside it.
    """
    first = Column("Original", original, original_caption or [f"{original.shape[1]} x {original.shape[0]} pixels"])
    every = [first, *columns]
    _check(every, crop)
    layout = _layout(every, crop, width)
    sheet = Image.new("RGB", layout.size(len(every)), "white")
    for index, column in enumerate(every):
        _draw_column(sheet, column, layout, layout.left(index))
    _mark(sheet, original, layout)
    pen = ImageDraw.Draw(sheet)
    box = layout.crop
    note = f"Detail: {box.width} x {box.height} pixels from ({box.left}, {box.top}), shown at {layout.zoom}:1."
    pen.text((_MARGIN, layout.tops[3]), note, fill=_GREY, font=_font(_NOTE))
    return np.array(sheet)


def stack(strips: Sequence[Strip]) -> Pixels:
    """Draw the details of at least one strip, at 2:1 and one below the other, as uint8 (H, W, 3).

    Panels are as wide as the widest detail, and at least 230; lines that are longer go on below. Raises UsageError
    where the pixels of a strip have not one shape or its crop is not inside.
    """
    for strip in strips:
        _check(strip.columns, strip.crop)
    panel = max(_NARROWEST, *(strip.crop.width * _MAGNIFY for strip in strips))
    columns = max(len(strip.columns) for strip in strips)
    width = 2 * _MARGIN + columns * (panel + _GUTTER) - _GUTTER
    drawn = [_draw_strip(strip, panel, width) for strip in strips]
    return np.concatenate([np.full((_MARGIN, width, 3), 255, np.uint8), *drawn])


def _draw_strip(strip: Strip, panel: int, width: int) -> Pixels:
    heading = _wrapped(strip.heading.split(" "), " ", _TEXT, width - 2 * _MARGIN)
    captions = [_wrapped(column.caption, ", ", _NOTE, panel) for column in strip.columns]
    title = round(len(heading) * _TEXT * _LEADING) + _GAP // 2
    detail = title + round(_TEXT * _LEADING)
    caption = detail + strip.crop.height * _MAGNIFY + _GAP // 2
    lines = max(map(len, captions))
    image = Image.new("RGB", (width, caption + round(lines * _NOTE * _LEADING) + _MARGIN), "white")
    _write(image, (_MARGIN, 0), heading, _TEXT, _INK)
    for index, (column, below) in enumerate(zip(strip.columns, captions, strict=True)):
        left = _MARGIN + index * (panel + _GUTTER)
        pixels = column.pixels[strip.crop.slices].repeat(_MAGNIFY, axis=0).repeat(_MAGNIFY, axis=1)
        _write(image, (left, title), [_fitted(column.title, _NOTE, panel)], _NOTE, _INK)
        image.paste(Image.fromarray(pixels), (left, detail))
        _write(image, (left, caption), below, _NOTE, _GREY)
    return np.array(image)


def _write(image: Image.Image, place: tuple[int, int], lines: Sequence[str], size: int, colour: Colour) -> None:
    pen = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        pen.text((place[0], place[1] + round(index * size * _LEADING)), line, fill=colour, font=_font(size))


def _wrapped(parts: Sequence[str], between: str, size: int, width: int) -> list[str]:
    """The parts in as few lines as they fit in; a part that alone is wider than `width` pixels is cut short."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_fitted(part, size, width))
    return lines


def _check(columns: Sequence[Column], crop: Box | None) -> None:
    shape = columns[0].pixels.shape
    for column in columns:
        pixels = column.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.shape != shape:
            raise UsageError(f"{column.title} is {pixels.dtype} {pixels.shape}: uint8 (h, w, 3) of one size is allowed")
    if crop is None:
        return
    inside = crop.left + crop.width <= shape[1] and crop.top + crop.height <= shape[0]
    if not inside or min(crop) < 0 or min(crop.width, crop.height) < 1:
        raise UsageError(f"crop {tuple(crop)} (left, top, width, height) is not inside {shape[1]}x{shape[0]} pixels")


def _layout(columns: Sequence[Column], crop: Box | None, limit: int) -> _Layout:
    height, width = columns[0].pixels.shape[:2]
    room = limit - 2 * _MARGIN + _GUTTER
    panel = min(max(room // len(columns) - _GUTTER, _NARROWEST), max(width, _NARROWEST), _WIDEST)
    if crop is None:
        zoom = max(_MAGNIFY, min(panel // width, panel // height))
        crop = detail_box(columns[0].pixels, panel // zoom, max(1, 3 * panel // (4 * zoom)))
    else:
        panel = max(panel, crop.width)
        zoom = max(1, min(panel // crop.width, int(_TALLEST * panel) // crop.height))
    scale = min(panel / width, _TALLEST * panel / height, 1.0)
    return _Layout(
        panel=panel,
        whole=(max(1, round(width * scale)), max(1, round(height * scale))),
        crop=crop,
        zoom=zoom,
        lines=max(len(column.caption) for column in columns),
    )


def _draw_column(sheet: Image.Image, column: Column, layout: _Layout, left: int) -> None:
    whole_top, detail_top, caption_top, _ = layout.tops
    pen = ImageDraw.Draw(sheet)
    pen.text((left, _MARGIN), _fitted(column.title, _TITLE, layout.panel), fill=_INK, font=_font(_TITLE))
    whole = Image.fromarray(column.pixels).resize(layout.whole, Image.Resampling.LANCZOS)
    detail = Image.fromarray(column.pixels[layout.crop.slices]).resize(layout.detail, Image.Resampling.NEAREST)
    sheet.paste(whole, (left, whole_top))
    sheet.paste(detail, (left, detail_top))
    for index, line in enumerate(column.caption):
        place = (left, caption_top + round(index * _TEXT * _LEADING))
        pen.text(place, _fitted(line, _TEXT, layout.panel), fill=_GREY if index else _INK, font=_font(_TEXT))


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, width: int) -> str:
    """`text`, cut short with three dots where it is wider than `width` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _mark(sheet: Image.Image, original: Pixels, layout: _Layout) -> None:
    """Outline the detail's place on the whole original."""
    scale = layout.whole[0] / original.shape[1]
    box = layout.crop
    left, top = layout.left(0) + round(box.left * scale), layout.tops[0] + round(box.top * scale)
    right, bottom = left + round(box.width * scale) - 1, top + round(box.height * scale) - 1
    if right - left < 4 or bottom - top < 4 or (box.width, box.height) == original.shape[1::-1]:
        return
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=3)
    pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=1)
