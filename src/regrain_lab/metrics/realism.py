"""Whether decoded pictures look like pictures, the right one or not: two kernel distances over patches of a whole set.

    D = mean over i, j of different pictures of  k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j)
    k(x, y) = (x . y / s + 1)^3

between the patches a of the originals and what became of them, b: the unbiased squared maximum mean discrepancy with
KID's kernel (Binkowski et al. 2018, arXiv:1801.01401, equation 4). Patches come in pairs, and those of one picture are
alike, so that only different pictures count as independent draws. Equal sets give 0, and D may fall below 0. Its
standard error is the standard deviation over 200 bootstrap draws of whole pictures.

Networks see whole pictures, and a patch is a window of 128 x 128 pixels on their maps, so that no patch has a border
of its own. Every place of a map has norm 1 along its channels, as LPIPS has it. Of a patch, x is

    KID    the means of VGG16's five taps, one after another, s = 5
    Gram   the matrices mean f f^T (Gatys et al. 2015, arXiv:1505.07376) of AlexNet's first two taps, s = 2

Over 12 Kodak crops, realism 0 against 1, this norm tells them apart by 8 times for KID and 4 for Gram, with errors of a
quarter; without it 2.4 and 1.8 times, with errors of a half. Patches of 64 pixels have the same figures.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regrain.errors import UsageError
from regrain.image import to_signed
from regrain_lab.metrics.backbones import ALEX_CHANNELS, VGG_CHANNELS
from regrain_lab.metrics.lpips import Lpips

__all__ = ["SIDE", "Distance", "Features", "Realism", "cells", "discrepancy", "distances", "pool_units"]

SIDE = 128
"""Pixels on a side of a patch."""
_GRAM_TAPS = 2
_WIDTHS = (sum(VGG_CHANNELS), sum(width * (width + 1) // 2 for width in ALEX_CHANNELS[:_GRAM_TAPS]))
_DRAWS = 200


class Distance(NamedTuple):
    """D and its standard error, which is None for two pictures."""

    value: float
    error: float | None


class Features(NamedTuple):
    """Features of n patches of one picture: `pooled` (n, 1472) of VGG16 and `grams` (n, 20608) of AlexNet, float32."""

    pooled: Tensor
    grams: Tensor


class Realism:
    """The two networks, for inference alone."""

    def __init__(self, vgg: Lpips, alex: Lpips) -> None:
        """LPIPS of VGG16 and of AlexNet, whose taps are looked at without its heads."""
        self.vgg, self.alex = vgg, alex

    @classmethod
    def load(cls, vgg_heads: str | Path, vgg16: str | Path, alex: str | Path) -> Self:
        """Read files as `Lpips.load` does. Raises ModelError."""
        return cls(Lpips.load(vgg_heads, vgg16), Lpips.load(alex))

    @torch.inference_mode()
    def features(self, pixels: NDArray[np.uint8]) -> Features:
        """Features of a picture (h, w, 3); of no patch where a side is under 128 pixels."""
        if min(pixels.shape[:2]) < SIDE:
            return Features(*(torch.empty(0, width) for width in _WIDTHS))
        x = torch.from_numpy(to_signed(pixels))[None]
        return pool_units(self.vgg.units(x), self.alex.units(x), (x.shape[2], x.shape[3]))


def cells(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches: as many as fit, each a little larger where they would not cover the picture."""
    return height // SIDE, width // SIDE


def pool_units(vgg: Sequence[Tensor], alex: Sequence[Tensor], size: tuple[int, int]) -> Features:
    """Features of a picture of `size` (h, w), no side under 128 pixels, from its `Lpips.units`."""
    grid = cells(*size)
    pooled = [F.adaptive_avg_pool2d(tap[0], grid).flatten(1).T for tap in vgg]
    return Features(torch.cat(pooled, 1), torch.cat([_grams(tap[0], grid) for tap in alex[:_GRAM_TAPS]], 1))


def _grams(tap: Tensor, grid: tuple[int, int]) -> Tensor:
    """(C, h, w) to Gram matrices (n, C (C + 1) / 2) of its windows: a product of two rows is that of two matrices."""
    rows, columns = torch.triu_indices(tap.shape[0], tap.shape[0])
    weight = torch.where(rows == columns, 1.0, math.sqrt(2))
    windows = [cell.flatten(1) for band in tap.tensor_split(grid[0], 1) for cell in band.tensor_split(grid[1], 2)]
    return torch.stack([(window @ window.T / window.shape[1])[rows, columns] * weight for window in windows])


def distances(originals: Sequence[Features], decoded: Sequence[Features]) -> dict[str, Distance]:
    """`kid` and `gram` between sets of pictures, in pairs. Raises UsageError as `discrepancy` does."""
    pooled = [[features.pooled for features in side] for side in (originals, decoded)]
    grams = [[features.grams for features in side] for side in (originals, decoded)]
    return {"kid": discrepancy(pooled[0], pooled[1], 5), "gram": discrepancy(grams[0], grams[1], _GRAM_TAPS)}


def discrepancy(a: Sequence[Tensor], b: Sequence[Tensor], scale: float) -> Distance:
    """D of patches (n, d) by picture, which may be none, and of those that they became, in the same order.

    Raises UsageError where they are not in pairs, or of fewer than two pictures.
    """
    shapes = [[tuple(patches.shape) for patches in pictures] for pictures in (a, b)]
    if shapes[0] != shapes[1] or sum(len(patches) > 0 for patches in a) < 2:
        raise UsageError(f"patches are {shapes[0]} and {shapes[1]}: pairs from two pictures at least do")
    sums = _sums(a, b, scale)
    counts = torch.tensor([len(patches) for patches in a], dtype=torch.float64)

    def value(times: Tensor) -> float:
        """D where each picture counts so many `times`, and is never paired with itself."""
        patches = times * counts
        pairs = patches.sum().square() - patches.square().sum()
        return float(times @ sums @ times / pairs) if pairs else math.nan

    generator = torch.Generator().manual_seed(0)
    draws = (torch.randint(len(a), (len(a),), generator=generator) for _ in range(_DRAWS))
    values = [value(torch.bincount(draw, minlength=len(a)).double()) for draw in draws]
    error = float(np.nanstd(values, ddof=1)) if np.count_nonzero(counts) > 2 else None
    return Distance(value(torch.ones_like(counts)), error)


def _sums(a: Sequence[Tensor], b: Sequence[Tensor], scale: float) -> Tensor:
    """The sum over the patches of each pair of pictures, float64 (pictures, pictures), with 0 on the diagonal."""
    first, second, sizes = torch.cat(list(a)), torch.cat(list(b)), [len(patches) for patches in a]

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return ((x @ y.T).double() / scale + 1) ** 3

    rows = [
        (kernel(x, first) + kernel(y, second) - kernel(x, second) - kernel(y, first)).sum(0)
        for x, y in zip(a, b, strict=True)
    ]
    sums = torch.stack([columns.sum(1) for columns in torch.split(torch.stack(rows), sizes, 1)], 1)
    return sums.fill_diagonal_(0)
