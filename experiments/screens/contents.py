"""What `--content auto` takes pictures for: how many of a folder, as they are, compressed and scaled, are screens.

    python experiments/screens/contents.py NAME=FOLDER-OR-SHARDS ... [--every N]     a table in Markdown

A folder, or patterns with commas such as 'test/g*.png,test/w*.png', has pictures; shards have crops, of which each N-th
is taken. The generator's pictures are drawn, and the drawn kinds stand below in rows of their own. The last line is the
processor's time that looking at a picture takes, in milliseconds a megapixel.
"""

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import glob
from itertools import chain
from pathlib import Path
from time import process_time

import numpy as np
from PIL import Image, ImageOps

from experiments.screens import generator
from regrain.content import classify

SEED, DRAWN = 7, 10
"""Of the pictures that are drawn, and how many of a kind."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="NAME=PLACE")
    parser.add_argument("--every", type=int, default=20)
    options = parser.parse_args()
    print(f"| pictures | number | {' | '.join(CHANGES)} |\n|---{'|---' * (len(CHANGES) + 1)}|")
    cost = Cost()
    for text in options.sets:
        name, _, place = text.partition("=")
        print(row(name, pictures(place, options.every), cost), flush=True)
    for kind in generator.KINDS:
        print(row(f"drawn: {kind}", (generator.screen(kind, SEED, n) for n in range(DRAWN)), cost), flush=True)
    print(f"\n{1e9 * cost.seconds / cost.pixels:.1f} ms a megapixel")


def pictures(place: str, every: int) -> Iterator[Image.Image]:
    """Those of a folder or of patterns, or each so many-th of shards."""
    names = (glob(one) if set("*?[") & set(one) else map(str, Path(one).iterdir()) for one in place.split(","))
    for path in sorted(chain.from_iterable(names)):
        if path.endswith((".png", ".jpg", ".webp")):
            yield Image.open(path).convert("RGB")
        elif path.endswith(".tar"):
            with tarfile.open(path) as shard:
                crops = [name for name in shard.getnames() if not name.endswith((".json", ".txt"))]
                for name in crops[::every]:
                    if (file := shard.extractfile(name)) is not None:
                        yield Image.open(io.BytesIO(file.read())).convert("RGB")


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    """Compress and decompress."""

    def change(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    """Scale by bicubic interpolation."""

    def change(picture: Image.Image) -> Image.Image:
        return picture.resize((max(1, round(factor * picture.width)), max(1, round(factor * picture.height))))

    return change


def framed(picture: Image.Image) -> Image.Image:
    """Stand on white, half as wide and half as high again."""
    return ImageOps.expand(picture, (picture.width // 4, picture.height // 4), "white")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda picture: picture,
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    **{f"JPEG {quality}": jpeg(quality) for quality in (95, 80, 50)},
    **{f"x {factor:g}": scaled(factor) for factor in (0.5, 0.75, 1.5, 2)},
    "framed": framed,
}


@dataclass
class Cost:
    """Of looking at pictures, all together."""

    seconds: float = 0.0
    pixels: int = 0


def row(name: str, source: Iterator[Image.Image], cost: Cost) -> str:
    """How many pictures are taken for screens, after each change."""
    screens, number = dict.fromkeys(CHANGES, 0), 0
    for picture in source:
        number += 1
        for change, make in CHANGES.items():
            array = np.asarray(make(picture))
            start = process_time()
            screens[change] += classify(array) == "screen"
            cost.seconds += process_time() - start
            cost.pixels += array.shape[0] * array.shape[1]
    return f"| {name} | {number} | {' | '.join(map(str, screens.values()))} |"


if __name__ == "__main__":
    main()
