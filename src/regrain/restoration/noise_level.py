"""How far a picture is from what it was, read off the picture itself: the deviation of its error in [-1, 1].

    a JPEG      its steps, and how its coefficients spread over them       (`jpeg.error`)
    any other   sqrt(noise^2 + blocks^2)

Noise is the median of the finest diagonal differences (Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet
shrinkage", sec. 4): neither edges nor smooth ground move a median. Blocks are what is more between two columns, or
rows, at one of the eight places modulo 8 than at the median of them: an error that is constant on either side of a
border, and independent, steps by sqrt(2) of its deviation there.
"""

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.restoration import jpeg

__all__ = ["noise_level"]

Image = NDArray[np.float32]
_NORMAL_MEDIAN: Final = NormalDist().inv_cdf(0.75)
"""The median of |eps|, eps standard normal."""


def noise_level(x: Image, luma_steps: Image | None) -> float:
    """The deviation of the error of x (3, h, w) in [-1, 1]; `luma_steps` (8, 8) where it comes of a JPEG.

    >>> flat = np.zeros((3, 64, 64), np.float32)
    >>> noise_level(flat, None)
    0.0
    """
    if luma_steps is not None:
        return jpeg.error(x, luma_steps)
    luma = np.tensordot(jpeg.LUMA, x, 1)
    return float(np.hypot(_noise(luma), _blocks(luma)))


def _noise(luma: Image) -> float:
    """The deviation of white noise, by the median of the diagonal details of Haar's wavelet."""
    height, width = (side // 2 * 2 for side in luma.shape)
    if not height or not width:
        return 0.0
    a, b = luma[:height:2, :width:2], luma[:height:2, 1:width:2]
    c, d = luma[1:height:2, :width:2], luma[1:height:2, 1:width:2]
    return float(np.median(np.abs(a - b - c + d))) / 2 / _NORMAL_MEDIAN


def _blocks(luma: Image) -> float:
    """The deviation of an error that is constant on 8 x 8 blocks, wherever their corner lies."""
    excesses = [_excess(np.square(np.diff(luma, axis=axis)).mean(1 - axis)) for axis in (0, 1)]
    return float(np.sqrt(np.mean(excesses) / 2))


def _excess(squares: Image) -> float:
    """By how much the mean of the largest of eight interleaved parts is over their median."""
    if len(squares) < 2 * jpeg.BLOCK:
        return 0.0
    means = [float(squares[phase :: jpeg.BLOCK].mean()) for phase in range(jpeg.BLOCK)]
    return max(means) - float(np.median(means))
