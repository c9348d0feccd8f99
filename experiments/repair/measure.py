"""What repair gains and where it harms: rows.csv.

    python experiments/repair/measure.py PICTURES WEIGHTS [--every N] [--crop SIDE] [--steps 1 8] [--free]
                                         [--model FILE]

PICTURES is a folder; WEIGHTS has those of LPIPS-AlexNet, VGG16 and DISTS. Every picture is written as a JPEG of quality
10, 20, 40 and 75, read back, and repaired; a row has PSNR, LPIPS-AlexNet and DISTS to the original. Steps 0 are the
JPEG itself. `--crop` takes squares of the middle, from the corner of a block on; `--free` does not keep what the file
says of its brightness; `--out` names another file; FILE is another prior, whose student, if any, takes few steps.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import regrain
from regrain.image import read, to_signed
from regrain.progressive.codec import ProgressiveModel
from regrain.restoration.denoise import Repair, repair
from regrain.restoration.noise_level import noise_level
from regrain_lab.metrics.fidelity import psnr
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
QUALITIES = (10, 20, 40, 75)
HEAD = ["image", "quality", "kept", "strength", "steps", "error", "psnr", "lpips_alex", "dists"]
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows as they come, and say their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--strength", type=float, nargs="+", default=[1.0])
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--model", default="progressive")
    parser.add_argument("--out", type=Path, default=HERE / "rows.csv")
    options = parser.parse_args()
    paths = sorted(options.pictures.glob("*.png"))[:: options.every]
    names = ("lpips_alex_v0.1", "vgg16_features_fp16", "dists_alpha_beta")
    judges = load_metrics([options.weights / f"{name}.safetensors" for name in names])
    model = regrain.load(options.model)
    assert isinstance(model, ProgressiveModel)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        for path in paths:
            pixels = cropped(np.asarray(Image.open(path).convert("RGB")), options.crop)
            for row in rows(model, pixels, options, lambda one, other: [judges[n](one, other) for n in HEAD[-2:]]):
                writer.writerow([path.name, *row])
                file.flush()


def cropped(pixels: Pixels, side: int) -> Pixels:
    """The square of the middle, from a multiple of 8 on; all of it for a side of 0."""
    if not side:
        return pixels
    top, left = ((length - side) // 2 // 8 * 8 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def rows(
    model: ProgressiveModel, pixels: Pixels, how: argparse.Namespace, judge: Callable[[Pixels, Pixels], list[float]]
) -> Iterator[list[object]]:
    """The rows of one picture, without its name."""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        worn = read(buffer.getvalue())
        error = noise_level(to_signed(worn.pixels), worn.luma_steps)
        ways = [(0.0, 0), *((strength, steps) for strength in how.strength for steps in how.steps)]
        for strength, steps in ways:
            kept = None if how.free else worn.luma_steps
            repaired = repair(model, worn.pixels, error if steps else 0.0, Repair(strength, max(1, steps)), kept)
            figures = [psnr(pixels, repaired), *judge(pixels, repaired)]
            yield [quality, int(not how.free), strength, steps, f"{127.5 * error:.2f}", *(f"{x:.4f}" for x in figures)]


if __name__ == "__main__":
    main()
