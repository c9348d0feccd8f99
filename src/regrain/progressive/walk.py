"""The walk that sender and receiver take alike: from noise towards the picture, one step of log-SNR after the other.

    q(x_s | x_t, x_0) = N(A x_0 + B x_t, std^2),    p(x_s | x_t) = N(A x_hat + B x_t, std^2),    x_hat = prior(x_t)
    x_s = A x_hat + B x_t + std z,    z ~ N(shift, I),    shift = A (x_0 - x_hat) / std

(Ho et al. 2020, algorithms 3 and 4, with eq. 7; Theis et al. 2022, DiffC.) Both ends hold x_t and the prior, so both
know p; the sender tells which z. Before the first step x_t is nothing: A = alpha_s, B = 0, x_hat = 0. Where floats
differ between machines x differs by as much and no more: nothing that is decoded from bytes depends on it.
Invariant: A^2 / std^2 is the SNR that the step gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.bitstream import MOST_STEPS
from regrain.diffusion import noise
from regrain.diffusion.budget import Budget, begun
from regrain.diffusion.prior import HALO, STRIDE
from regrain.diffusion.sampler import descend, posterior
from regrain.diffusion.schedule import LogLinear
from regrain.layers import windowed
from regrain.progressive import channel
from regrain.progressive.model import Model
from regrain.tiles import Place

__all__ = [
    "LOG_SNR",
    "SCHEDULE",
    "SEED",
    "Finish",
    "Step",
    "arrive",
    "estimate",
    "finish",
    "padded",
    "steps",
]

SEED: Final = 0
"""Names the candidates: a part of the format."""

SCHEDULE: Final = LogLinear()
LOG_SNR: Final = (-4.0, 7.0)
"""Log-SNR after the first step and after the last."""
EARLY: Final = 2
"""Steps of 1 that follow the first, where there is little to tell; the others are even."""
FINISH: Final = 2**62
"""The steps of the noise from here on are not those of any candidate."""
WINDOW: Final = 512
"""Side of the squares in which the network runs, in pixels."""


@dataclass(frozen=True)
class Step:
    """One step: coefficients of the picture and of x_t, the noise's deviation, and log-SNR on departure and arrival."""

    picture: float
    kept: float
    std: float
    before: float | None
    after: float

    @property
    def gain(self) -> float:
        """The shift of the noise for an error of 1 in the estimate."""
        return self.picture / self.std


@dataclass(frozen=True)
class Finish:
    """How x_t becomes a picture: in `steps` >= 1 steps, or in as many as a time allows, each with `eta` in [0, 1] of
    fresh noise named by `seed`."""

    steps: int | Budget = 1
    eta: float = 0.0
    seed: int = 0


def steps(count: int) -> list[Step]:
    """The first `count` steps of a stream, 0 to MOST_STEPS."""
    low, high = LOG_SNR
    stride = (high - low - EARLY) / (MOST_STEPS - 1 - EARLY)
    grid = [low + min(k, EARLY) + stride * max(0, k - EARLY) for k in range(MOST_STEPS)]
    alpha, sigma = SCHEDULE.at(SCHEDULE.time(low))
    first = Step(alpha, 0.0, sigma, None, low)
    later = (Step(*posterior(SCHEDULE.time(t), SCHEDULE.time(s), SCHEDULE), t, s) for t, s in pairwise(grid))
    return [first, *later][:count]


def padded(side: int) -> int:
    """The least side that the network takes and that covers `side` pixels."""
    return -(-side // STRIDE) * STRIDE


def arrive(
    step: Step, number: int, x_hat: Tensor, x_t: Tensor, tiles: Sequence[Place], messages: Sequence[channel.Message]
) -> Tensor:
    """x_s (3, H, W), after the messages of step `number`, one a tile."""
    z = np.empty(x_t.shape, np.float32)
    for index, (tile, message) in enumerate(zip(tiles, messages, strict=True)):
        part: NDArray[np.float32] = z[:, *tile]
        part[...] = channel.receive(message, part.size, SEED, number * len(tiles) + index).reshape(part.shape)
    return step.picture * x_hat + step.kept * x_t + step.std * torch.from_numpy(z)


@torch.no_grad()
def estimate(model: Model, x_t: Tensor, log_snr: float | None) -> Tensor:
    """What the prior makes of x_t (3, H, W), multiples of 8: x_hat in [-1, 1], window by window; 0 of nothing."""
    if log_snr is None:
        return torch.zeros_like(x_t)
    return windowed(lambda part: model.estimate(part, log_snr), x_t, side=WINDOW, halo=HALO)


def finish(model: Model, x_t: Tensor, log_snr: float | None, way: Finish) -> Tensor:
    """From x_t to a picture (3, H, W) in [-1, 1] by DDIM steps.

    One step is the estimate of x_0: the least squared error. More regrow what the stream has not told, along the
    probability flow (eta 0, DiffC-F of Theis et al. 2022) or by ancestral sampling (eta 1, DiffC-A).
    """
    if log_snr is None:
        return torch.zeros_like(x_t)

    def fresh(number: int) -> Tensor:
        """The noise of a step."""
        return torch.from_numpy(noise.normal(way.seed, FINISH + number, 0, 0, *x_t.shape[1:]))

    steps, see = begun(way.steps, partial(estimate, model), x_t, log_snr)
    return descend(see, x_t, (log_snr, LOG_SNR[1]), steps=steps, eta=way.eta, noise=fresh)
