"""One picture through several encoders at equal bytes: no file is larger than `size`, each the largest of its codec.

An encoder that cannot go so low takes part with its smallest file, and a line says so.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.errors import RegrainError
from regrain_lab.evaluation.baselines import Codec, at_size

__all__ = ["Through", "through"]

Pixels = NDArray[np.uint8]


class Through(NamedTuple):
    """What one encoder made of a picture: bytes, the quality that gave them, and what they decode to, (h, w, 3).

    `fits` says whether the file is no larger than was asked.
    """

    codec: str
    quality: float
    bytes: int
    pixels: Pixels
    fits: bool = True


def through(codecs: Sequence[Codec], original: Pixels, size: int) -> tuple[list[Through], list[str]]:
    """`original`, uint8 (h, w, 3), through each at `size` >= 1 bytes, and a line for each that fails or is larger."""
    found, notes = [], []
    for codec in codecs:
        try:
            fitted = at_size(codec, original, size)
            pixels = codec.decode(fitted.data)
        except RegrainError as error:
            notes.append(f"{codec.name} skipped: {error}")
            continue
        found.append(Through(codec.name, fitted.quality, len(fitted.data), pixels, fitted.fits))
        if not fitted.fits:
            notes.append(f"{codec.name} cannot be as small: shown is its smallest file")
    return found, notes
