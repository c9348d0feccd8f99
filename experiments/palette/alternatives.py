"""What was measured beside the palette codec's own way of dithering.

    nearest:     the nearest colour, without dithering
    serpentine:  as `regrain.palette.colours.dither`, but rows go to the right and to the left by turns

Neither is part of the package; results/0.1/PALETTE.md has their figures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrain.palette.colours import UNIT


def nearest(latents: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Latents (H, W, C) -> indices of the palette (K, C), uint8 (H, W), each on its own."""
    distances = (np.square(row[:, None] - palette.astype(float)).sum(2) for row in latents)
    return np.stack([row.argmin(1) for row in distances]).astype(np.uint8)


def serpentine(latents: NDArray[Any], palette: NDArray[np.uint8], strength: float = 1.0) -> NDArray[np.uint8]:
    """Latents (H, W, C) -> indices of the palette (K, C), uint8 (H, W): against worms of dots."""
    values, colours = np.rint(latents * float(UNIT)) / UNIT, palette.astype(np.float64)
    height, width, channels = values.shape
    indices = np.empty((height, width), np.uint8)
    error = np.zeros((width + 2, channels))
    for row in range(height):
        way = slice(None, None, -1 if row % 2 else 1)
        up = error[::-1]
        base = values[row, way] + (3 * up[:-2] + 5 * up[1:-1] + up[2:]) / 16
        error = np.zeros((width + 2, channels))
        for place in range(width):
            target = np.rint((base[place] + 7 * error[place] / 16) * UNIT) / UNIT
            indices[row, way][place] = index = np.square(colours - target).sum(1).argmin()
            error[place + 1] = strength * (target - colours[index])
    return indices
