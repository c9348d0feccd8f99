"""Small pictures for the tests of many."""

from pathlib import Path

import numpy as np

from regrain import image

__all__ = ["EXIF_TURNED", "make_tree", "write_picture"]

EXIF_TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""EXIF of one tag: the picture lies on its side (orientation 6)."""


def write_picture(path: Path, seed: int = 0, side: int = 24, **metadata: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:side, : side + 8]
    pixels = (
        np.stack([40 + 3 * rows + seed % 50, 20 + 4 * columns, 200 - 2 * rows], axis=2).clip(0, 255).astype(np.uint8)
    )
    image.write(image.Picture(pixels, None, image.Metadata(**metadata)), path)
    return path


def make_tree(root: Path, count: int = 5, side: int = 24) -> list[Path]:
    """`count` pictures in folders of two."""
    return [write_picture(root / f"{i // 2}" / f"{i}.png", i, side) for i in range(count)]
