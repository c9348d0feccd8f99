"""The palette codec against JPEG at equal bytes, by LPIPS, DISTS and MS-SSIM: rows of both, and a table of the means.

    python experiments/palette/against_jpeg.py KODAK WEIGHTS [--model FILE] [--every N] [--out FILE]
    python experiments/palette/against_jpeg.py --table

WEIGHTS has those of LPIPS-AlexNet, VGG16 and DISTS. Rows that jpeg.csv has already are not made again. JPEG's means at
the palette's mean bytes are read off the curve through those of its own qualities, as all pages here do.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import JUDGES, beside_jpeg
from PIL import Image

import regrain
from regrain_lab.evaluation.rows import append, arguments, read
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
ROWS = HERE / "jpeg.csv"
QUALITIES = {"palette": (0, 20, 40, 60, 70, 85, 100), "JPEG": (1, 3, 5, 8, 12, 18)}
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows that are missing, or print the table."""
    options = arguments(__doc__ or "", ROWS)
    if not options.table:
        measure(options)
    print(beside_jpeg(read(options.out)))


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
                    append(options.out, row | {name: f"{judges[name](pixels, decoded):.5f}" for name in JUDGES})


def coded(codec: str, pixels: Pixels, quality: int, model: object) -> tuple[int, Pixels]:
    """The bytes of a file, and the pixels that it decodes to."""
    if codec == "palette":
        data = regrain.encode(pixels, quality=quality, model=model)
        return len(data), np.asarray(regrain.decode(data, model=model))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return out.tell(), np.asarray(Image.open(out))


if __name__ == "__main__":
    main()
