"""`compare`: one picture through regrain and the usual codecs at equal bytes, as a table and as a sheet to look at.

Equal means that no file is larger than regrain's, and each is the largest of its codec that is not. All of them get the
same 8-bit RGB pixels, without alpha and metadata; sizes are those of whole files.
"""

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import regrain
from regrain.cli.commands import rate, report, weights
from regrain.cli.streams import check_target, default_output, picture_format, put, seekable
from regrain.cli.terminal import STANDARD, about, display_name, say
from regrain.cli.work import seconds, working
from regrain_lab.cli.extra import check_installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from regrain_lab.evaluation.baselines import Encoded
    from regrain_lab.metrics.registry import Metric

    Pixels = NDArray[np.uint8]

__all__ = ["Row", "compare", "table"]

_DEFAULT_BPP = 0.2
_EXTRA = ("torch", "pytorch_msssim")
_LPIPS_VARIABLE = "REGRAIN_LPIPS"


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
    target = options.output or default_output(options.input, ".compare.png")
    kind = picture_format(target)
    check_target(target, overwrite=options.overwrite, source=options.input)
    check_installed("comparing", _EXTRA)
    from regrain import image

    with working(options, f"comparing {display_name(options.input)}"):
        rows, notes, timing, sheet = _compare(options)
    put(image.to_file(image.Picture(sheet), kind), target, overwrite=options.overwrite)
    total = seconds(options)
    aside = target == STANDARD
    if not options.json and not options.quiet:
        say("\n".join([table(rows), *notes]), aside=aside)
    report(
        options,
        {"input": options.input, "output": target, "rows": [asdict(row) for row in rows], "notes": notes}
        | {**timing, "seconds": round(total, 3)},
        f"regrain: quality {rows[-1].quality:g}, encoded in {timing['encode_seconds']:.1f} s, decoded in "
        f"{timing['decode_seconds']:.1f} s; the comparison is in {display_name(target, 'stdout')}, "
        f"after {total:.1f} s in all",
        aside=aside,
    )


def _compare(options: argparse.Namespace) -> "tuple[list[Row], list[str], dict[str, float], Pixels]":
    """The rows, regrain's last; notes on codecs that are missing or failed; seconds; the sheet."""
    from regrain import image
    from regrain_lab.evaluation import baselines

    picture = seekable(options.input, options.max_pixels)
    with about(options.input), image.pillow_limited(options.max_pixels):
        original = _rgb(image.upright(image.read(picture, max_pixels=options.max_pixels)).to_pillow())
    lpips = _load_lpips(options.lpips or os.environ.get(_LPIPS_VARIABLE))
    ours, timing = _through_regrain(original, options)
    codecs, notes = baselines.available()
    others, failures = baselines.at_equal_bytes(codecs, original, len(ours.data))
    encoded = [*others, ours]
    rows = [_row(one, original, lpips) for one in encoded]
    return rows, [*notes, *failures], timing, _sheet(original, rows, [one.pixels for one in encoded])


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line each under a heading; no LPIPS column where no row has one."""
    figures = [_figures(row) for row in rows]
    lines = [["codec", *figures[0]], *([row.codec, *own.values()] for row, own in zip(rows, figures, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def _figures(row: Row) -> dict[str, str]:
    """The figures of a row as text by their heads; LPIPS, which all rows have or none, is left out where it is None."""
    psnr = "equal" if row.psnr is None else f"{row.psnr:.2f} dB"
    ms_ssim = "-" if row.ms_ssim is None else f"{row.ms_ssim:.4f}"
    texts = {"bytes": f"{row.bytes:,}", "bpp": f"{row.bpp:.3f}", "PSNR": psnr, "MS-SSIM": ms_ssim}
    return texts if row.lpips is None else {**texts, "LPIPS": f"{row.lpips:.4f}"}


def _through_regrain(original: "Pixels", options: argparse.Namespace) -> "tuple[Encoded, dict[str, float]]":
    """The file and what it decodes to, and the seconds that both took, without the loading of the model."""
    from regrain_lab.evaluation.baselines import Encoded

    model = weights(options) or regrain.load(None, options.device)
    start = perf_counter()
    target = rate(options, target_bpp=_DEFAULT_BPP)
    limits = {"max_pixels": options.max_pixels}
    with about(options.input):
        data = regrain.encode(original, **target, model=model, device=options.device, **limits)
    middle = perf_counter()
    settings = {name: getattr(options, name) for name in ("steps", "realism", "seed")}
    decoded = _rgb(regrain.decode(data, **settings, model=model, device=options.device, **limits))
    end = perf_counter()
    timing = {"encode_seconds": round(middle - start, 3), "decode_seconds": round(end - middle, 3)}
    return Encoded("regrain", regrain.inspect(data).quality, data, pixels=decoded), timing


def _row(encoded: "Encoded", original: "Pixels", lpips: "Metric") -> Row:
    from regrain_lab.metrics import fidelity

    psnr = fidelity.psnr(original, encoded.pixels)
    return Row(
        codec=encoded.codec,
        quality=encoded.quality,
        bytes=len(encoded.data),
        bpp=encoded.bpp,
        psnr=psnr if math.isfinite(psnr) else None,
        ms_ssim=fidelity.ms_ssim(original, encoded.pixels),
        lpips=lpips(original, encoded.pixels),
        fits=encoded.fits,
    )


def _sheet(original: "Pixels", rows: Sequence[Row], pictures: Sequence["Pixels"]) -> "Pixels":
    from regrain_lab.evaluation import contact_sheet

    columns = [
        contact_sheet.Column(f"{row.codec}, quality {row.quality:g}", pixels, _caption(row))
        for row, pixels in zip(rows, pictures, strict=True)
    ]
    return contact_sheet.draw([contact_sheet.overview(original, columns)])


def _caption(row: Row) -> list[str]:
    figures = _figures(row)
    size = f"{figures.pop('bytes')} bytes, {figures.pop('bpp')} bpp{'' if row.fits else ' (its smallest)'}"
    return [size, *(f"{head} {text}" for head, text in figures.items())]


def _load_lpips(path: str | Path | None) -> "Metric":
    """LPIPS between two uint8 (h, w, 3) pictures; None without weights, or where a side is too short for it."""
    if path is None:
        return lambda original, decoded: None
    from regrain_lab.metrics.lpips import Lpips
    from regrain_lab.metrics.registry import network_metric

    return network_metric(Lpips.load(path), Lpips.smallest)


def _rgb(picture: "Image.Image") -> "Pixels":
    import numpy as np

    return np.asarray(picture.convert("RGB"))
