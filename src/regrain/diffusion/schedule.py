"""Noise schedules: how much picture and how much noise there is at time t.

    x_t = alpha_t x_0 + sigma_t eps,   alpha_t^2 + sigma_t^2 = 1,   log_snr(t) = log(alpha_t^2 / sigma_t^2)

`t` runs through [0, 1]; t = 1 is the noisiest and the log-SNR falls with t. A schedule defines log_snr alone; alpha
and sigma follow as sqrt(sigmoid(log_snr)) and sqrt(sigmoid(-log_snr)) (Kingma et al. 2021, variational diffusion).
The log-SNR is clamped to [-20, 20], so that alpha_1 and sigma_0 are about 4.5e-5 and never zero.

A formula takes one time as a float, or many as a tensor of torch's; this module does not import torch.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar, final

from regrain.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LOG_SNR_MAX", "NAMES", "REACH", "STEPS",
    "Cosine", "LinearBeta", "LogLinear", "Schedule", "Truncated",
    "get", "levels_at",
]  # fmt: skip

LOG_SNR_MAX: Final = 20.0
STEPS: Final = 1000
"""Steps of DDPM, in which the literature cuts the way from picture to noise."""
REACH: Final = 10.0
BETA_FIRST: Final = 1e-4
BETA_LAST: Final = 0.02
_BETA_SLOPE: Final = (BETA_LAST - BETA_FIRST) / (STEPS - 1)

Time = TypeVar("Time", float, "Tensor")


class Schedule(ABC):
    """A map from time to noise level. Subclasses give `_log_snr`; everything else follows from it.

    Tensor methods take a floating `t` of any shape in [0, 1] (not checked) and keep its shape, dtype and device.
    """

    @abstractmethod
    def _log_snr(self, t: Time) -> Time:
        """Log-SNR before the clamp; infinite at the ends where the formula says so, never NaN on [0, 1]."""

    @final
    def log_snr(self, t: "Tensor") -> "Tensor":
        """log(alpha_t^2 / sigma_t^2), non-increasing in t, clamped to [-LOG_SNR_MAX, LOG_SNR_MAX]."""
        return self._log_snr(t).clamp(-LOG_SNR_MAX, LOG_SNR_MAX)

    @final
    def alpha(self, t: "Tensor") -> "Tensor":
        """Weight of the picture in x_t, in (0, 1); DDPM's sqrt(alpha_bar_t)."""
        return self.log_snr(t).sigmoid().sqrt()

    @final
    def sigma(self, t: "Tensor") -> "Tensor":
        """Weight of the noise in x_t, in (0, 1); DDPM's sqrt(1 - alpha_bar_t)."""
        return (-self.log_snr(t)).sigmoid().sqrt()

    @final
    def levels(self, t: "Tensor") -> "tuple[Tensor, Tensor]":
        """(alpha_t, sigma_t) of t (B,), each (B, 1, 1, 1), to stand beside pictures (B, C, H, W)."""
        return self.alpha(t)[:, None, None, None], self.sigma(t)[:, None, None, None]

    @final
    def at(self, t: float) -> tuple[float, float]:
        """(alpha_t, sigma_t) for one time, as Python floats computed in double precision.

        Raises UsageError if t is outside [0, 1].
        """
        return levels_at(self.log_snr_at(t))

    @final
    def log_snr_at(self, t: float) -> float:
        """The log-SNR at one time, clamped as `log_snr`. Raises UsageError if t is outside [0, 1].

        >>> LogLinear().log_snr_at(0.75)
        -5.0
        """
        if not 0.0 <= t <= 1.0:
            raise UsageError(f"time {t} is out of range: 0 to 1 is allowed")
        return _clamp(self._log_snr(t))

    @final
    def time_of(self, log_snr: float) -> float:
        """The time at which the log-SNR is so much, by bisection to the last digit; the nearest end beyond the ends."""
        early, late = 0.0, 1.0
        while early < (middle := (early + late) / 2) < late:
            early, late = (middle, late) if _clamp(self._log_snr(middle)) > log_snr else (early, middle)
        return late


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2), away from the clamp.

    Nichol and Dhariwal 2021, eq. 17, without the offset: the clamp of the log-SNR does its work at both ends.
    """

    def _log_snr(self, t: Time) -> Time:
        """2 log(cos / sin), with cos(u) = sin(pi/2 - u) so that t = 1 gives -inf, never log of a rounding error."""
        picture, noise = _sin((1 - t) * (math.pi / 2)), _sin(t * (math.pi / 2))
        return 2 * (_log(picture) - _log(noise))


@final
@dataclass(frozen=True)
class LinearBeta(Schedule):
    """Ho et al. 2020 (DDPM), section 4: beta_n grows linearly from 1e-4 (n = 1) to 0.02 (n = STEPS = 1000).

    The discrete alpha_bar_n = prod_{i <= n} (1 - beta_i) is `alpha_bar(n)`. Its continuous form takes the sum of
    log(1 - beta_i) as the integral over [1/2, n + 1/2] (the midpoint rule): in double precision its log(alpha_bar) at
    t = n / STEPS agrees with the discrete one to a relative 1e-6 for every n.
    """

    @cached_property
    def _alpha_bars(self) -> tuple[float, ...]:
        kept = (1 - (BETA_FIRST + _BETA_SLOPE * i) for i in range(STEPS))
        return tuple(accumulate(kept, float.__mul__, initial=1.0))

    @cached_property
    def _decay(self) -> tuple[float, ...]:
        """Coefficients of t, t^2, ... in -log(alpha_bar(t)); all positive, so that no dtype suffers cancellation.

        With beta(t) = b + k t, integrate -log(1 - b - k t) = -log(1 - b) + sum_j (r t)^j / j, where r = k / (1 - b).
        """
        start = BETA_FIRST - _BETA_SLOPE / 2
        ratio = _BETA_SLOPE * STEPS / (1 - start)
        return STEPS * -math.log1p(-start), *(STEPS * ratio**j / (j * (j + 1)) for j in range(1, 9))

    def _log_snr(self, t: Time) -> Time:
        """-log(1 / alpha_bar - 1), by Horner's rule."""
        decay = 0 * t
        for coefficient in reversed(self._decay):
            decay = (decay + coefficient) * t
        if isinstance(decay, float):
            return -math.log(math.expm1(decay)) if decay else math.inf
        return -decay.expm1().log()

    def alpha_bar(self, n: int) -> float:
        """The exact discrete alpha_bar_n, 0 <= n <= STEPS, with alpha_bar_0 = 1. Raises UsageError for any other n."""
        if not 0 <= n <= STEPS:
            raise UsageError(f"step {n} is out of range: 0 to {STEPS} is allowed")
        return self._alpha_bars[n]


