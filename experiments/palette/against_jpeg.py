"""The palette codec against JPEG at equal bytes, by LPIPS, DISTS and MS-SSIM: rows of both, and a table of the means.

    python experiments/palette/against_jpeg.py KODAK WEIGHTS [--model FILE] [--every N] [--out FILE]
    python experiments/palette/against_jpeg.py --table

WEIGHTS has those of LPIPS-AlexNet, VGG16 and DISTS. Rows that jpeg.csv has already are not made again. JPEG's means at
the palette's mean bytes are read off between those of its own qualities, linear in log bytes.
"""

import argparse
import io
import math
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import regrain
from regrain_lab.evaluation.rows import append, arguments, read
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
ROWS = HERE / "jpeg.csv"
METRICS = {"lpips_alex": False, "dists": False, "ms_ssim": True, "psnr": True}
"""And whether more is better."""
QUALITIES = {"palette": (0, 20, 40, 60, 70, 85, 100), "JPEG": (1, 3, 5, 8, 12, 18)}
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows that are missing, or print the table."""
    options = arguments(__doc__ or "", ROWS)
    if not options.table:
        measure(options)
    print(table(read(options.out)))


def measure(options: argparse.Namespace) -> None:
    """Add the rows that are missing."""
    names = ("lpips_alex_v0.1", "vgg16_features_fp16", "dists_alpha_beta")
    judges = load_metrics([options.weights / f"{name}.safetensors" for name in names])
    there = {(row["image"], row["codec"], row["quality"]) for row in read(options.out)}
    model = regrain.load(options.model or "palette")
    for path in sorted(options.pictures.glob("*.png"))[:: options.every]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for codec, qualities in QUALITIES.items():
            for quality in qualities:
                if (path.name, codec, str(quality)) not in there:
                    size, decoded = coded(codec, pixels, quality, model)
                    row = {"image": path.name, "codec": codec, "quality": quality}
                    row |= {"bpp": f"{8 * size / pixels[..., 0].size:.5f}"}
                    append(options.out, row | {name: f"{judges[name](pixels, decoded):.5f}" for name in METRICS})


def coded(codec: str, pixels: Pixels, quality: int, model: object) -> tuple[int, Pixels]:
    """The bytes of a file, and the pixels that it decodes to."""
    if codec == "palette":
        data = regrain.encode(pixels, quality=quality, model=model)
        return len(data), np.asarray(regrain.decode(data, model=model))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return out.tell(), np.asarray(Image.open(out))


def table(rows: list[dict[str, str]]) -> str:
    """The palette's means at each quality, and JPEG's at the same bytes, in Markdown."""
    own, other = (means(rows, codec) for codec in QUALITIES)
    lines = [f"| quality | bpp | {' | '.join(f'{name}, palette | JPEG' for name in METRICS)} | ahead by |"]
    lines.append("|---" * (3 + 2 * len(METRICS)) + "|")
    for quality, figures in own.items():
        at = {name: between([*other.values()], name, figures["bpp"]) for name in METRICS}
        ahead = [n for n, more in METRICS.items() if at[n] is None or (figures[n] > at[n]) == more]
        cells = [f"{figures[n]:.4g} | {'no file' if at[n] is None else f'{at[n]:.4g}'}" for n in METRICS]
        lines.append(f"| {quality} | {figures['bpp']:.3f} | {' | '.join(cells)} | {', '.join(ahead)} |")
    return "\n".join(lines)


def means(rows: list[dict[str, str]], codec: str) -> dict[str, dict[str, float]]:
    """By quality, in the order of their bytes."""
    qualities = dict.fromkeys(row["quality"] for row in rows if row["codec"] == codec)
    parts = {quality: [r for r in rows if (r["codec"], r["quality"]) == (codec, quality)] for quality in qualities}
    return {
        quality: {name: fmean(float(row[name]) for row in part) for name in ("bpp", *METRICS)}
        for quality, part in parts.items()
    }


def between(points: list[dict[str, float]], name: str, bpp: float) -> float | None:
    """A figure at a rate, linear in its logarithm; None where the rate is out of reach."""
    for low, high in pairwise(points):
        if low["bpp"] <= bpp <= high["bpp"]:
            part = math.log(bpp / low["bpp"]) / math.log(high["bpp"] / low["bpp"])
            return low[name] + part * (high[name] - low[name])
    return None


if __name__ == "__main__":
    main()
