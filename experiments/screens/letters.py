"""Letters of ten pixels at 0.5 bits a pixel at most, to look at: originals, as photos, as screens, twice as large.

python experiments/screens/letters.py OUT.webp PICTURES... [--bpp 0.5] [--box 20,20,230,140]
"""

import argparse
import time
from pathlib import Path

from PIL import Image

import regrain

TIMES = 2


def main() -> None:
    """A row a picture: the original, and decoded faithfully from a file for photos and from one for screens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--bpp", type=float, default=0.5)
    parser.add_argument("--box", default="20,20,230,140", help="left, top, width and height")
    options = parser.parse_args()
    left, top, width, height = map(int, options.box.split(","))
    sheet = Image.new("RGB", (3 * TIMES * width, len(options.pictures) * TIMES * height))
    for row, path in enumerate(options.pictures):
        picture = Image.open(path).convert("RGB")
        files = [regrain.encode(picture, target_bpp=options.bpp, content=content) for content in ("photo", "screen")]
        rates = (8 * len(data) / (picture.width * picture.height) for data in files)
        print(
            path.name, [f"{rate:.3f} bpp, {milliseconds(data):.0f} ms" for rate, data in zip(rates, files, strict=True)]
        )
        parts = [picture, *(regrain.decode(data, realism=0) for data in files)]
        for column, part in enumerate(parts):
            crop = part.crop((left, top, left + width, top + height))
            large = crop.resize((TIMES * width, TIMES * height), Image.Resampling.NEAREST)
            sheet.paste(large, (column * large.width, row * large.height))
    sheet.save(options.out, lossless=True)


def milliseconds(data: bytes) -> float:
    """The median of three decodes, after one."""
    regrain.decode(data)
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        regrain.decode(data)
        taken.append(1000 * (time.perf_counter() - begin))
    return sorted(taken)[1]


if __name__ == "__main__":
    main()
