"""The pictures that are timed: the bundled photo, or another, at any size.

A size near the photo's own is reached by scaling; a huge one by tiling with reflection and grain, so that its
statistics stay those of a photo and no two places of it are the same.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["DEMO", "fitted", "tiled"]

DEMO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
GRAIN = 3


def fitted(path: Path, width: int, height: int) -> Image.Image:
    """The picture scaled to cover `width` x `height` and cut to it about its middle, RGB."""
    with Image.open(path) as image:
        return ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def tiled(path: Path, width: int, height: int) -> Image.Image:
    """The picture mirrored at its edges until it covers `width` x `height`, with grain of -3 to 3, RGB."""
    with Image.open(path) as image:
        photo: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    columns = np.pad(np.arange(photo.shape[1]), (0, max(0, width - photo.shape[1])), mode="symmetric")[:width]
    rows = np.pad(np.arange(photo.shape[0]), (0, max(0, height - photo.shape[0])), mode="symmetric")[:height]
    random = np.random.default_rng(0)
    out = np.empty((height, width, 3), np.uint8)
    for target, row in zip(out, rows, strict=True):
        grain = random.integers(-GRAIN, GRAIN, (width, 1), dtype=np.int16, endpoint=True)
        target[...] = (photo[row, columns] + grain).clip(0, 255)
    return Image.fromarray(out)
