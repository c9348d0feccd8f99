"""Twelve details beside AVIF at equal bytes: one step, two steps and three of the same file.

    python experiments/sampling/sheet.py KODAK OUT.webp [--quality Q] [--model FILE]

Every second picture of the folder, and of it the detail that `contact_sheet.detail_box` chooses: where there is most
texture. Seed 0.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import regrain
from regrain_lab.evaluation.baselines import AVIF, at_size
from regrain_lab.evaluation.contact_sheet import Column, Strip, detail_box, draw, original_column
from regrain_lab.evaluation.sweep import list_pictures, load_pixels

SIDES = (120, 90)
STEPS = (1, 2, 3)
PICTURES = 12


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", type=float, default=28)
    parser.add_argument("--model", help="weights, if not those in the package")
    options = parser.parse_args()
    model, files = regrain.load(options.model), list_pictures(options.folder)[0]
    files = files[:: max(1, len(files) // PICTURES)]
    sheet = draw([strip(model, file, options.quality) for file in files])
    Image.fromarray(sheet).save(options.out, quality=85)


def strip(model: object, file: Path, quality: float) -> Strip:
    """The columns of one picture."""
    pixels = load_pixels(file)
    crop = detail_box(pixels, *SIDES)
    data = regrain.encode(pixels, quality=quality, model=model)
    avif = at_size(AVIF, pixels, len(data))
    columns = [original_column(pixels, crop), Column("AVIF", AVIF.decode(avif.data), [f"{len(avif.data):,} bytes"])]
    for steps in STEPS:
        decoded = np.asarray(regrain.decode(data, steps=steps, seed=0, model=model))
        title = f"regrain, {steps} step{'s' * (steps > 1)}"
        columns.append(Column(title, decoded, [f"{len(data):,} bytes"]))
    return Strip(file.name, columns, crop)


if __name__ == "__main__":
    main()
