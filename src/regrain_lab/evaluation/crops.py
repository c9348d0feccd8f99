"""The contact sheet: of the pictures that `gains` chose, a detail from the original, regrain's file and, at its bytes,
those of other encoders.

Invariants: who is shown was chosen by the table and its rule; where in the picture depends on the original alone
(`sheet.detail_box`); no file is larger than regrain's, which is made anew, and where that is not as large as the one of
the table a line says so.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from regrain import image
from regrain_lab.evaluation import baselines, gains
from regrain_lab.evaluation.contestants import OURS, Cast, Contestant, Pixels
from regrain_lab.evaluation.equal import Through, through
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.rows import Row
from regrain_lab.evaluation.sheet import Box, Column, Strip, detail_box, stack
from regrain_lab.evaluation.sweep import pixels_of
from regrain_lab.metrics.registry import SCALES, Metric

__all__ = ["Crops", "draw"]

WIDTH, HEIGHT = 192, 144
"""Of a detail, in the picture's own pixels: so many that the whole sheet is a file of one or two megabytes."""
_OTHERS = (baselines.AVIF, baselines.WEBP)


class Crops(NamedTuple):
    """The sheet as a lossless WebP file, or None; and what must be said of it, or why there is none."""

    webp: bytes | None
    note: str


def draw(
    rows: Sequence[Row],
    files: Sequence[Path],
    cast: Cast,
    metrics: Mapping[str, Metric],
    *,
    progress: bool = False,
) -> Crops:
    """Encode what the rule chose from `rows`, of the pictures `files`; `progress` draws a bar on a terminal.

    There is no sheet where the rows are of other weights, or of another version, than those that are at hand.
    """
    found = gains.duel(rows)
    if isinstance(found, str):
        return Crops(None, f"There is no sheet of crops. {found}")
    ours = cast.only(OURS, float(found.setting), [gains.DEFAULT])
    if ours.series(gains.DEFAULT) != next(iter(found.ours.values())).series:
        return Crops(None, "There is no sheet of crops. Regrain's rows are of other weights than those at hand.")
    by_name = {path.name: path for path in files}
    strips, notes = [], [_RULE.format(width=WIDTH, height=HEIGHT)]
    choices = gains.chosen(found)
    with bar(len(choices), "picture", wanted=progress) as advance:
        for choice in choices:
            try:
                strip, failed = _strip(choice, by_name[choice.image], ours, found.ours[choice.image], metrics)
                strips.append(strip)
                notes += [f"{choice.image}: {line}." for line in failed]
            except Exception as error:
                notes.append(f"{choice.image} is not shown: {error}.")
            advance()
    return Crops(_webp(stack(strips)) if strips else None, " ".join(notes))


_RULE = (
    "By rule, and not by taste: of every metric the picture on which regrain gains most and the one on which it gains "
    "least, each once. The detail, {width} x {height} pixels at 2:1, is where the original is most textured. WebP and "
    "AVIF are encoded anew, each to the largest file that is no larger than regrain's. Metrics are of whole pictures."
)


def _strip(
    choice: gains.Choice, path: Path, ours: Contestant, row: Row, metrics: Mapping[str, Metric]
) -> tuple[Strip, list[str]]:
    original, setting = pixels_of(path), ours.settings[0]
    data = ours.encode(original, setting)
    present, _ = baselines.present(_OTHERS)
    others, failed = through(present, original, len(data))
    box = detail_box(original, WIDTH, HEIGHT)
    first = Through(OURS, setting, len(data), ours.decode(data, gains.DEFAULT))
    columns = [_original(original, box), _column(first, row.metrics)]
    for one in others:
        columns.append(_column(one, {name: metric(original, one.pixels) for name, metric in metrics.items()}))
    if len(data) != row.bytes:
        failed.append(f"regrain's file has {len(data)} bytes here, and {row.bytes} in the table")
    return Strip(f"{choice.image}: {'; '.join(choice.reasons)}", columns, box), failed


def _original(pixels: Pixels, box: Box) -> Column:
    size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    return Column("original", pixels, [size, f"detail from ({box.left}, {box.top})"])


def _column(one: Through, metrics: Mapping[str, float | None]) -> Column:
    size = f"{one.bytes:,} bytes"
    rate = f"{8 * one.bytes / (one.pixels.shape[0] * one.pixels.shape[1]):.3f} bpp"
    title = f"{one.codec}, quality {one.quality:g}{'' if one.fits else ' (its smallest)'}"
    known = {name: value for name, value in metrics.items() if name in SCALES and value is not None}
    figures = [f"{SCALES[name].title} {value:.{SCALES[name].digits}f}" for name, value in known.items()]
    return Column(title, one.pixels, [size, rate, *figures])


def _webp(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    image.write(image.read(pixels), out, format="WEBP")
    return out.getvalue()
