"""Synthetic images, functions of a random generator: flat colours, edges, stripes, grids, letters, in perspective.

Photos of landscapes teach little of facades and nothing of screens. An image is a background and some shapes. A shape
is the set of points of a plane (u, v), seen in perspective, for which a rule holds; colours are flat or run evenly.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["synthetic_image"]

Plane = NDArray[Any]
Rule = Callable[[Plane, Plane, np.random.Generator], Plane]

SHAPES_MOST = 6
FINENESS = 2
"""Points a pixel, in each direction."""
LETTER = (7, 5)


def synthetic_image(side: int, random: np.random.Generator) -> Tensor:
    """One image, float32 (3, side, side) in [-1, 1]."""
    points = side * FINENESS
    y, x = (axis.astype(np.float32) * (2 / points) - 1 for axis in np.mgrid[:points, :points])
    picture = np.broadcast_to(_colour(x, y, random), (3, points, points))
    for _ in range(random.integers(1, SHAPES_MOST + 1)):
        rule = RULES[random.integers(len(RULES))]
        picture = np.where(rule(*_plane(x, y, random), random), _colour(x, y, random), picture)
    return nn.functional.avg_pool2d(torch.from_numpy(picture), FINENESS).clamp(-1, 1)


def _colour(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    """(3, H, W) or (3, 1, 1): one colour, often a grey one, or an even run between two like it."""
    vivid = max(0.0, random.uniform(-0.6, 1))
    colours = random.uniform(-1, 1, (2, 3, 1, 1))
    muted: Plane = vivid * colours + (1 - vivid) * colours[:, :1]
    first, slope = muted.astype(np.float32)
    if random.random() < 0.6:
        return np.asarray(first)
    angle = random.uniform(0, 2 * np.pi)
    distance = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    return np.asarray(first + np.float32(0.3) * slope * distance)


def _plane(x: Plane, y: Plane, random: np.random.Generator) -> tuple[Plane, Plane]:
    """(u, v) of the points on a plane that is turned, moved, stretched and, half the time, tilted away."""
    level = random.random() < 0.3
    angle = 0.0 if level else random.uniform(0, 2 * np.pi)
    scale, stretch = np.exp(random.uniform(-0.5, 1.5)), np.exp(random.uniform(-0.7, 0.7))
    depth = np.zeros(2) if level or random.random() < 0.5 else random.uniform(-0.4, 0.4, 2)
    shift_u, shift_v = random.uniform(-0.8, 0.8, 2)
    depths = (1 + depth[0] * x + depth[1] * y).clip(0.15)
    u, v = (x - shift_u) / depths, (y - shift_v) / depths
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return ((cos * u + sin * v) * stretch).astype(np.float32), ((cos * v - sin * u) / stretch).astype(np.float32)


def _box(u: Plane, v: Plane, _random: np.random.Generator) -> Plane:
    return np.asarray((abs(u) < 1) & (abs(v) < 1))


def _disc(u: Plane, v: Plane, random: np.random.Generator) -> Plane:
    radius = np.hypot(u, v)
    return np.asarray((radius < 1) & (radius > random.choice([0, 0.6, 0.9])))


def _stripes(u: Plane, v: Plane, random: np.random.Generator) -> Plane:
    return _box(u, v, random) & _lines(u, random)


def _grid(u: Plane, v: Plane, random: np.random.Generator) -> Plane:
    return _box(u, v, random) & (_lines(u, random) | _lines(v, random))


def _chequers(u: Plane, v: Plane, random: np.random.Generator) -> Plane:
    period = np.float32(np.exp(random.uniform(-3, -1)))
    return np.asarray(_box(u, v, random) & ((np.floor(u / period) + np.floor(v / period)).astype(int) % 2 == 0))


def _letters(u: Plane, v: Plane, random: np.random.Generator) -> Plane:
    """Rows of signs on a raster of dots, from a random alphabet."""
    rows, columns = LETTER
    dot = np.exp(random.uniform(-4.2, -2.5))
    alphabet = random.random((16, rows + 2, columns + 1)) < 0.45
    alphabet[:, -2:], alphabet[:, :, -1], alphabet[:3] = False, False, False
    row, column = np.floor(v / dot).astype(int), np.floor(u / dot).astype(int)
    text = random.integers(16, size=(64, 64))
    sign = text[row // (rows + 2) % 64, column // (columns + 1) % 64]
    return np.asarray(_box(u, v, random) & alphabet[sign, row % (rows + 2), column % (columns + 1)])


def _lines(coordinate: Plane, random: np.random.Generator) -> Plane:
    period, share = np.exp(random.uniform(-3.5, -0.7)), random.uniform(0.1, 0.7)
    phase = coordinate / np.float32(period)
    return np.asarray(phase - np.floor(phase) < share)


RULES: tuple[Rule, ...] = (_box, _box, _disc, _stripes, _grid, _chequers, _letters)
