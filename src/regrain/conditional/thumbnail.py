"""A picture at an eighth or a sixteenth of its size, from its latents alone: no network but the context model's runs.

    y -> sum_c std_c y_c <mean of b_c over squares of `reduction` pixels>        b_c the waves of the DCT, see `dct`

Latents are coded with low frequencies first, so that a few of the first channels, and coding steps, hold nearly all of
it: what a mean over 8 x 8 or 16 x 16 pixels leaves of the other waves is little.
"""

import numpy as np

from regrain.conditional.dct import BLOCK, dct_basis
from regrain.conditional.networks import Image

__all__ = ["CHANNELS", "reduced_picture"]

CHANNELS = {8: 40, 16: 6}
"""By the reduction, how many of the first channels matter: together they have all waves whose mean is above a tenth."""


def reduced_picture(y_hat: Image, reduction: int) -> Image:
    """x (3, 16 H / reduction, 16 W / reduction) of the first channels of latents, y_hat (C, H, W); not clipped.

    >>> import numpy
    >>> reduced_picture(numpy.zeros((40, 2, 3), numpy.float32), 8).shape
    (3, 4, 6)
    """
    basis, std = dct_basis(len(y_hat))
    side = BLOCK // reduction
    means = basis.reshape(-1, 3, side, reduction, side, reduction).mean((3, 5))
    squares = np.einsum("cklm,chw->khlwm", means * std[:, None, None, None], y_hat)
    rows, columns = y_hat.shape[1:]
    return np.ascontiguousarray(squares.reshape(3, rows * side, columns * side), np.float32)
