"""From x_1 to x_0 by steps t -> s, each using an estimate of x_0. Knows a callable, not the network.

    DDIM:       x_s = alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps + std z,   eps = (x_t - alpha_t x_0) / sigma_t
                std = eta (sigma_s / sigma_t) sqrt(beta)                         (Song et al. 2021, eq. 12 and 16)
    ancestral:  x_s = (alpha_s beta / sigma_t^2) x_0 + (alpha_t / alpha_s) (sigma_s^2 / sigma_t^2) x_t + std z
                std^2 = beta sigma_s^2 / sigma_t^2  or  beta                     (Ho et al. 2020, eq. 6 and 7)

with beta = 1 - alpha_t^2 / alpha_s^2, which is DDPM's beta_n when t and s are neighbours. Invariants: if x_t is drawn
from q(x_t | x_0), then x_s is drawn from q(x_s | x_0) (DDIM for any eta, ancestral with the posterior variance); DDIM
with eta = 1 is the ancestral step with the posterior variance; a step to s = 0 gives x_0 itself, without noise.

Coefficients are Python floats in double precision; images keep their dtype and device. Gradients flow.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final, Literal

from torch import Tensor

from regrain.diffusion.schedule import Schedule
from regrain.errors import UsageError

__all__ = ["Variance", "ancestral_step", "ddim_step", "sample", "time_grid"]

Variance = Literal["posterior", "beta"]

_VARIANCES: Final[dict[str, Callable[[float, float], float]]] = {
    "posterior": lambda beta, ratio: beta * ratio,
    "beta": lambda beta, ratio: beta,
}


def time_grid(steps: int) -> tuple[float, ...]:
    """The steps + 1 times from 1.0 down to 0.0, uniform in t. Raises UsageError if steps < 1."""
    if steps < 1:
        raise UsageError(f"{steps} sampling steps: 1 or more are allowed")
    return tuple((steps - k) / steps for k in range(steps + 1))


def _check_times(t: float, s: float) -> None:
    if not 0.0 <= s < t <= 1.0:
        raise UsageError(f"a step from time {t} to {s}: 0 <= s < t <= 1 is allowed")


def _check_eta(eta: float) -> None:
    if not 0.0 <= eta <= 1.0:
        raise UsageError(f"eta {eta} is out of range: 0 to 1 is allowed")


def _beta(alpha_t: float, alpha_s: float) -> float:
    return max(0.0, 1.0 - (alpha_t / alpha_s) ** 2)


def ddim_step(
    x_t: Tensor, x_0: Tensor, t: float, s: float, schedule: Schedule, *, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    """One DDIM step (Song et al. 2021, eq. 12 and 16) from x_t at time t to time s, given the estimate x_0.

    Images and `noise` (standard normal) are (B, C, H, W). eta = 0 is deterministic, eta = 1 is DDPM. s = 0 returns x_0
    itself. Raises UsageError unless 0 <= s < t <= 1 and 0 <= eta <= 1, or if eta > 0 and s > 0 come without noise.
    """
    _check_times(t, s)
    _check_eta(eta)
    if s == 0.0:
        return x_0
    if eta > 0.0 and noise is None:
        raise UsageError(f"eta {eta} without noise: give noise, or eta 0")
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    std = eta * (sigma_s / sigma_t) * math.sqrt(_beta(alpha_t, alpha_s))
    eps = (x_t - alpha_t * x_0) / sigma_t
    x_s = alpha_s * x_0 + math.sqrt(max(0.0, sigma_s**2 - std**2)) * eps
    return x_s if noise is None or std == 0.0 else x_s + std * noise


def ancestral_step(
    x_t: Tensor,
    x_0: Tensor,
    t: float,
    s: float,
    schedule: Schedule,
    *,
    noise: Tensor,
    variance: Variance = "posterior",
) -> Tensor:
    """One DDPM step (Ho et al. 2020, eq. 6 and 7) from x_t at time t to any earlier time s, given the estimate x_0.

    Images and `noise` (standard normal) are (B, C, H, W). `variance` is the posterior's beta_tilde or plain beta, the
    two choices of section 3.2. s = 0 returns x_0 itself. Raises UsageError unless 0 <= s < t <= 1, or for another
    variance.
    """
    _check_times(t, s)
    if variance not in _VARIANCES:
        raise UsageError(f"no variance is named {variance!r}: {', '.join(_VARIANCES)} are allowed")
    if s == 0.0:
        return x_0
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    beta, ratio = _beta(alpha_t, alpha_s), (sigma_s / sigma_t) ** 2
    mean = (alpha_s * beta / sigma_t**2) * x_0 + (alpha_t / alpha_s * ratio) * x_t
    return mean + math.sqrt(_VARIANCES[variance](beta, ratio)) * noise


def sample(
    denoise: Callable[[Tensor, float], Tensor],
    x_1: Tensor,
    schedule: Schedule,
    *,
    steps: int,
    eta: float = 0.0,
    noise: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Walk x_1 (B, C, H, W) down `time_grid(steps)` by DDIM steps and return the last estimate of x_0.

    `denoise(x_t, t)` returns x_0 and is called once a step; with steps = 1 the result is denoise(x_1, 1.0).
    `noise(k)`, for k = 1 .. steps - 1 in this order, is the standard normal image added on arrival at the k-th time of
    the grid; it is asked for only when eta > 0, and k = 0 is left for x_1 itself. Raises UsageError as `time_grid` and
    `ddim_step` do.
    """
    _check_eta(eta)
    if eta > 0.0 and steps > 1 and noise is None:
        raise UsageError(f"eta {eta} without noise: give noise, or eta 0")
    x_t = x_1
    for k, (t, s) in enumerate(pairwise(time_grid(steps)), start=1):
        fresh = noise(k) if noise is not None and eta > 0.0 and s > 0.0 else None
        x_t = ddim_step(x_t, denoise(x_t, t), t, s, schedule, eta=eta, noise=fresh)
    return x_t
