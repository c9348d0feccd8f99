"""What a JPEG says of its picture: the brightness of every 8 x 8 block, as coefficients in known steps.

    |DCT(original) - DCT(decoded)| <= step / 2        for brightness, at each of 64 frequencies

So the error of a JPEG is known about as well as its steps, and a repair may be kept within what the file says.
Chroma, which is stored at half the resolution, is left alone. Brightness is BT.601's, as in JFIF, on [0, 255].
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "LUMA", "coefficients", "error", "keep_to_steps", "laplace_error"]

Image = NDArray[np.float32]
Figures = NDArray[np.float64]
BLOCK: Final = 8
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
HALF_LEVEL: Final = 127.5
"""Levels of 255 to a unit of [-1, 1]."""
_ROUNDING: Final = 0.5
"""Beyond half a step, in levels: a decoder rounds its pixels."""


def _cosines() -> Image:
    place = np.arange(BLOCK)
    waves = np.cos(np.pi * (place + 0.5) * place[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    waves[0] *= 0.5**0.5
    basis: Image = waves.astype(np.float32)
    return basis


COSINES: Final = _cosines()
_SQUARES = np.arange(BLOCK)[:, None] ** 2 + np.arange(BLOCK) ** 2
_LAW: Final = (_SQUARES + 0.2) ** -0.75
"""How widths fall with frequency in photos, as in `conditional.dct`."""
_MOST_ZEROS, _FEWEST = 0.97, 3
"""Frequencies of which more are 0 say little; so many are asked at least."""


def coefficients(x: Image) -> Image:
    """Brightness of x (3, 8 h, 8 w) in [-1, 1] as coefficients in levels, (h, w, 8, 8)."""
    luma = np.tensordot(LUMA * HALF_LEVEL, x, 1)
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    blocks = luma.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    spectra: Image = COSINES @ blocks @ COSINES.T
    return spectra


def error(x: Image, steps: Image) -> float:
    """The standard deviation of a JPEG's error in brightness, in units of [-1, 1].

    x (3, h, w) is the decoded picture in [-1, 1], from the corner of a block on; `steps` (8, 8) are its quantisation
    table. Coefficients are taken to follow Laplace's law (Lam and Goodman 2000), one width a frequency, which the share
    of those that became 0 tells: share = 1 - exp(-step / 2 width). Where nearly all did, the width is at most what
    those of the other frequencies and their law say.
    """
    height, width = (side // BLOCK * BLOCK for side in x.shape[1:])
    if not height or not width:
        return 0.0
    stored = coefficients(x[:, :height, :width])
    zeros = (np.abs(stored) <= steps / 2).mean((0, 1))
    half, count = steps.astype(np.float64) / 2, stored.shape[0] * stored.shape[1]
    widths = half / -np.log1p(-zeros.clip(1 / (2 * count), 1 - 1 / (2 * count)))
    known = zeros <= max(_MOST_ZEROS, np.sort(zeros, None)[_FEWEST])
    known[0, 0] = False
    level = np.exp(np.log(widths[known] / _LAW[known]).mean())
    widths = np.where(known, widths, np.minimum(widths, level * _LAW))
    return float(np.sqrt(laplace_error(half, widths).mean()) / HALF_LEVEL)


def laplace_error(half: Figures, width: Figures) -> Figures:
    """The mean squared error of rounding to multiples of 2 `half` what follows Laplace's law, e^(-|c| / b) / 2 b.

    Within +-half the error is c itself; every further cell has the law of the first one, and e^(-2 half / b) as much.
    """
    b, decay = width, np.exp(-half / width)
    before, behind = (half**2 + sign * 2 * b * half + 2 * b**2 for sign in (-1, 1))
    inside = 2 * b**2 - decay * behind
    return inside + decay * (before - decay**2 * behind) / -np.expm1(-2 * half / b)


def keep_to_steps(x: Image, decoded: Image, steps: Image) -> Image:
    """x (3, h, w) in [-1, 1] moved so that every whole block's brightness is one that the JPEG may have been.

    `decoded` (3, h, w) is what the JPEG gives, both from the corner of a block on. Colour differences of x stay.
    """
    height, width = (side // BLOCK * BLOCK for side in x.shape[1:])
    inner = x[:, :height, :width]
    change = coefficients(inner - decoded[:, :height, :width])
    allowed = steps / 2 + _ROUNDING
    excess = change - change.clip(-allowed, allowed)
    blocks = COSINES.T @ excess @ COSINES / HALF_LEVEL
    kept = x.copy()
    kept[:, :height, :width] -= blocks.transpose(0, 2, 1, 3).reshape(height, width)
    return kept
