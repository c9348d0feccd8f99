"""Decoders of the same files side by side: quality against sampling steps, as a CSV and a table in Markdown.

    python experiments/few_steps/measure.py PICTURES LPIPS OUT WEIGHTS... [--quality Q] [--seeds N] [--jobs N]

Every picture of the folder is encoded once, at one quality, and its file decoded with each weights file (named as in
NAME=PATH, else as its recipe; "shipped" is the package's own) in 1 to 64 steps at realism 1 with each seed: OUT has
PSNR and LPIPS, a row a decode; their means are printed. Weights of other latents cannot decode the file, and are an
error.
"""

import argparse
import csv
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image

import regrain
from regrain_lab.metrics.fidelity import psnr
from regrain_lab.metrics.registry import Metric, load_metrics

COUNTS = (1, 2, 4, 8, 16, 32, 64)
HEADS = ["weights", "image", "bytes", "steps", "seed", "psnr", "lpips"]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("lpips", type=Path, help="LPIPS of a network that nothing was trained on: AlexNet")
    parser.add_argument("out", type=Path, help="the table, CSV")
    parser.add_argument("weights", nargs="+", help='weights files, NAME=PATH or PATH; "shipped" are the package\'s')
    parser.add_argument("--quality", type=float, default=28)
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to this, excluded")
    parser.add_argument("--steps", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    paths = sorted(options.pictures.glob("*.png"))
    assert paths, f"no .png in {options.pictures}"
    one = partial(rows, options)
    with ProcessPoolExecutor(options.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = [row for rows_of_one in pool.map(one, paths) for row in rows_of_one]
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADS)
        writer.writerows([*row[:5], f"{row[5]:.4f}", f"{row[6]:.5f}"] for row in found)
    head = f"{len(paths)} pictures at quality {options.quality:g}, realism 1, means over seeds 0 to {options.seeds - 1}"
    print(f"{head}: PSNR in dB, LPIPS.\n\n{table(found, options.steps)}")


def rows(options: argparse.Namespace, path: Path) -> list[tuple[str, str, int, int, int, float, float]]:
    """A row a decode of one picture."""
    pixels, judge, data = np.asarray(Image.open(path).convert("RGB")), judge_of(options.lpips), b""
    found = []
    for name, model in map(named, options.weights):
        data = data or regrain.encode(pixels, quality=options.quality, model=model)
        for steps, seed, decoded in decodes(data, model, options):
            distance = judge(pixels, decoded)
            assert distance is not None, f"{path} is too small for LPIPS"
            found.append((name, path.name, len(data), steps, seed, psnr(pixels, decoded), distance))
    return found


def decodes(data: bytes, model: object, options: argparse.Namespace) -> Iterator[tuple[int, int, np.ndarray]]:
    """Steps, seed and pixels."""
    for steps in options.steps:
        for seed in range(options.seeds):
            yield steps, seed, np.asarray(regrain.decode(io.BytesIO(data), steps=steps, seed=seed, model=model))


@lru_cache
def named(given: str) -> tuple[str, object]:
    """A name and its model."""
    name, _, path = given.rpartition("=")
    model = regrain.load(None if path == "shipped" else path)
    return name or (path if path == "shipped" else model.recipe), model


@lru_cache
def judge_of(weights: Path) -> Metric:
    """The LPIPS of a file, whichever network it is of."""
    return next(metric for name, metric in load_metrics([weights]).items() if name.startswith("lpips"))


def table(found: list[tuple[str, str, int, int, int, float, float]], counts: tuple[int, ...]) -> str:
    """Means: a line a weights file, a column a count; the best LPIPS of a column stands out."""
    names = list(dict.fromkeys(row[0] for row in found))
    means = {
        (name, steps): [fmean(row[k] for row in found if (row[0], row[3]) == (name, steps)) for k in (5, 6)]
        for name in names
        for steps in counts
    }
    best = {steps: min(means[name, steps][1] for name in names) for steps in counts}
    lines = ["| weights |" + "".join(f" {n} step{'s' * (n > 1)} |" for n in counts), "|---|" + "---|" * len(counts)]
    for name in names:
        cells = []
        for steps in counts:
            decibels, distance = means[name, steps]
            mark = "**" if distance == best[steps] and len(names) > 1 else ""
            cells.append(f" {decibels:.2f}, {mark}{distance:.4f}{mark} |")
        lines.append(f"| {name} |" + "".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
