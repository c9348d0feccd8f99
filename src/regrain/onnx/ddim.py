"""DDIM in NumPy, for decoding: what `diffusion.schedule`, `parametrize` and `sampler.ddim_step` say.

    cosine: alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2), kept off 0 and 1: log(alpha_t^2 / sigma_t^2) within +-20
    truncated: log(alpha_t^2 / sigma_t^2) = 8 - 7.55 t
    x_s = alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps + std z,   eps = (x_t - alpha_t x_0) / sigma_t
    std = eta (sigma_s / sigma_t) sqrt(1 - alpha_t^2 / alpha_s^2)                  (Song et al. 2021, eq. 12 and 16)

Invariant: levels, estimates and steps are theirs, up to rounding.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PREDICTIONS", "SCHEDULE", "Levels", "cosine", "step", "to_x0", "truncated"]

Image = NDArray[np.float32]
Levels: TypeAlias = Callable[[float], tuple[float, float]]
"""(alpha_t, sigma_t) at time t in [0, 1]."""

SCHEDULE = "cosine"
PREDICTIONS = ("x0", "eps", "v")
LEAST, MOST = (1 + math.exp(20)) ** -0.5, (1 + math.exp(-20)) ** -0.5


def cosine(t: float) -> tuple[float, float]:
    """(alpha_t, sigma_t) at time t in [0, 1]."""
    picture, noise = math.sin((1 - t) * math.pi / 2), math.sin(t * math.pi / 2)
    return min(max(picture, LEAST), MOST), min(max(noise, LEAST), MOST)


def truncated(t: float) -> tuple[float, float]:
    """(alpha_t, sigma_t) at time t in [0, 1]."""
    log_snr = 8 - 7.55 * t
    return (1 + math.exp(-log_snr)) ** -0.5, (1 + math.exp(log_snr)) ** -0.5


def to_x0(prediction: str, output: Image, x_t: Image, t: float) -> Image:
    """The clean image that a network's output stands for; it predicts one of PREDICTIONS."""
    alpha, sigma = cosine(t)
    if prediction == "x0":
        return output
    picture, noise = (1 / alpha, sigma / alpha) if prediction == "eps" else (alpha, sigma)
    x_0: Image = np.float32(picture) * x_t - np.float32(noise) * output
    return x_0


def step(x_t: Image, x_0: Image, t: float, s: float, eta: float, noise: Image | None, levels: Levels) -> Image:
    """From x_t to x_s, 0 <= s < t <= 1, given the estimate x_0; `noise` is standard normal, None where eta is 0.

    s = 0 gives x_0 itself.
    """
    if s == 0:
        return x_0
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(t), levels(s)
    std = eta * (sigma_s / sigma_t) * math.sqrt(max(0.0, 1 - (alpha_t / alpha_s) ** 2))
    weight = math.sqrt(max(0.0, sigma_s**2 - std**2)) / sigma_t
    x_s: Image = np.float32(alpha_s - weight * alpha_t) * x_0 + np.float32(weight) * x_t
    return x_s if noise is None else x_s + np.float32(std) * noise
