"""`compare`: one picture through regrain and the usual codecs at equal bytes, as a table and as a sheet to look at.

Equal means that no file is larger than regrain's, and each is the largest of its codec that is not. All of them get the
same 8-bit RGB pixels, without alpha and metadata; sizes are those of whole files.
"""

import argparse
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import regrain
from regrain.cli.commands import rate, report, weights
from regrain.cli.streams import beside, check_target, picture_format, put, seekable
from regrain.cli.terminal import STANDARD, about, say, shown
from regrain.cli.work import seconds, working

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from regrain_lab.evaluation.equal import Through

    Pixels = NDArray[np.uint8]
    Distance = Callable[[Pixels, Pixels], float | None]

__all__ = ["Row", "compare", "table"]

_DEFAULT_BPP = 0.2
_LPIPS_VARIABLE = "REGRAIN_LPIPS"
_LPIPS_SMALLEST = 32


@dataclass(frozen=True)
class Row:
    """One codec's file and how far it is from the original; None where a metric has no value.

    `psnr` is in dB (None: equal pictures), `bpp` in bits a pixel; `fits` says whether the file is at most as large as
    regrain's.
    """

    codec: str
    quality: float
    bytes: int
    bpp: float
    psnr: float | None
    ms_ssim: float | None
    lpips: float | None
    fits: bool = True


def compare(options: argparse.Namespace) -> None:
    """Draw the sheet and print the table; raises what `regrain.encode` and `regrain.decode` raise, and OutputError."""
    target = options.output or beside(options.input, ".compare.png")
    kind = picture_format(target)
    check_target(target, overwrite=options.overwrite, source=options.input)
    with working(options, f"comparing {shown(options.input)}"):
        rows, notes, spent, sheet = _compared(options)
    put(_written(sheet, kind), target, overwrite=options.overwrite)
    waited = seconds(options)
    aside = target == STANDARD
    if not options.json and not options.quiet:
        say("\n".join([table(rows), *notes]), aside=aside)
    report(
        options,
        {"input": options.input, "output": target, "rows": [asdict(row) for row in rows], "notes": notes}
        | {**spent, "seconds": round(waited, 3)},
        f"regrain: quality {rows[-1].quality:g}, encoded in {spent['encode_seconds']:.1f} s, decoded in "
        f"{spent['decode_seconds']:.1f} s; the comparison is in {shown(target, 'stdout')}, after {waited:.1f} s in all",
        aside=aside,
    )


def _compared(options: argparse.Namespace) -> "tuple[list[Row], list[str], dict[str, float], Pixels]":
    """The rows, regrain's last; notes on codecs that are not there or failed; seconds; the sheet."""
    from regrain import image
    from regrain_lab.evaluation import baselines
    from regrain_lab.evaluation.equal import Through, through

    picture = seekable(options.input, options.max_pixels)
    with about(options.input), image.pillow_limited(options.max_pixels):
        original = _rgb(image.upright(image.read(picture, max_pixels=options.max_pixels)).to_pillow())
    distance = _lpips(options.lpips or os.environ.get(_LPIPS_VARIABLE))
    data, decoded, spent = _through_regrain(original, options)
    info = regrain.inspect(data)
    codecs, missing = baselines.present()
    found, failed = through(codecs, original, len(data))
    every = [*found, Through("regrain", info.quality, len(data), decoded)]
    rows = [_measured(one, original, distance) for one in every]
    return rows, [*missing, *failed], spent, _sheet(original, rows, [one.pixels for one in every])


def _written(sheet: "Pixels", kind: str) -> bytes:
    """The sheet as the bytes of a picture file of that format."""
    from regrain import image

    buffer = io.BytesIO()
    image.write(image.read(sheet), buffer, format=kind)
    return buffer.getvalue()


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line each under a heading; no LPIPS column where no row has one."""
    heads = ["codec", "bytes", "bpp", "PSNR", "MS-SSIM", "LPIPS"]
    lines = [heads] + [
        [row.codec, f"{row.bytes:,}", f"{row.bpp:.3f}", _db(row.psnr), _figure(row.ms_ssim), _figure(row.lpips)]
        for row in rows
    ]
    if all(row.lpips is None for row in rows):
        lines = [line[:-1] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def _through_regrain(original: "Pixels", options: argparse.Namespace) -> tuple[bytes, "Pixels", dict[str, float]]:
    """The file, what it decodes to, and the seconds that both took, without the loading of the model."""
    model = weights(options) or regrain.load(None, options.device)
    start = perf_counter()
    chosen = rate(options, target_bpp=_DEFAULT_BPP)
    limits = {"max_pixels": options.max_pixels}
    with about(options.input):
        data = regrain.encode(original, **chosen, model=model, device=options.device, **limits)
    middle = perf_counter()
    knobs = {name: getattr(options, name) for name in ("steps", "realism", "seed")}
    decoded = _rgb(regrain.decode(data, **knobs, model=model, device=options.device, **limits))
    end = perf_counter()
    return data, decoded, {"encode_seconds": round(middle - start, 3), "decode_seconds": round(end - middle, 3)}


def _measured(one: "Through", original: "Pixels", distance: "Distance") -> Row:
    from regrain_lab.metrics import fidelity as metrics

    psnr = metrics.psnr(original, one.pixels)
    return Row(
        codec=one.codec,
        quality=one.quality,
        bytes=one.bytes,
        bpp=8 * one.bytes / (original.shape[0] * original.shape[1]),
        psnr=psnr if math.isfinite(psnr) else None,
        ms_ssim=metrics.ms_ssim(original, one.pixels),
        lpips=distance(original, one.pixels),
        fits=one.fits,
    )


def _sheet(original: "Pixels", rows: Sequence[Row], pictures: Sequence["Pixels"]) -> "Pixels":
    from regrain_lab.evaluation import sheet

    columns = [
        sheet.Column(f"{row.codec}, quality {row.quality:g}", pixels, _caption(row))
        for row, pixels in zip(rows, pictures, strict=True)
    ]
    return sheet.draw(original, columns)


def _caption(row: Row) -> list[str]:
    smallest = "" if row.fits else " (its smallest)"
    lines = [
        f"{row.bytes:,} bytes, {row.bpp:.3f} bpp{smallest}",
        f"PSNR {_db(row.psnr)}",
        f"MS-SSIM {_figure(row.ms_ssim)}",
    ]
    return lines if row.lpips is None else [*lines, f"LPIPS {_figure(row.lpips)}"]


def _lpips(path: str | Path | None) -> "Distance":
    """LPIPS between two uint8 (h, w, 3) pictures; None without weights, or where a side is too short for it."""
    if path is None:
        return lambda original, decoded: None
    import torch

    from regrain_lab.metrics.lpips import Lpips

    network = Lpips.load(path)

    def _distance(original: "Pixels", decoded: "Pixels") -> float | None:
        if min(original.shape[:2]) < _LPIPS_SMALLEST:
            return None
        with torch.inference_mode():
            return float(network(_batch(original), _batch(decoded)))

    return _distance


def _batch(pixels: "Pixels") -> "torch.Tensor":
    """Uint8 (h, w, 3) as float32 (1, 3, h, w) in [-1, 1]."""
    import torch

    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


def _rgb(picture: "Image.Image") -> "Pixels":
    """A Pillow image as uint8 (h, w, 3)."""
    import numpy as np

    return np.asarray(picture.convert("RGB"))


def _db(psnr: float | None) -> str:
    return "equal" if psnr is None else f"{psnr:.2f} dB"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
