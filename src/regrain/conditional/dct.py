"""The basis of the fixed ground: which waves of a 16 x 16 DCT in opponent colours are kept, and how wide each is.

    b_(k, u, v) = colour_k cos_u cos_v,    <b_c, b_d> = 1 if c = d else 0,    spread_c falling with c

Natural pictures have spectra that fall with frequency by a power law, so the coefficients of the largest expected
standard deviation `spread` are kept (Ahmed et al. 1974 for the DCT; Field 1987 for the law). NumPy alone: decoding
without torch needs it too.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "LATENT_MAX", "kept"]

BLOCK = 16
"""Side of a block in pixels: the stride of the latents."""
LATENT_MAX = 512.0
"""Networks see latents within +-512. Of 256 channels no picture reaches 360 in any, no training crop 118: what lies
beyond comes from a forged file, and the sums of such numbers would differ from machine to machine."""
COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Opponent colours: light, red against blue, magenta against green; orthogonal, made unit below."""
LEVEL, KNEE, FALL = (3.9, 1.5, 0.75), 0.2, -0.75
"""spread = level (u^2 + v^2 + knee)^fall at frequency (u, v): fitted to photos in [-1, 1], within 0.25 nats."""


@lru_cache(maxsize=4)
def kept(channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The basis (channels <= 768, 3 * 256), orthonormal rows in `pixel_unshuffle` order, and the spread, falling."""
    place = np.arange(BLOCK, dtype=np.float64)
    cosines = np.cos(np.pi * (place + 0.5) * place[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    cosines[0] *= 0.5**0.5
    colours = np.array(COLOURS) / np.linalg.norm(COLOURS, axis=1, keepdims=True)
    basis = np.einsum("kc,ui,vj->kuvcij", colours, cosines, cosines).reshape(3 * BLOCK**2, -1)
    radius = place[:, None] ** 2 + place**2
    expected = (np.array(LEVEL)[:, None, None] * (radius + KNEE) ** FALL).ravel()
    order = np.argsort(-expected, kind="stable")[:channels]
    return basis[order].astype(np.float32), expected[order].astype(np.float32)
