"""The variational bound: what a picture costs a diffusion model in bits, term by term. Knows a callable, not a network.

    E[-log2 p(x_0)] <= E[prior + steps + decoder]                                      (Ho et al. 2020, eq. 5)
    prior    KL(q(x_1 | x_0) || N(0, 1))           = (sigma_1^2 - 1 - ln sigma_1^2 + alpha_1^2 x_0^2) / 2
    step     KL(q(x_s | x_t, x_0) || p(x_s | x_t)) = (r - 1 - ln r + r (SNR(s) - SNR(t)) (x_0 - estimate)^2) / 2
    decoder  -ln(Phi((x_0 - mean + 1/255) / std) - Phi((x_0 - mean - 1/255) / std))    (the same, eq. 13)

in nats a value, with SNR = alpha^2 / sigma^2 and r = beta_tilde / p's variance; p's mean is the posterior's with the
estimate for x_0, as in `sampler.ancestral_step`. r = 1 leaves Kingma et al. 2021, eq. 13. Invariants: with r = 1 a
perfect estimate makes every step 0, and a fixed error e makes their sum |e|^2 / 2 times the SNR gained on the way;
where p is q(x_s | x_t) itself, any grid gives the data's entropy and the prior's mismatch; the probabilities of the
decoder's 256 levels sum to 1.

Pictures are (B, C, H, W), 8-bit levels k at 2 k / 255 - 1. Terms are bits a picture, (B,), float64. Gradients flow.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor

from regrain.diffusion.parametrize import Level
from regrain.diffusion.sampler import posterior
from regrain.diffusion.schedule import Schedule
from regrain.errors import UsageError

__all__ = ["Bound", "StepVariance", "between", "bound", "decoder_bits", "prior_bits", "step_bits"]

StepVariance = Literal["posterior", "beta"] | Callable[[float, float], Level]
"""Variance of p(x_s | x_t): beta_tilde, beta, or a function of (t, s), > 0, that broadcasts against the pictures."""

_HALF_BIN: Final = 1 / 255


@dataclass(frozen=True)
class Bound:
    """The bound's terms for B pictures, in bits a picture, float64.

    Attributes:
        times: The N + 1 times > 0 of the grid, falling.
        prior: (B,), what x at the first time costs.
        steps: (B, N), what each step from one time to the next costs.
        decoder: (B,), what the levels cost once x at the last time is known.
        dimensions: Values a picture, C H W.
    """

    times: tuple[float, ...]
    prior: Tensor
    steps: Tensor
    decoder: Tensor
    dimensions: int

    @property
    def cumulative(self) -> Tensor:
        """(B, N + 2): entry k is the price of knowing x at times[k], the last one that of the picture itself."""
        return torch.cat([self.prior[:, None], self.steps, self.decoder[:, None]], 1).cumsum(1)

    @property
    def total(self) -> Tensor:
        """(B,): prior, steps and decoder together, in bits."""
        return self.prior + self.steps.sum(1) + self.decoder

    @property
    def bits_per_dim(self) -> Tensor:
        """(B,): the total per value, of which a pixel has C."""
        return self.total / self.dimensions


def _check_times(times: Sequence[float]) -> None:
    if len(times) < 2 or not all(1.0 >= t > s >= 0.0 for t, s in pairwise(times)):
        raise UsageError(f"times {list(times)}: two or more that fall, from 1 at most to 0 at least, are allowed")


def _positive(variance: Level, like: Tensor) -> Tensor:
    values = torch.as_tensor(variance, dtype=torch.float64, device=like.device)
    if not (values > 0).all():
        raise UsageError(f"variance {float(values.min())} is out of range: more than 0 is allowed")
    return values


def _divergence(ratio: Tensor, gap: Tensor) -> Tensor:
    """Bits from normal q to p, (B,): `ratio` is q's variance over p's, `gap` (means' difference)^2 over p's."""
    return (ratio - 1 - ratio.log() + gap).flatten(1).sum(1) / math.log(4)


def prior_bits(x_0: Tensor, t: float, schedule: Schedule) -> Tensor:
    """L_T, (B,): KL(q(x_t | x_0) || N(0, I)), t the first time of the grid. Raises UsageError if t is not in [0, 1]."""
    alpha, sigma = schedule.at(t)
    return _divergence(_positive(sigma**2, x_0), (alpha * x_0.double()).square())


def step_bits(
    x_0: Tensor, estimate: Tensor, t: float, s: float, schedule: Schedule, *, variance: StepVariance = "posterior"
) -> Tensor:
    """One L_{t -> s}, (B,): KL(q(x_s | x_t, x_0) || p(x_s | x_t)), p made of the estimate of x_0 at time t.

    Both pictures (B, C, H, W); x_t itself cancels. Raises UsageError unless 0 <= s < t <= 1, for a variance of another
    name, or for one that is not positive.
    """
    _check_times((t, s))
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    shrink = (sigma_s / sigma_t) ** 2
    if callable(variance):
        ratio = (1 - (alpha_t / alpha_s) ** 2) * shrink / _positive(variance(t, s), x_0)
    elif variance in ("posterior", "beta"):
        ratio = _positive(1.0 if variance == "posterior" else shrink, x_0)
    else:
        raise UsageError(f"no variance is named {variance!r}: posterior, beta are allowed")
    gained = (alpha_s / sigma_s) ** 2 - (alpha_t / sigma_t) ** 2
    return _divergence(ratio, ratio * gained * (x_0.double() - estimate.double()).square())


def between(nu: Tensor, t: float, s: float, schedule: Schedule) -> Tensor:
    """Variance of the step t -> s, in the shape of nu: beta_tilde at nu = 0, beta at nu = 1, geometric between.

    Nichol and Dhariwal 2021, eq. 15, where beta is (sigma_t / sigma_s)^2 beta_tilde. Raises UsageError unless
    0 <= s < t <= 1.
    """
    shrink, std = schedule.at(s)[1] / schedule.at(t)[1], posterior(t, s, schedule)[2]
    return std**2 * shrink ** (-2 * nu)


def decoder_bits(x_0: Tensor, mean: Tensor, variance: Level) -> Tensor:
    """L_0, (B,): -log2 of the normal's mass in the bin of half-width 1/255 around x_0; at -1 and 1 it is open outwards.

    Pictures (B, C, H, W), `variance` > 0 broadcasts against them. Each bin is first reflected onto the negative axis,
    where log Phi keeps its digits: finite at any distance. Raises UsageError for a variance that is not positive.
    """
    std = _positive(variance, x_0).sqrt()
    gap = x_0.double() - mean.double()
    low = (gap - _HALF_BIN).masked_fill(x_0 < _HALF_BIN - 1, -math.inf) / std
    high = (gap + _HALF_BIN).masked_fill(x_0 > 1 - _HALF_BIN, math.inf) / std
    right = low + high > 0
    near = torch.special.log_ndtr(torch.where(right, -low, high))
    far = torch.special.log_ndtr(torch.where(right, -high, low))
    nats: Tensor = -near - (-torch.expm1(far - near)).log()
    return nats.flatten(1).sum(1) / math.log(2)


def bound(
    denoise: Callable[[Tensor, float], Tensor],
    x_0: Tensor,
    schedule: Schedule,
    times: Sequence[float],
    noise: Callable[[int], Tensor],
    *,
    variance: StepVariance = "posterior",
    decoder_variance: Level | None = None,
) -> Bound:
    """All terms for the pictures x_0 (B, C, H, W) in [-1, 1] (not checked), each at one draw of x_t a time of the grid.

    `denoise(x_t, t)` returns an estimate of x_0 and is called once for each time > 0, in falling order. `noise(k)` is
    the standard normal eps of x_t = alpha_t x_0 + sigma_t eps at times[k], asked for once each. `times` fall, from 1.0
    as a rule; a last 0.0 may stand there or not (`sampler.time_grid` ends with one), for the step to it is the decoder,
    whose mean is the estimate at the last time > 0.

    `decoder_variance` None is sigma_t^2 at that time, which is beta of the step to 0. beta_tilde is 0 there; DDPM's
    code puts in its place the beta_tilde of the step before. Raises UsageError for fewer than two times, not falling,
    or outside [0, 1], and as `step_bits` and `decoder_bits` do.
    """
    _check_times(times)
    positive = tuple(t for t in times if t > 0)
    steps, estimate, sigma = x_0.new_zeros(len(x_0), len(positive) - 1, dtype=torch.float64), x_0, 1.0
    for k, t in enumerate(positive):
        alpha, sigma = schedule.at(t)
        estimate = denoise(alpha * x_0 + sigma * noise(k), t)
        if k < len(positive) - 1:
            steps[:, k] = step_bits(x_0, estimate, t, positive[k + 1], schedule, variance=variance)
    decoder = decoder_bits(x_0, estimate, sigma**2 if decoder_variance is None else decoder_variance)
    return Bound(positive, prior_bits(x_0, positive[0], schedule), steps, decoder, x_0[0].numel())
