"""What a picture shows, a photo or a screen, by its pixels alone and without a network.

    picture -> at most 1,600 squares of 16 x 16 pixels, evenly spread -> their brightness
        flat     no two pixels are more than 2 levels apart
        hard     some two are 64 levels apart or more
        drawn    hard, two neighbours of a hundred are 48 apart or more, and two fifths of the pixels are one level

Letters, lines and the edges of windows are drawn on a ground of one colour, with ground of that colour around them.
Photos have noise, texture and soft edges, so that few hard squares of theirs are drawn. The figures were chosen on
training pictures and drawn screens, and experiments/screens has what they do to others.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Shares", "classify", "shares"]

SIDE, SQUARES = 16, 40
"""Pixels of a square's side, and squares that are looked at along a side of a picture that is square."""
FLAT_RANGE, HARD_RANGE, HARD_STEP = 2, 64, 48
"""Levels between the darkest and the brightest pixel of a square, and between neighbours."""
STEPS_LEAST, GROUND_LEAST = 0.03, 0.4
"""Shares, of a drawn square: of pairs of neighbours a hard step apart, and of pixels of the ground's level."""
GROUND_RANGE, GROUND_SHARE = 3, 16
"""Levels that the ground may vary by: these, or so many times fewer than the square does."""
FLAT_LEAST, DRAWN_LEAST, HARD_SQUARES = 0.15, 0.6, 12
"""What a screen has at least: the two shares, and hard squares to count by."""


class Shares(NamedTuple):
    """Of the squares of a picture the share that is `flat`, how many are `hard`, and the share of these `drawn`."""

    flat: float
    hard: int
    drawn: float


def classify(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> Literal["photo", "screen"]:
    """ "screen" or "photo", of pixels (H, W, 1 or 3) and alpha (H, W); a photo, where there is little to go by.

    >>> classify(np.zeros((1, 1, 3), np.uint8))
    'photo'
    """
    flat, hard, drawn = shares(pixels, alpha)
    is_screen = flat >= FLAT_LEAST and hard >= HARD_SQUARES and drawn >= DRAWN_LEAST
    return "screen" if is_screen else "photo"


def shares(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> Shares:
    """What `classify` goes by; squares that can be seen through do not count."""
    rows, columns = (side // SIDE for side in pixels.shape[:2])
    if not rows * columns:
        return Shares(0.0, 0, 0.0)
    every = SIDE * max(1, int(np.ceil((rows * columns) ** 0.5 / SQUARES)))
    squares = _brightness(_squares(pixels, every))
    if alpha is not None:
        squares = squares[_squares(alpha[..., None], every).min((1, 2, 3)) == 255]
    levels = squares.reshape(len(squares), SIDE * SIDE)
    spread = levels.max(1, initial=0) - levels.min(1, initial=255)
    hard = spread >= HARD_RANGE
    drawn = _are_drawn(squares[hard], spread[hard])
    flat = float((spread <= FLAT_RANGE).mean()) if len(squares) else 0.0
    return Shares(flat, int(hard.sum()), float(drawn.mean()) if len(drawn) else 0.0)


def _squares(pixels: NDArray[np.uint8], every: int) -> NDArray[np.uint8]:
    """Squares of pixels (H, W, C) that begin at every so many rows and columns, (N, C, SIDE, SIDE); these alone."""
    windows = sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))[::every, ::every]
    return windows.reshape(-1, *windows.shape[2:])


def _brightness(squares: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(N, SIDE, SIDE), a quarter red and blue and half green."""
    wide = squares.astype(np.int16)
    brightness: NDArray[np.int16] = (wide[:, 0] + 2 * wide[:, wide.shape[1] // 2] + wide[:, -1] + 2) >> 2
    return brightness


def _are_drawn(squares: NDArray[np.int16], spread: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Whether hard squares have a ground of one level, and hard steps."""
    levels = squares.reshape(len(squares), SIDE * SIDE)
    ground = np.partition(levels, levels.shape[1] // 2, axis=1)[:, levels.shape[1] // 2]
    allowed = np.maximum(GROUND_RANGE, spread // GROUND_SHARE)
    on_ground = (np.abs(levels - ground[:, None]) <= allowed[:, None]).mean(1)
    steps = sum((np.abs(np.diff(squares, axis=axis)) >= HARD_STEP).mean((1, 2)) for axis in (1, 2)) / 2
    drawn: NDArray[np.bool_] = (on_ground >= GROUND_LEAST) & (steps >= STEPS_LEAST)
    return drawn
