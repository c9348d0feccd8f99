"""Pixels in 0..255 <-> the signed range of the networks; edges, and masks that grow.

    signed = pixels / 127.5 - 1        pixels = round((signed + 1) * 127.5)

Invariant: `to_bytes(to_signed(p)) == p` for every p.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from regrain.errors import UsageError

Scalar = TypeVar("Scalar", bound=np.generic)


def to_signed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels uint8 (h, w, 1 or 3) to float32 (3, h, w) in [-1, 1]; grey fills all three channels.

    >>> to_signed(np.array([[[0, 51, 255]]], np.uint8)).ravel().round(1).tolist()
    [-1.0, -0.6000000238418579, 1.0]
    """
    signed = np.empty((3, *pixels.shape[:2]), np.float32)
    signed[:] = pixels.transpose(2, 0, 1)
    signed /= np.float32(127.5)
    signed -= np.float32(1)
    return signed


def to_bytes(x: npt.NDArray[np.float32], grey: bool) -> npt.NDArray[np.uint8]:
    """Float32 (3, h, w) in [-1, 1] to uint8 (h, w, 3), or (h, w, 1) when grey: the mean of the three channels.

    Rounds half to even; what lies outside is clipped and NaN becomes 128.

    >>> to_bytes(np.array([-1, 0.2, 7], np.float32).reshape(3, 1, 1), grey=False).tolist()
    [[[0, 153, 255]]]
    """
    planes = [(x[0] + x[1] + x[2]) / np.float32(3)] if grey else list(x)
    pixels = np.empty((*x.shape[1:], len(planes)), np.uint8)
    for channel, plane in enumerate(planes):
        levels = (plane + np.float32(1)) * np.float32(127.5)
        np.rint(levels, out=levels)
        np.nan_to_num(levels, copy=False, nan=128, posinf=255, neginf=0)
        pixels[..., channel] = levels.clip(0, 255, out=levels)
    return pixels


def pad_edge(x: npt.NDArray[Scalar], multiple: int) -> npt.NDArray[Scalar]:
    """Repeat the last row and column of x (c, h, w) until h and w are multiples of `multiple` (1 or more).

    >>> pad_edge(np.array([[[1, 2, 3]]]), 2).tolist()
    [[[1, 2, 3, 3], [1, 2, 3, 3]]]
    """
    if multiple < 1:
        raise UsageError(f"multiple is {multiple}; allowed is 1 or more")
    return np.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, -x.shape[2] % multiple)), mode="edge")


def dilate(mask: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    """The mask (h, w) and all places up to so many from it in both directions.

    >>> dilate(np.array([[False, False, True]]), 1).tolist()
    [[False, True, True]]
    """
    wide = np.pad(mask, by)
    for axis in (0, 1):
        wide = np.asarray(sliding_window_view(wide, 2 * by + 1, axis).any(-1))
    return wide
