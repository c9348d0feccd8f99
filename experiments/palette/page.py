"""results/0.1/PALETTE.md from the tables in this folder, those of the second set and results/0.1/results.csv alone.

python experiments/palette/page.py
"""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.curves import curves
from regrain_lab.evaluation.page import Table, fill
from regrain_lab.evaluation.table import Row, read
from regrain_lab.metrics.registry import SCALES

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
RATES = (0.05, 0.1, 0.15, 0.2, 0.25)
METRICS = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 4), "lpips_alex": ("LPIPS-AlexNet", 4)}
SETS = {
    "Kodak, 24 photos": RESULTS / "results.csv",
    "Second set, 23 photos": FOLDER.parent / "second_set" / "photos.csv",
    "Second set, 5 screen captures": FOLDER.parent / "second_set" / "screens.csv",
}
PALETTE = "palette"
JUDGES = ("lpips_alex", "dists", "ms_ssim", "psnr")
"""The columns of jpeg.csv."""
WAYS: dict[str, Callable[[Row], bool]] = {
    "palette, as stored": lambda row: row.options == PALETTE and row.realism == 0,
    "palette, repaired": lambda row: row.options == PALETTE and row.realism == 1 and row.steps == 1,
    "conditional": lambda row: row.codec == "regrain" and not row.options and row.realism == 1 and row.steps == 1,
    "JPEG": lambda row: row.codec == "JPEG",
    "WebP": lambda row: row.codec == "WebP",
}


def main() -> None:
    """Write the page."""
    (RESULTS / "PALETTE.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    coding, repair = _rows(FOLDER, "coding"), _rows(FOLDER, "repair")
    full = [row for row in coding if row["colours"] == "256" and row["dither"] == "raster"]
    stored, coded = _mean(full, "stored"), _mean(full, "coded")
    beside = _rows(FOLDER, "jpeg")
    values = {
        "equal_bytes": _equal_bytes(),
        "jpeg_photos": str(len({row["image"] for row in beside})),
        "jpeg": beside_jpeg(beside),
        "photos": str(len(full)),
        "stored": f"{stored:,.0f}",
        "coded": f"{coded:,.0f}",
        "saved": f"{100 * (1 - coded / stored):.1f}",
        "least": _extreme(full, min),
        "most": _extreme(full, max),
        "dithered": str(_dithered(coding)),
        "repaired_photos": str(len({row["image"] for row in repair})),
        "repaired": str(_repaired(repair)),
    }
    return fill((FOLDER / "page.md").read_text(encoding="utf-8"), values)


def tables(folder: Path) -> list[str]:
    """Those of a folder's coding.csv and repair.csv, as far as they are there."""
    made = {"coding": _dithered, "repair": _repaired}
    return [str(made[name](_rows(folder, name))) for name in made if (folder / f"{name}.csv").exists()]


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _mean(rows: list[dict[str, str]], name: str) -> float:
    return fmean(float(row[name]) for row in rows)


def _equal_bytes() -> str:
    blocks = []
    for title, path in SETS.items():
        blocks += [f"{title}: curves of means, read off at equal bits a pixel.", str(_readings(read(Row, path)))]
    return "\n\n".join(blocks)


def _readings(rows: list[Row]) -> Table:
    cells = []
    for name, wanted in WAYS.items():
        own = [row for row in rows if wanted(row)]
        readings = [_at(own, metric, digits) for metric, (_, digits) in METRICS.items()]
        cells.append([name, *(" / ".join(filter(None, at)) for at in zip(*readings, strict=True))])
    return Table([" / ".join(title for title, _ in METRICS.values()), *map(str, RATES)], cells)


def _at(rows: list[Row], metric: str, digits: int) -> list[str]:
    """A metric at RATES, read off the curve of means; empty where the codec has no files."""
    ((_, means),) = curves(rows, metric).items()
    points = [(mean.bpp, mean.value) for mean in means]
    values = [bd.at_rate(points, rate, higher=SCALES[metric].higher) for rate in RATES]
    return ["" if value is None else f"{value:.{digits}f}" for value in values]


def _extreme(rows: list[dict[str, str]], which: Callable[..., tuple[float, str]]) -> str:
    saved, name = which((1 - int(row["coded"]) / int(row["stored"]), row["image"]) for row in rows)
    return f"{name}, {100 * saved:.1f} %"


def beside_jpeg(rows: list[dict[str, str]]) -> str:
    """The palette's means at each quality, and JPEG's at the same bytes, in Markdown."""
    own, other = (_by_quality(rows, codec) for codec in ("palette", "JPEG"))
    titles = [f"{SCALES[name].title}: palette | JPEG" for name in JUDGES]
    lines = [f"| quality | bpp | {' | '.join(titles)} | ahead by |"]
    lines.append("|---" * (3 + 2 * len(JUDGES)) + "|")
    for quality, figures in own.items():
        cells, ahead = [], []
        for name in JUDGES:
            points = [(mean["bpp"], mean[name]) for mean in other.values()]
            at = bd.at_rate(points, figures["bpp"], higher=SCALES[name].higher)
            cells.append(f"{figures[name]:.4g} | {'no file' if at is None else f'{at:.4g}'}")
            ahead += [SCALES[name].title] if at is None or (figures[name] > at) == SCALES[name].higher else []
        lines.append(f"| {quality} | {figures['bpp']:.3f} | {' | '.join(cells)} | {', '.join(ahead)} |")
    return "\n".join(lines)


def _by_quality(rows: list[dict[str, str]], codec: str) -> dict[str, dict[str, float]]:
    """Means of a codec's rows."""
    own = [row for row in rows if row["codec"] == codec]
    parts = {
        quality: [r for r in own if r["quality"] == quality] for quality in dict.fromkeys(r["quality"] for r in own)
    }
    return {quality: {name: _mean(part, name) for name in ("bpp", *JUDGES)} for quality, part in parts.items()}


def _dithered(coding: list[dict[str, str]]) -> Table:
    cells = []
    for count, order in dict.fromkeys((row["colours"], row["dither"]) for row in coding):
        rows = [row for row in coding if (row["colours"], row["dither"]) == (count, order)]
        figures = [f"{_mean(rows, 'stored'):,.0f}", f"{_mean(rows, 'coded'):,.0f}", f"{_mean(rows, 'error'):.3f}"]
        for name, digits in (("psnr", 2), ("psnr_repaired", 2), ("lpips_alex", 4), ("lpips_repaired", 4)):
            figures.append(f"{_mean(rows, name):.{digits}f}")
        cells.append((count, order, *figures))
    sizes = ["colours", "dithering", "bytes as they are", "coded", "error"]
    return Table([*sizes, "PSNR, stored", "repaired", "LPIPS, stored", "repaired"], cells, left=2)


def _repaired(repair: list[dict[str, str]]) -> Table:
    cells = []
    for way in dict.fromkeys((row["repaired"], row["strength"], row["steps"]) for row in repair):
        rows = [row for row in repair if (row["repaired"], row["strength"], row["steps"]) == way]
        figures = [f"{_mean(rows, name):.{digits}f}" for name, (_, digits) in METRICS.items()]
        cells.append((*way, *figures))
    return Table(["repaired", "strength", "steps", *(title for title, _ in METRICS.values())], cells)


if __name__ == "__main__":
    main()
