"""How much of the original's fine detail a decoded picture has, whether or not it is the right one.

    level_b = 10 log10 ( E_b(decoded) / E_b(original) ) dB,   E_b the sum of squares of the coefficients in band b

of an orthonormal 8 x 8 DCT-II of the luma (BT.601) over whole blocks from the top left. Band b = 1 to 8 has the
coefficients (u, v) whose radius sqrt(u^2 + v^2) rounds to b, and band 8 the corner beyond as well; radius r is the
frequency r / 8 of Nyquist's. The mean, band 0, is left out. Of several pictures energies are added first.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

__all__ = ["BANDS", "energies", "levels", "luma"]

_BLOCK = 8
BANDS = 8
_RADIUS = np.hypot(*np.mgrid[:_BLOCK, :_BLOCK])
_BAND = np.minimum(np.rint(_RADIUS), BANDS).astype(np.int64).ravel()
_LUMA = np.array([0.299, 0.587, 0.114])


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma (h, w) of a picture (h, w, 3), in levels."""
    grey: NDArray[np.float64] = pixels @ _LUMA
    return grey


def energies(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """E_1 to E_8 of a picture (h, w, 3), in squared levels; 0 where it has no whole block."""
    grey = luma(pixels)
    rows, columns = (side // _BLOCK for side in grey.shape)
    blocks = grey[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
    squares = np.square(dctn(blocks, axes=(2, 3), norm="ortho")).sum(axis=(0, 1))
    bands: NDArray[np.float64] = np.bincount(_BAND, squares.ravel())[1:].astype(np.float64)
    return bands


def levels(original: NDArray[np.float64], decoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """dB of each band of two sets of energies (8,); not a number where the original has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(original > 0, decoded / original, np.nan)
        return 10 * np.log10(ratio)
