"""The metrics that a file can be made to reach: PSNR, and SSIMULACRA2 by its package, of the extra `lab`.

    PSNR = 10 log10(255^2 / MSE),   MSE the mean over rows, columns and channels together

SSIMULACRA2 (Sneyers 2022, version 2.1) comes from the ssimulacra2 package, which is imported when it is asked for.
"""

import io
import math
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.errors import UsageError
from regrain.image import Picture, to_file
from regrain.places import check_installed

__all__ = ["METRICS", "Metric", "check_pair", "psnr", "ssimulacra2"]

SMALLEST_SSIMULACRA2 = 8
"""Pixels of the shortest side that SSIMULACRA2 is defined for."""


class Metric(NamedTuple):
    """A metric of an original and its decoded picture, higher for better ones, None for a picture it has no value of.

    `pixel_bytes` is the memory that it takes a pixel, beside both pictures.
    """

    title: str
    unit: str
    compute: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float | None]
    pixel_bytes: int = 0

    def text(self, value: float) -> str:
        """A value to two digits, with its unit.

        >>> METRICS["target_psnr"].text(31.456)
        '31.46 dB'
        """
        return f"{value:.2f}{self.unit}"


def check_pair(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    """Raise UsageError unless both pictures are uint8 (h, w, c) of one shape, with at least one value."""
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise UsageError(f"pictures are {a.dtype} and {b.dtype}: only uint8 is compared")
    if a.shape != b.shape or a.ndim != 3 or a.size == 0:
        raise UsageError(f"pictures are {a.shape} and {b.shape}: two equal, non-empty (h, w, c) are allowed")


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 (h, w, c) pictures; infinity when they are equal.

    Raises UsageError for other types or unequal shapes.

    >>> round(psnr(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)), 2)
    0.0
    """
    check_pair(a, b)
    squares = sum(
        int(np.square(np.subtract(p, q, dtype=np.int32)).sum(dtype=np.int64)) for p, q in zip(a, b, strict=True)
    )
    return 10 * math.log10(255**2 * a.size / squares) if squares else math.inf


def ssimulacra2(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float | None:
    """SSIMULACRA2 of two uint8 (h, w, 1 or 3) sRGB pictures: 100 for equal ones, 70 for high quality, below 0 for none.

    None when a side is under 8 pixels. Raises UsageError for other types or unequal shapes, and where the package that
    works it out is not installed.
    """
    check_pair(original, decoded)
    check_installed("SSIMULACRA2", ("ssimulacra2",), "lab")
    if min(original.shape[:2]) < SMALLEST_SSIMULACRA2:
        return None
    colour = (np.broadcast_to(pixels, (*pixels.shape[:2], 3)) for pixels in (original, decoded))
    files = (io.BytesIO(to_file(Picture(pixels), "PNG", compress_level=0)) for pixels in colour)
    return float(import_module("ssimulacra2").compute_ssimulacra2(*files))


METRICS = {
    "target_psnr": Metric("PSNR", " dB", psnr),
    "target_ssimulacra2": Metric("SSIMULACRA2", "", ssimulacra2, pixel_bytes=530),
}
"""By the argument of `encode` that names a value to reach. The memory is the peak over pictures of 0.4 and 1.6 MP."""
