"""Make src/regrain/entropy/gaussian.npy, once per format version: python scripts/freeze_tables.py OUT.npy.

    counts[k] = max(1, s P(k)),   P(k) = Phi((k + 1/2) / scale) - Phi((k - 1/2) / scale),   2 sum over k > 0, one for 0

with the s at which a table sums to 2**16. The radius is the least one, and at least 2, that leaves less than 2**-16
outside; the escape has a count of 1. The result is stored, so no later difference between machines matters.
"""

import math
import sys

import numpy as np
from numpy.typing import NDArray

from regrain.entropy.tables import TOTAL, scales

ESCAPE = 1


def tail(x: float) -> float:
    """Return the probability that a standard normal exceeds x."""
    return 0.5 * math.erfc(x / math.sqrt(2.0))


def half_counts(scale: float) -> NDArray[np.int64]:
    """Return the counts of 0 .. radius, int64 (radius + 1,), for one standard deviation."""
    radius = 2
    while 2.0 * tail((radius + 0.5) / scale) >= 1.0 / TOTAL:
        radius += 1
    centre = math.erf(0.5 / scale / math.sqrt(2.0))
    sides = [tail((k - 0.5) / scale) - tail((k + 0.5) / scale) for k in range(1, radius + 1)]
    target = np.array([centre, *sides])
    copies = np.array([1] + [2] * radius)
    low, high = 0.0, 4.0 * TOTAL
    for _ in range(128):
        middle = 0.5 * (low + high)
        fits = int((copies * rounded(target, middle)).sum()) <= TOTAL - ESCAPE
        low, high = (middle, high) if fits else (low, middle)
    counts = rounded(target, low)
    left = TOTAL - ESCAPE - int((copies * counts).sum())
    order = 1 + np.argsort((counts - low * target)[1:], kind="stable")
    counts[order[: left // 2]] += 1
    counts[0] += left % 2
    return counts


def rounded(target: NDArray[np.float64], factor: float) -> NDArray[np.int64]:
    """Return max(1, floor(factor * target))."""
    return np.maximum(1, np.floor(factor * target)).astype(np.int64)


def main() -> None:
    """Write the flat file: for each scale its radius, then the counts of 0 .. radius, as little-endian uint16."""
    halves = [half_counts(float(scale)) for scale in scales()]
    flat = np.concatenate([np.append(half.size - 1, half) for half in halves]).astype("<u2")
    np.save(sys.argv[1], flat, allow_pickle=False)


if __name__ == "__main__":
    main()
