"""What effort gains: a row for each photo, quality and effort, and a table of BD-rates against effort 0.

    python experiments/effort/measure.py PICTURES WEIGHTS [--every N] [--first N] [--crop SIDE] [--efforts 0 5 9]
    python experiments/effort/measure.py --table

PICTURES is a folder; WEIGHTS has those of LPIPS-AlexNet, VGG16 and DISTS. Rows that rows.csv has already are not made
again. Each file is decoded twice, faithfully (realism 0) and by default (realism 1). `--crop` takes squares of the
middle. BD-rates are of the means over the photos that have all rows.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import regrain
from regrain_lab.evaluation import bd
from regrain_lab.evaluation.rows import append, read
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows.csv"
QUALITIES = (15, 28, 45, 60)
METRICS = ("psnr", "ms_ssim", "ssimulacra2", "lpips_alex", "dists")
LOWER = {"lpips_alex", "dists"}
HEAD = ["image", "crop", "quality", "effort", "realism", "bytes", "bpp", "seconds", *METRICS]
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows that are missing, or print the table of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--efforts", type=int, nargs="+", default=[0, 5, 9])
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return print(table(read(options.out)))
    names = ("lpips_alex_v0.1", "vgg16_features_fp16", "dists_alpha_beta")
    judges = load_metrics([options.weights / f"{name}.safetensors" for name in names])
    there = {tuple(row[name] for name in HEAD[:4]) for row in read(options.out)}
    for path in sorted(options.pictures.glob("*.png"))[options.first :: options.every]:
        pixels = cropped(np.asarray(Image.open(path).convert("RGB")), options.crop)
        for quality in QUALITIES:
            for effort in options.efforts:
                about = (path.name, str(options.crop), str(quality), str(effort))
                if about not in there:
                    start = perf_counter()
                    data = regrain.encode(pixels, quality=quality, effort=effort)
                    taken = perf_counter() - start
                    for realism in (0, 1):
                        decoded = np.asarray(regrain.decode(data, realism=realism))
                        figures = [f"{judges[name](pixels, decoded):.5f}" for name in METRICS]
                        rate = f"{8 * len(data) / (pixels.shape[0] * pixels.shape[1]):.5f}"
                        cells = [*about, realism, len(data), rate, f"{taken:.1f}", *figures]
                        append(options.out, dict(zip(HEAD, cells, strict=True)))
    return None


def cropped(pixels: Pixels, side: int) -> Pixels:
    """The square of the middle; all of it for a side of 0."""
    if not side:
        return pixels
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def table(rows: list[dict[str, str]]) -> str:
    """BD-rates against effort 0 in per cent, by realism and metric, and the median seconds, in Markdown."""
    efforts = sorted({int(row["effort"]) for row in rows})
    whole = photos(rows, len(efforts) * len(QUALITIES) * 2)
    rows = [row for row in rows if (row["image"], row["crop"]) in whole]
    lines = [f"| effort | realism | {' | '.join(METRICS)} | seconds |", "|---" * (len(METRICS) + 3) + "|"]
    for effort in efforts[1:]:
        for realism in ("0", "1"):
            rates = [
                bd.bd_rate(
                    points(rows, 0, realism, name), points(rows, effort, realism, name), higher=name not in LOWER
                )
                for name in METRICS
            ]
            seconds = [float(row["seconds"]) for row in rows if int(row["effort"]) == effort and row["seconds"]]
            cells = ["-" if rate.value is None else f"{rate.value:+.1f} %" for rate in rates]
            lines.append(
                f"| {effort} | {realism} | {' | '.join(cells)} | {f'{median(seconds):.0f}' if seconds else '-'} |"
            )
    return "\n".join([f"{len(whole)} photos", "", *lines])


def photos(rows: list[dict[str, str]], count: int) -> set[tuple[str, str]]:
    """Those with so many rows, by name and crop."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        counts[row["image"], row["crop"]] += 1
    return {name for name, length in counts.items() if length == count}


def points(rows: list[dict[str, str]], effort: int, realism: str, metric: str) -> list[tuple[float, float]]:
    """Mean bpp and mean figure at each quality."""
    chosen = [row for row in rows if int(row["effort"]) == effort and row["realism"] == realism]
    return [
        (mean(float(row["bpp"]) for row in at), mean(float(row[metric]) for row in at))
        for quality in QUALITIES
        if (at := [row for row in chosen if int(row["quality"]) == quality])
    ]


if __name__ == "__main__":
    main()
