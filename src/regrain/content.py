"""What a picture shows, a photo or a screen, by its pixels alone and without a network.

    picture -> at most 1,600 squares of 16 x 16 pixels, evenly spread -> their brightness
        flat     no two pixels are more than 2 levels apart
        hard     some two are 64 levels apart or more
        drawn    hard, two neighbours of a hundred are 48 apart or more, two fifths of the pixels are about one level
        plain    hard, and three tenths of the pixels are one colour, exactly

Letters, lines and the edges of windows are drawn on a ground of one colour, with ground of that colour around them.
Photos have noise, texture and soft edges, so that few hard squares of theirs are drawn. The figures were chosen on
training pictures and drawn screens, and experiments/screens has what they do to others.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Shares", "are_plain", "classify", "colour_codes", "is_plain", "shares"]

SIDE, SQUARES = 16, 40
"""Pixels of a square's side, and squares that are looked at along a side of a picture that is square."""
FLAT_RANGE, HARD_RANGE, HARD_STEP = 2, 64, 48
"""Levels between the darkest and the brightest pixel of a square, and between neighbours."""
STEPS_LEAST, GROUND_LEAST = 0.03, 0.4
"""Shares, of a drawn square: of pairs of neighbours a hard step apart, and of pixels of the ground's level."""
PLAIN_PIXELS = 77
"""Pixels of one colour, of 256, by which a square is plain."""
GROUND_RANGE, GROUND_SHARE = 3, 16
"""Levels that the ground may vary by: these, or so many times fewer than the square does."""
FLAT_LEAST, DRAWN_LEAST, PLAIN_LEAST, HARD_SQUARES = 0.15, 0.6, 0.65, 12
"""What a screen has at least: the first two shares or the third, and hard squares to count by."""
PURE_LEAST = 0.9
"""Share of the drawn or plain squares that is plain where nothing was a JPEG: .93 and more; after JPEG .86 and less."""


class Shares(NamedTuple):
    """Of all squares the share `flat`, how many are `hard`, and of these the shares `drawn`, `plain`, and `either`."""

    flat: float
    hard: int
    drawn: float
    plain: float
    either: float


def classify(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> Literal["photo", "screen"]:
    """ "screen" or "photo", of pixels (H, W, 1 or 3) and alpha (H, W); a photo, where there is little to go by.

    >>> classify(np.zeros((1, 1, 3), np.uint8))
    'photo'
    """
    those = shares(pixels, alpha)
    is_drawn = those.flat >= FLAT_LEAST and those.drawn >= DRAWN_LEAST
    is_screen = those.hard >= HARD_SQUARES and (is_drawn or those.plain >= PLAIN_LEAST)
    return "screen" if is_screen else "photo"


def is_plain(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> bool:
    """Whether what is drawn, if anything is, has grounds of exactly one colour, as no screen has that was a JPEG.

    >>> is_plain(np.zeros((32, 32, 3), np.uint8))
    True
    """
    those = shares(pixels, alpha)
    return those.plain >= PURE_LEAST * those.either


def shares(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> Shares:
    """What `classify` goes by; squares that can be seen through do not count."""
    rows, columns = (side // SIDE for side in pixels.shape[:2])
    if not rows * columns:
        return Shares(0.0, 0, 0.0, 0.0, 0.0)
    every = SIDE * max(1, int(np.ceil((rows * columns) ** 0.5 / SQUARES)))
    colours = _squares(pixels, every)
    if alpha is not None:
        colours = colours[_squares(alpha[..., None], every).min((1, 2, 3)) == 255]
    squares = _brightness(colours)
    levels = squares.reshape(len(squares), SIDE * SIDE)
    spread = levels.max(1, initial=0) - levels.min(1, initial=255)
    hard = spread >= HARD_RANGE
    codes = np.sort(colour_codes(np.moveaxis(colours[hard], 1, -1)).reshape(-1, SIDE * SIDE))
    drawn, plain = _are_drawn(squares[hard], spread[hard]), are_plain(codes)
    return Shares(_share(spread <= FLAT_RANGE), int(hard.sum()), _share(drawn), _share(plain), _share(drawn | plain))


def _share(which: NDArray[np.bool_]) -> float:
    """The mean; 0 of nothing."""
    return float(which.mean()) if len(which) else 0.0


def colour_codes(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """65536 red + 256 green + blue of pixels (..., 1 or 3), int32 (...).

    >>> colour_codes(np.array([[[1, 2, 3]]], np.uint8)).tolist(), colour_codes(np.array([[[1]]], np.uint8)).tolist()
    ([[66051]], [[65793]])
    """
    wide = pixels.astype(np.int32)
    codes: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., pixels.shape[-1] // 2] << 8 | wide[..., -1]
    return codes


def are_plain(ordered: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Of squares (N, SIDE * SIDE) of colour codes in order, whether PLAIN_PIXELS are one colour, bool (N,)."""
    plain: NDArray[np.bool_] = (ordered[:, PLAIN_PIXELS - 1 :] == ordered[:, : 1 - PLAIN_PIXELS]).any(1)
    return plain


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
