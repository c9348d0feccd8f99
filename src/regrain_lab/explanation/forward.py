"""The forward process on one photo: noise step by step, the jump to any step, and what happens without scaling.

    chain       x_n = sqrt(1 - beta_n) x_{n-1} + sqrt(beta_n) eps          (Ho et al. 2020, eq. 2)
    jump        x_n = alpha_n x_0 + sigma_n eps                            (the same, eq. 4)
    unscaled    x_n = x_{n-1} + sqrt(beta_n) eps,    variance x_n = variance x_0 + beta_1 + ... + beta_n

beta_n = 1 - alpha_n^2 / alpha_{n-1}^2. A state is measured by its weight of the picture, <x_n, x_0> / <x_0, x_0>, and
by the deviation of what is left, x_n - alpha_n x_0: alpha_n and sigma_n, if the chain and the jump are the same.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion.schedule import STEPS, Schedule
from regrain.progressive.reverse_process import Image

__all__ = ["EVERY", "State", "chain", "histogram", "jump"]

EVERY: Final = 50
"""Steps from one measured state of the chain to the next."""
_REACH, _BINS = 4.0, 64


@dataclass(frozen=True)
class State:
    """x_n of the chain, and x_n without scaling, (3, H, W) both; the closed form's weight and deviation."""

    n: int
    x: Image
    unscaled: Image
    unscaled_variance: float
    """By the formula."""
    alpha: float
    sigma: float

    def measure(self, x: Image, x_0: Image) -> tuple[float, float]:
        """Of some x_n the weight of x_0 in it, by least squares, and the deviation of its noise."""
        weight = float(np.vdot(x, x_0).item() / np.vdot(x_0, x_0).item())
        return weight, float((x - self.alpha * x_0).std(dtype=np.float64))


def chain(x_0: Image, schedule: Schedule, seed: int) -> Iterator[State]:
    """The chain over all 1,000 steps: every EVERY-th state, the first one x_0 itself."""
    generator = np.random.default_rng(seed)
    x, unscaled, variance, last = x_0, x_0, float(x_0.var(dtype=np.float64)), 1.0
    for n in range(STEPS + 1):
        alpha, sigma = schedule.at(n / STEPS) if n else (1.0, 0.0)
        beta = max(0.0, 1 - (alpha / last) ** 2)
        if n:
            fresh = math.sqrt(beta) * generator.standard_normal(x_0.shape, np.float32)
            x, unscaled = math.sqrt(1 - beta) * x + fresh, unscaled + fresh
        variance, last = variance + beta, alpha
        if n % EVERY == 0:
            yield State(n, x, unscaled, variance, alpha, sigma)


def jump(x_0: Image, schedule: Schedule, n: int, seed: int) -> Image:
    """x_n at once, under noise of its own."""
    alpha, sigma = schedule.at(n / STEPS) if n else (1.0, 0.0)
    noise = np.random.default_rng((seed, n)).standard_normal(x_0.shape, np.float32)
    x: Image = np.float32(alpha) * x_0 + np.float32(sigma) * noise
    return x


def histogram(values: NDArray[np.float32], reach: float = _REACH) -> list[tuple[float, float]]:
    """The density of values within +-reach, at the centres of 64 bins.

    >>> histogram(np.zeros(9, np.float32))[32]
    (0.0625, 8.0)
    """
    density, edges = np.histogram(values, _BINS, (-reach, reach), density=True)
    centres = (edges[:-1] + edges[1:]) / 2
    return list(zip(centres.tolist(), density.tolist(), strict=True))
