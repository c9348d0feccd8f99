"""Universal quantisation: shift + uniform noise as whole numbers, about a dither that both ends draw.

    k = round(shift / w - d)    z = w (k + d)    d ~ U(-1/2, 1/2)    w = sqrt 12
    P(k | d) = Phi(w (k + d + 1/2) / spread) - Phi(w (k + d - 1/2) / spread)

(Ziv 1985; in neural codecs Agustsson and Theis 2020, "Universally quantized neural compression"; in diffusion Yang et
al. 2024, UQDM.) z - shift is uniform on [-sqrt 3, sqrt 3], of variance 1 like the noise of `channel`; where shifts are
N(0, spread^2), the code takes I(shift; z) bits (Zamir and Feder 1992). It is work for one rounding a value, but that
noise has edges: for a small spread the rate falls as the spread, where a Gaussian channel's falls as its square.

This is the measured alternative to `channel`, no part of the file format: its code lengths are ideal ones in floats,
and no integer table codes its symbols. `dither.py` measures both.
Invariants: z - shift does not depend on shift; what is received depends on integers and the dither alone.
"""

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from regrain.errors import UsageError

__all__ = ["WIDTH", "ideal_bits", "nearest", "receive", "send", "spreads"]

WIDTH: Final = math.sqrt(12)
"""w: uniform noise so wide has variance 1."""
_WORD: Final = 2**64
_INT32: Final = 2**31
_LEVELS: Final = 2**32


def spreads() -> NDArray[np.float64]:
    """The deviations of a shift that a receiver can be told of by index, (256,): eight an octave, from 2^-12 up."""
    return np.exp2(np.arange(256) / 8 - 12)


def nearest(deviation: float) -> int:
    """The index of the spread nearest in ratio to `deviation` >= 0; the first or the last beyond the ends."""
    return int(np.abs(np.log(spreads()) - math.log(max(deviation, 1e-300))).argmin())


def send(shift: NDArray[np.float32], seed: int, step: int) -> NDArray[np.int32]:
    """The symbols k (D,) int32 of shift (D,) float32, about the dither that (seed, step) names, each 0 to 2^64 - 1.

    Deterministic. Raises UsageError for a shift that is not finite or beyond 2^31 widths, and a seed or a step out of
    range.
    """
    whole = np.rint(shift / WIDTH - _dither(shift.size, seed, step))
    if not (np.abs(whole) < _INT32).all():
        raise UsageError("a shift that is not finite or does not fit int32: within 2^31 widths is allowed")
    return whole.astype(np.int32)


def receive(symbols: NDArray[np.int32], seed: int, step: int) -> NDArray[np.float32]:
    """The sample z (D,) float32 that symbols k (D,) name. Raises UsageError for a seed or a step out of range.

    The same on every machine: an exact sum, one product and one rounding of IEEE doubles.
    """
    return (WIDTH * (symbols + _dither(symbols.size, seed, step))).astype(np.float32)


def ideal_bits(symbols: NDArray[np.int32], spread: int, seed: int, step: int) -> float:
    """-log2 P(k | d) of all symbols (D,) together, under shifts N(0, spreads()[spread]^2): what an ideal coder takes.

    Bins are reflected onto the negative axis, where log Phi keeps its digits: finite at any distance. Raises
    UsageError for a spread outside 0 .. 255, a seed or a step out of range.
    """
    if not 0 <= spread < spreads().size:
        raise UsageError(f"spread {spread}: 0 to {spreads().size - 1} are allowed")
    scale = WIDTH / spreads()[spread]
    centre = -scale * torch.from_numpy(np.abs(symbols + _dither(symbols.size, seed, step)))
    near, far = torch.special.log_ndtr(centre + scale / 2), torch.special.log_ndtr(centre - scale / 2)
    nats = -near - (-torch.expm1(far - near)).log()
    return float(nats.sum()) / math.log(2)


def _dither(size: int, seed: int, step: int) -> NDArray[np.float64]:
    """d (D,), odd multiples of 2^-33: Philox as in `diffusion.noise`, under counters whose last word is 1, not 0."""
    if not (0 <= seed < _WORD and 0 <= step < _WORD):
        raise UsageError(f"seed {seed}, step {step}: 0 to 2^64 - 1 is allowed for both")
    words = np.random.Philox(key=seed, counter=(step + _WORD) * _WORD**2).random_raw(-(-size // 2))
    halves = words.astype("<u8", copy=False).view("<u4")[:size]
    return (halves + 0.5) / _LEVELS - 0.5
