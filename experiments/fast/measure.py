"""Cheaper decoders of one step against the large one in floats: on bytes, and the fast one on bytes.

    python experiments/fast/measure.py PICTURES WEIGHTS [--model FILE] [--every N] [--out FILE]
    python experiments/fast/measure.py --table

WEIGHTS has those of LPIPS-AlexNet. Every picture is encoded once a quality and decoded faithfully (realism 0) and by
default (realism 1): in floats, which torch computes with, on bytes, which is the default, and by the fast decoder. Rows
that rows.csv has already stay.
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
FLOATS = "floats"
DECODERS = (FLOATS, "bytes", "fast")
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
    model, in_floats = regrain.load(options.model), regrain.load(options.model, device="cpu")
    there = {(row["image"], row["quality"], row["decoder"]) for row in read(options.out)}
    for path in sorted(options.pictures.glob("*.png"))[:: options.every]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for quality in QUALITIES:
            missing = [decoder for decoder in DECODERS if (path.name, str(quality), decoder) not in there]
            data = regrain.encode(pixels, quality=quality, model=model) if missing else b""
            for decoder in missing:
                own = in_floats if decoder == FLOATS else model
                for realism in (0, 1):
                    decoded = np.asarray(regrain.decode(data, realism=realism, fast=decoder == "fast", model=own))
                    figures = {name: f"{judges[name](pixels, decoded):.5f}" for name in METRICS}
                    about = {"image": path.name, "quality": quality, "bytes": len(data), "realism": realism}
                    append(options.out, about | {"decoder": decoder} | figures)


def table(rows: list[dict[str, str]]) -> str:
    """Means of the decoder in floats, and what the others have more, in Markdown."""
    lines = [f"| decoder | realism | quality | {' | '.join(METRICS)} |", "|---" * (3 + len(METRICS)) + "|"]
    for decoder in DECODERS[1:]:
        for realism in ("0", "1"):
            for quality in dict.fromkeys(row["quality"] for row in rows):
                own = [row for row in rows if (row["quality"], row["realism"]) == (quality, realism)]
                cells = []
                for name in METRICS:
                    floats, other = (
                        fmean(float(row[name]) for row in own if row["decoder"] == which) for which in (FLOATS, decoder)
                    )
                    share = f" ({100 * (other / floats - 1):+.1f} %)" if name == "lpips_alex" else ""
                    cells.append(f"{floats:.4g} {other - floats:+.2g}{share}")
                lines.append(f"| {decoder} | {realism} | {quality} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
