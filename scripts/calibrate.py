"""Ranges for a weights file of the conditional method, so that it decodes on bytes: see `regrain_lab.training.ranges`.

    python scripts/calibrate.py WEIGHTS OUT PICTURES... [--crop 192]

WEIGHTS stay as they are; all arrays of OUT but the ranges are theirs. PICTURES are files, or folders of files. Of each
the middle is encoded at five qualities and decoded at realism 0 and 1.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regrain_lab.training.ranges import add_ranges


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--crop", type=int, default=192, help="pixels on a side")
    options = parser.parse_args()
    paths = [path for given in options.pictures for path in (sorted(given.rglob("*")) if given.is_dir() else [given])]
    add_ranges(options.weights, options.out, middles([path for path in paths if path.is_file()], options.crop))


def middles(paths: list[Path], side: int) -> Iterator[NDArray[np.uint8]]:
    """The middle of every picture."""
    for path in paths:
        picture = Image.open(path).convert("RGB")
        left, top = max(0, (picture.width - side) // 2), max(0, (picture.height - side) // 2)
        yield np.asarray(picture.crop((left, top, min(left + side, picture.width), min(top + side, picture.height))))


if __name__ == "__main__":
    main()
