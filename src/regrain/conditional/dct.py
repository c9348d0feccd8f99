"""The fixed ground beneath the learned transforms: a 16 x 16 DCT in opponent colours, whitened, on NumPy arrays.

    b_(k, u, v) = colour_k cos_u cos_v,    <b_c, b_d> = 1 if c = d else 0,    std_c falling with c
    y_c = <b_c, x> / std_c                 sketch = sum_c std_c y_c b_c

Natural pictures have spectra that fall with frequency by a power law, so the coefficients of the largest expected
standard deviation are kept (Ahmed et al. 1974 for the DCT; Field 1987 for the law).
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "LATENT_MAX", "REDUCTION_CHANNELS", "dct_basis", "fine_blocks", "match_means", "reduced_picture"]

Image = NDArray[np.float32]

BLOCK: Final = 16
"""Side of a block in pixels: the stride of the latents."""
LATENT_MAX: Final = 512.0
"""Networks see latents within +-512. Of 256 channels no picture reaches 360 in any, no training crop 118: what lies
beyond comes from a forged file, and the sums of such numbers would differ from machine to machine."""
COLOURS: Final = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Opponent colours: light, red against blue, magenta against green; orthogonal, made unit below."""
LEVEL, KNEE, FALL = (3.9, 1.5, 0.75), 0.2, -0.75
"""std = level (u^2 + v^2 + knee)^fall at frequency (u, v): fitted to photos in [-1, 1], within 0.25 nats."""
FINE_LEVELS: Final = 24.0
"""A block's detail is too fine where the waves that y keeps miss so many of 255 levels of it, root mean square. No
block of a photo in the test sets is that fine."""
MEAN_STEPS, LEAST_UNCLIPPED = 4, 0.25
"""Newton steps of `match_means`, and the least slope of a block's mean that they divide by."""

REDUCTION_CHANNELS = {8: 40, 16: 6}
"""By the reduction, how many of the first channels matter: together they have all waves whose mean is above a tenth."""


@lru_cache(maxsize=4)
def dct_basis(channels: int) -> tuple[Image, Image]:
    """The basis (channels, 3 * 256), orthonormal rows in the order of `pixel_unshuffle`, and standard deviations.

    The deviations (channels,) are those expected of the coefficients for x in [-1, 1]; they fall. At most 768 channels.

    >>> basis, std = dct_basis(3)
    >>> basis.shape, bool(np.allclose(basis @ basis.T, np.eye(3), atol=1e-6))
    ((3, 768), True)
    """
    place = np.arange(BLOCK, dtype=np.float64)
    cosines = np.cos(np.pi * (place + 0.5) * place[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    cosines[0] *= 0.5**0.5
    colours = np.array(COLOURS) / np.linalg.norm(COLOURS, axis=1, keepdims=True)
    basis = np.einsum("kc,ui,vj->kuvcij", colours, cosines, cosines).reshape(3 * BLOCK**2, -1)
    radius = place[:, None] ** 2 + place**2
    expected = (np.array(LEVEL)[:, None, None] * (radius + KNEE) ** FALL).ravel()
    order = np.argsort(-expected, kind="stable")[:channels]
    return basis[order].astype(np.float32), expected[order].astype(np.float32)


def fine_blocks(x: Image, ground: Image) -> NDArray[np.bool_]:
    """Which blocks of x (3, 16 H, 16 W) have detail that the coefficients `ground` (C, H, W) cannot hold, bool (H, W).

    The waves are orthonormal, so what is missing is the difference of two energies (Parseval).
    """
    blocks, waves = _block(x), ground * dct_basis(len(ground))[1][:, None, None]
    missing = np.square(blocks).sum(0) - np.square(waves).sum(0)
    fine: NDArray[np.bool_] = np.sqrt(missing.clip(min=0) / len(blocks)) * 127.5 > FINE_LEVELS
    return fine


def match_means(y: Image, x: Image, blocks: NDArray[np.bool_]) -> Image:
    """y (C, H, W) whose sketch, clipped to [-1, 1], has the means of x (3, 16 H, 16 W) in the masked blocks.

    The waves that are kept overshoot where a block has finer detail. A decoder clips the overshoot, which moves the
    block's mean. blocks: bool (H, W); all other blocks keep their latents to the bit.
    """
    basis, std = dct_basis(len(y))
    constant = (basis.reshape(len(y), 3, -1).sum(2) / std[:, None]).astype(np.float32)
    chosen, target = y[:, blocks], _block(x)[:, blocks].reshape(3, BLOCK**2, -1).mean(1)
    for _ in range(MEAN_STEPS):
        sketch = ((basis * std[:, None]).T @ chosen).reshape(3, BLOCK**2, -1)
        error = target - sketch.clip(-1, 1).mean(1)
        unclipped = (np.abs(sketch) < 1).mean(1, dtype=np.float32).clip(min=LEAST_UNCLIPPED)
        chosen = chosen + constant @ (error / unclipped)
    matched = y.copy()
    matched[:, blocks] = chosen
    return matched


def reduced_picture(y_hat: Image, reduction: int) -> Image:
    """Means over squares of so many pixels, x (3, 16 H / reduction, 16 W / reduction), not clipped.

    They are those of the sketch of the first channels of latents, y_hat (C, H, W): no network runs for them. Low
    frequencies are coded first, and what a mean over 8 x 8 or 16 x 16 pixels leaves of the other waves is little.

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


def _block(x: Image) -> Image:
    """(3, 16 H, 16 W) -> (3 * 256, H, W)."""
    rows, columns = x.shape[1] // BLOCK, x.shape[2] // BLOCK
    parts = x.reshape(3, rows, BLOCK, columns, BLOCK).transpose(0, 2, 4, 1, 3)
    return parts.reshape(-1, rows, columns)