@final
@dataclass(frozen=True)
class LogLinear(Schedule):
    """Log-SNR from REACH at t = 0 to -REACH at t = 1, evenly: a grid even in t spends the bound's bits evenly."""

    def _log_snr(self, t: Time) -> Time:
        return REACH * (1 - 2 * t)

    def time(self, log_snr: float) -> float:
        """The time at which the log-SNR, within +-REACH, is reached."""
        return (1 - log_snr / REACH) / 2


@final
@dataclass(frozen=True)
class Truncated(Schedule):
    """Log-SNR from 8 at t = 0 (noise of two 8-bit levels) to 0.45 at t = 1 (0.8 of the range [-1, 1]), evenly.

    A decoder knows the picture but for an error of about 0.1: more noise than this hides nothing further, and less is
    not seen. Sampling starts from a guide under noise, alpha_1 guide + sigma_1 eps, as in SDEdit (Meng et al. 2022).
    """

    def _log_snr(self, t: Time) -> Time:
        return 8.0 - 7.55 * t


def levels_at(log_snr: float) -> tuple[float, float]:
    """(alpha, sigma) at a log-SNR, which is clamped, as Python floats computed in double precision."""
    log_snr = _clamp(log_snr)
    return (1 + math.exp(-log_snr)) ** -0.5, (1 + math.exp(log_snr)) ** -0.5


def _clamp(log_snr: float) -> float:
    return min(max(log_snr, -LOG_SNR_MAX), LOG_SNR_MAX)


def _sin(x: Time) -> Time:
    return math.sin(x) if isinstance(x, float) else x.sin()


def _log(x: Time) -> Time:
    """The natural logarithm; -inf of 0, of floats as of tensors."""
    if isinstance(x, float):
        return math.log(x) if x else -math.inf
    return x.log()


_SCHEDULES: Final[dict[str, Schedule]] = {
    "log-linear": LogLinear(),
    "cosine": Cosine(),
    "linear": LinearBeta(),
    "truncated": Truncated(),
}
NAMES: Final = tuple(_SCHEDULES)


def get(name: str) -> Schedule:
    """The schedule of one of the NAMES. Raises UsageError for any other name.

    >>> [round(level, 3) for level in get("cosine").at(0.5)]
    [0.707, 0.707]
    """
    if name not in _SCHEDULES:
        raise UsageError(f"no schedule is named {name!r}: {', '.join(_SCHEDULES)} are allowed")
    return _SCHEDULES[name]
