"""The fast decoder against the large one in one step: rows of both, and a table of the differences.

    python experiments/fast/measure.py PICTURES WEIGHTS [--model FILE] [--every N] [--out FILE]
    python experiments/fast/measure.py --table

WEIGHTS has those of LPIPS-AlexNet. Every picture is encoded once a quality and decoded four times:
faithfully (realism 0) and by default (realism 1), by either network. Rows that rows.csv has already stay.
"""

import argparse
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

import regrain
from regrain_lab.evaluation.rows import append, arguments, read
from regrain_lab.metrics.registry import load_metrics

ROWS = Path(__file__).resolve().parent / "rows.csv"
METRICS = ("psnr", "ms_ssim", "lpips_alex")
QUALITIES = (5, 15, 28, 50, 75)


def main() -> None:
    """Write the rows that are missing, and print the table."""
    options = arguments(__doc__ or "", ROWS)
    if not options.table:
        measure(options)
    print(table(read(options.out)))


def measure(options: argparse.Namespace) -> None:
    """Add the rows that are missing."""
    judges = load_metrics([options.weights / "lpips_alex_v0.1.safetensors"])
    model = regrain.load(options.model)
    there = {(row["image"], row["quality"]) for row in read(options.out) if row["decoder"] == "fast"}
    for path in sorted(options.pictures.glob("*.png"))[:: options.every]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for quality in QUALITIES:
            if (path.name, str(quality)) in there:
                continue
            data = regrain.encode(pixels, quality=quality, model=model)
            for decoder in ("large", "fast"):
                for realism in (0, 1):
                    decoded = np.asarray(regrain.decode(data, realism=realism, fast=decoder == "fast", model=model))
                    figures = {name: f"{judges[name](pixels, decoded):.5f}" for name in METRICS}
                    about = {"image": path.name, "quality": quality, "bytes": len(data), "realism": realism}
                    append(options.out, about | {"decoder": decoder} | figures)


def table(rows: list[dict[str, str]]) -> str:
    """Means of the large decoder, and what the fast one has more, in Markdown."""
    lines = [f"| realism | quality | {' | '.join(METRICS)} |", "|---" * (2 + len(METRICS)) + "|"]
    for realism in ("0", "1"):
        for quality in dict.fromkeys(row["quality"] for row in rows):
            own = [row for row in rows if (row["quality"], row["realism"]) == (quality, realism)]
            cells = []
            for name in METRICS:
                large, fast = (
                    fmean(float(row[name]) for row in own if row["decoder"] == decoder) for decoder in ("large", "fast")
                )
                share = f" ({100 * (fast / large - 1):+.1f} %)" if name == "lpips_alex" else ""
                cells.append(f"{large:.4g} {fast - large:+.3g}{share}")
            lines.append(f"| {realism} | {quality} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
