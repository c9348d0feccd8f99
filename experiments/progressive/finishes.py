"""How a stream that was cut becomes a picture: docs/progressive/finishes.csv.

    python experiments/progressive/finishes.py KODAK LPIPS

Every sixth photo of Kodak after 20 of 40 steps, ended in one step (the estimate of x_0), along the probability flow
(DiffC-F) and by ancestral sampling (DiffC-A), in 8 and 32 steps: PSNR and LPIPS-AlexNet.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import regrain
from regrain_lab.metrics.fidelity import psnr
from regrain_lab.metrics.registry import load_metrics

OUT = Path(__file__).resolve().with_name("finishes.csv")
QUALITY = 50
WAYS = ((1, 0.0), (8, 0.0), (8, 1.0), (32, 0.0), (32, 1.0))


def main() -> None:
    """Write the table."""
    folder, weights = map(Path, sys.argv[1:])
    judge = load_metrics([weights])["lpips_alex"]
    with OUT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "bpp", "steps", "eta", "psnr", "lpips_alex"])
        for path in sorted(folder.glob("*.png"))[::6]:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            data = regrain.encode(pixels, quality=QUALITY, method="progressive")
            for steps, eta in WAYS:
                found = np.asarray(regrain.decode(data, steps=steps, eta=eta))
                bpp = 8 * len(data) * 3 / pixels.size
                writer.writerow([path.name, f"{bpp:.4f}", steps, eta, f"{psnr(pixels, found):.3f}",
                                 f"{judge(pixels, found):.4f}"])  # fmt: skip


if __name__ == "__main__":
    main()
