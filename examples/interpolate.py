"""From one picture to another through their latents, and below the same through their pixels.

The rows are nearly alike: the latents are close to a DCT, which is linear. The denoiser keeps the upper one sharper.

    python examples/interpolate.py OUT      writes OUT/interpolate.png
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import regrain

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
SIDE, WEIGHTS = 144, (0.0, 0.25, 0.5, 0.75, 1.0)


def main(out: Path) -> Path:
    """Write both rows, of two parts of the photo and of what lies between them; returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    with Image.open(PHOTO) as photo:
        ends = [np.asarray(photo.convert("RGB").crop((x, y, x + SIDE, y + SIDE))) for x, y in ((0, 0), (300, 150))]
    first, last = (regrain.latents(end, quality=60) for end in ends)

    sheet = Image.new("RGB", (len(WEIGHTS) * SIDE, 2 * SIDE))
    for column, weight in enumerate(WEIGHTS):
        between = replace(first, y_hat=(1 - weight) * first.y_hat + weight * last.y_hat)
        sheet.paste(regrain.from_latents(between), (column * SIDE, 0))
        pixels = (1 - weight) * ends[0] + weight * ends[1]
        sheet.paste(Image.fromarray(pixels.round().astype(np.uint8)), (column * SIDE, SIDE))
    sheet.save(path := out / "interpolate.png")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
