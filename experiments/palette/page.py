"""docs/PALETTE.md from the tables in this folder, those of the second set and docs/results.csv alone.

python experiments/palette/page.py
"""

import csv
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation.curves import curves
from regrain_lab.evaluation.table import Row, read

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
RATES = (0.05, 0.1, 0.15, 0.2, 0.25)
METRICS = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 4), "lpips_alex": ("LPIPS-AlexNet", 4)}
SETS = {
    "Kodak, 24 photos": DOCS / "results.csv",
    "Second set, 23 photos": FOLDER.parent / "second_set" / "photos.csv",
    "Second set, 5 screen captures": FOLDER.parent / "second_set" / "screens.csv",
}
PALETTE = "palette"
WAYS: dict[str, Callable[[Row], bool]] = {
    "palette, as stored": lambda row: row.options == PALETTE and row.realism == 0,
    "palette, repaired": lambda row: row.options == PALETTE and row.realism == 1 and row.steps == 1,
    "conditional": lambda row: row.codec == "regrain" and not row.options and row.realism == 1 and row.steps == 1,
    "JPEG": lambda row: row.codec == "JPEG",
    "WebP": lambda row: row.codec == "WebP",
}

Cells = Iterable[str]


def main() -> None:
    """Write the page."""
    (DOCS / "PALETTE.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    coding, repair = _rows("coding"), _rows("repair")
    return "\n".join([HEAD, *_equal_bytes(), *_coded(coding), *_dithered(coding), *_repaired(repair), TAIL])


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _mean(rows: list[dict[str, str]], name: str) -> float:
    return fmean(float(row[name]) for row in rows)


def _table(head: Cells, rows: Iterable[Cells]) -> list[str]:
    head = list(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)] + [""]


def _equal_bytes() -> list[str]:
    out = []
    for title, path in SETS.items():
        rows = read(Row, path)
        out += [f"{title}: curves of means, read off at equal bits a pixel.", "", *_readings(rows)]
    return out


def _readings(rows: list[Row]) -> list[str]:
    cells = []
    for name, wanted in WAYS.items():
        own = [row for row in rows if wanted(row)]
        readings = [_at(own, metric, digits) for metric, (_, digits) in METRICS.items()]
        cells.append([name, *(" / ".join(filter(None, at)) for at in zip(*readings, strict=True))])
    return _table([" / ".join(title for title, _ in METRICS.values()), *map(str, RATES)], cells)


def _at(rows: list[Row], metric: str, digits: int) -> list[str]:
    """A metric at RATES, read off the curve of means; empty where the codec has no files."""
    ((_, means),) = curves(rows, metric).items()
    points = [(mean.bpp, mean.value) for mean in means]
    return [f"{value:.{digits}f}" if (value := _between(points, rate)) is not None else "" for rate in RATES]


def _between(points: list[tuple[float, float]], rate: float) -> float | None:
    for (low, before), (high, after) in pairwise(points):
        if low <= rate <= high:
            return before + (after - before) * (rate - low) / (high - low)
    return None


def _coded(coding: list[dict[str, str]]) -> list[str]:
    full = [row for row in coding if row["colours"] == "256" and row["dither"] == "raster"]
    stored, coded = _mean(full, "stored"), _mean(full, "coded")
    return [
        "## Bytes of a tile",
        "",
        f"The middle 512 x 512 pixels of {len(full)} photos, 64 x 64 latents, 256 colours, dithered: as they are "
        f"{stored:,.0f} bytes of payload, 1,024 of",
        f"colours and 4,096 of indices among them; entropy-coded {coded:,.0f}, {100 * (1 - coded / stored):.1f} % less "
        f"(least on {_extreme(full, min)}, most on {_extreme(full, max)}).",
        "",
    ]


def _extreme(rows: list[dict[str, str]], which: Callable[..., tuple[float, str]]) -> str:
    saved, name = which((1 - int(row["coded"]) / int(row["stored"]), row["image"]) for row in rows)
    return f"{name}, {100 * saved:.1f} %"


def _dithered(coding: list[dict[str, str]]) -> list[str]:
    out = [
        "## Dithering, palette sizes, latents as stored and repaired",
        "",
        "Means over the same; error is the deviation of the quantisation error in latents of unit variance.",
        "",
    ]
    cells = []
    for count, order in dict.fromkeys((row["colours"], row["dither"]) for row in coding):
        rows = [row for row in coding if (row["colours"], row["dither"]) == (count, order)]
        figures = [f"{_mean(rows, 'stored'):,.0f}", f"{_mean(rows, 'coded'):,.0f}", f"{_mean(rows, 'error'):.3f}"]
        for name, digits in (("psnr", 2), ("psnr_repaired", 2), ("lpips_alex", 4), ("lpips_repaired", 4)):
            figures.append(f"{_mean(rows, name):.{digits}f}")
        cells.append((count, order, *figures))
    head = ("colours", "dithering", "bytes as they are", "coded", "error", "PSNR, stored", "repaired",
            "LPIPS, stored", "repaired")  # fmt: skip
    return out + _table(head, cells)


def _repaired(repair: list[dict[str, str]]) -> list[str]:
    out = ["## What is repaired, and in how many steps", "", f"{len({row['image'] for row in repair})} photos, 256 "
           "colours. Log-SNR is the level to which the picture is noised first.", ""]  # fmt: skip
    cells = []
    for way in dict.fromkeys((row["repaired"], row["steps"], row["log_snr"]) for row in repair):
        rows = [row for row in repair if (row["repaired"], row["steps"], row["log_snr"]) == way]
        level = f"{float(way[2]):g}" if way[2] else ""
        figures = [f"{_mean(rows, name):.{digits}f}" for name, (_, digits) in METRICS.items()]
        cells.append((way[0], way[1], level, *figures))
    head = ("repaired", "steps", "log-SNR", *(title for title, _ in METRICS.values()))
    return out + _table(head, cells)


HEAD = """# The palette codec

Made by `experiments/palette/run.sh` from the rows beside it and [results.csv](results.csv). Latents of a small
autoencoder, at 1/8 of a picture's sides with four channels, become a picture of at most 256 colours by error
diffusion; a denoiser of latents takes the noise of it out again when the picture is decoded. Above quality 60 there
is no palette, and every channel is coded by itself.

**The verdict: it loses.** The conditional codec is ahead at every rate that both have, by every metric, and WebP by
PSNR and SSIM. The palette beats JPEG on photos, WebP by LPIPS up to 0.15 bits a pixel, and is smaller than either.
Four channels at 1/8 are what holds it back: unquantised they are worth 25.6 dB on Kodak.

## Beside other codecs
"""
TAIL = """Repair of the latents helps where colours are few. Repair of the picture gains PSNR in one step and loses
LPIPS; 100 steps are no better than 8 by more than a hundredth, so there was nothing to distil. No Stable Diffusion's
weights were at hand to be measured: the two latents above are this autoencoder's, as stored and repaired.

What goes wrong: letters and screens come back as something like letters, faces as other faces. 256 colours,
the conditional codec at the same bytes, JPEG and WebP at the largest file that is no larger, or their smallest.

![A face, letters and a screen](../experiments/palette/failures.webp)
"""


if __name__ == "__main__":
    main()
