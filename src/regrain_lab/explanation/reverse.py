"""The reverse process on one photo: what the model makes of x_t, what it draws from there, and what knowing costs.

The bound's terms are those of `evaluation.likelihood`, the steps those of `diffusion.sampler`, and the stream is the
progressive method's own (`progressive.encode`): nothing is computed here but which figures are kept.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regrain.bitstream import MOST_STEPS
from regrain.diffusion import noise, sampler
from regrain.diffusion.schedule import REACH, LogLinear, levels_at
from regrain.progressive import encode, reverse_process
from regrain.progressive.reverse_process import Denoiser, Image
from regrain_lab.evaluation.likelihood import Bound, bound
from regrain_lab.explanation.subject import Subject

__all__ = ["TILE", "Estimate", "StreamPoint", "descend", "measure_bound", "rmse", "stream"]

TILE = 1024
Step = Callable[[], object]


class Estimate(NamedTuple):
    """x_t at a log-SNR, and the model's estimate of x_0 from it, (3, H, W) both."""

    log_snr: float
    x_t: Image
    x_0: Image


class StreamPoint(NamedTuple):
    """The stream up to a step: log-SNR there, bits written and bits of divergence so far."""

    log_snr: float
    bits: float
    divergence: float


def rmse(estimate: Image, x_0: Image) -> float:
    """The root of the mean squared error, in levels of 255."""
    return math.sqrt(float(np.square(estimate - x_0).mean(dtype=np.float64))) * 127.5


def measure_bound(denoiser: Denoiser, x_0: Image, steps: int, seed: int, done: Step) -> tuple[Bound, list[Estimate]]:
    """The variational bound of x_0 in `steps` even steps of log-SNR from -10 to 10, and the estimates it rests on."""
    schedule, estimates = LogLinear(), list[Estimate]()

    def denoise(x_t: Tensor, t: float) -> Tensor:
        state, log_snr = x_t[0].float().numpy(), schedule.log_snr_at(t)
        estimates.append(Estimate(log_snr, state, reverse_process.estimate(denoiser, state, log_snr)))
        done()
        return torch.from_numpy(estimates[-1].x_0)[None]

    def fresh(k: int) -> Tensor:
        return torch.from_numpy(noise.normal(seed, k, 0, 0, *x_0.shape[1:]))[None]

    picture = torch.from_numpy(x_0)[None]
    return bound(denoise, picture, schedule, sampler.time_grid(steps), fresh), estimates


def descend(
    denoiser: Denoiser, x_0: Image, log_snr: float | None, steps: int, seed: int, done: Step
) -> tuple[list[Estimate], Image]:
    """From x_0 at a log-SNR, or from noise alone where it is None, back by ancestral steps: the states, and the end."""
    alpha, sigma = (0.0, 1.0) if log_snr is None else levels_at(log_snr)
    start = np.float32(alpha) * x_0 + np.float32(sigma) * noise.normal(seed, 0, 0, 0, *x_0.shape[1:])
    states: list[Estimate] = []

    def denoise(x_t: Image, level: float) -> Image:
        states.append(Estimate(level, x_t, reverse_process.estimate(denoiser, x_t, level)))
        done()
        return states[-1].x_0

    def fresh(k: int) -> Image:
        return noise.normal(seed, k, 0, 0, *x_0.shape[1:])

    levels = -REACH if log_snr is None else log_snr, reverse_process.LOG_SNR[1]
    return states, sampler.descend(denoise, start, levels, steps=steps, eta=1.0, noise=fresh)


def stream(denoiser: Denoiser, subject: Subject, done: Step) -> Sequence[StreamPoint]:
    """What the progressive method writes for the copy, step by step."""
    points, bits, divergence = list[StreamPoint](), 0.0, 0.0
    steps = reverse_process.steps(MOST_STEPS)
    for step, coded in zip(steps, encode.stream(denoiser, subject.copy, TILE), strict=True):
        bits, divergence = bits + 8 * len(coded.payload), divergence + coded.divergence
        points.append(StreamPoint(step.log_snr_after, bits, divergence))
        done()
    return points
