"""From x_1 to x_0 by steps t -> s, each using an estimate of x_0. Knows a callable, not the network.

    DDIM:       x_s = alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps + std z,   eps = (x_t - alpha_t x_0) / sigma_t
                std = eta (sigma_s / sigma_t) sqrt(beta)                         (Song et al. 2021, eq. 12 and 16)
    ancestral:  x_s = (alpha_s beta / sigma_t^2) x_0 + (alpha_t / alpha_s) (sigma_s^2 / sigma_t^2) x_t + std z
                std^2 = beta sigma_s^2 / sigma_t^2                               (Ho et al. 2020, eq. 6 and 7)
    2nd order:  x_s as in DDIM, with x_0 + (x_0 - x_0') h / 2h' for x_0      (Lu et al. 2022, DPM-Solver++(2M))

with beta = 1 - alpha_t^2 / alpha_s^2, which is DDPM's beta_n when t and s are neighbours; x_0' is the estimate of the
step before, h and h' are this step and that one in log-SNR. Invariants: if x_t is drawn from q(x_t | x_0), then x_s is
drawn from q(x_s | x_0); DDIM with eta = 1 is the ancestral step; a step to s = 0 gives x_0 itself, without noise; the
error of the flow falls as 1 / steps, in 2nd order as 1 / steps^2.

Coefficients are Python floats in double precision. Images are NumPy arrays or torch's tensors, which keep their dtype
and device; gradients flow. This module imports neither library.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from regrain.diffusion.schedule import REACH, LogLinear, Schedule
from regrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["ancestral_step", "ddim_step", "descend", "leap_length", "posterior", "sample", "second_order", "time_grid"]

Image = TypeVar("Image", "NDArray[np.float32]", "Tensor")


def time_grid(steps: int) -> tuple[float, ...]:
    """The steps + 1 times from 1.0 down to 0.0, even in t. Raises UsageError if steps < 1.

    >>> time_grid(4)
    (1.0, 0.75, 0.5, 0.25, 0.0)
    """
    if steps < 1:
        raise UsageError(f"{steps} sampling steps: 1 or more are allowed")
    return tuple((steps - k) / steps for k in range(steps + 1))


def _check_times(t: float, s: float) -> None:
    if not 0.0 <= s < t <= 1.0:
        raise UsageError(f"a step from time {t} to {s}: 0 <= s < t <= 1 is allowed")


def _beta(alpha_t: float, alpha_s: float) -> float:
    return max(0.0, 1.0 - (alpha_t / alpha_s) ** 2)


def ddim_step(
    x_t: Image, x_0: Image, t: float, s: float, schedule: Schedule, *, eta: float = 0.0, noise: Image | None = None
) -> Image:
    """One DDIM step (Song et al. 2021, eq. 12 and 16) from x_t at time t to time s, given the estimate x_0.

    Images and `noise` (standard normal) are (B, C, H, W). eta = 0 is deterministic, eta = 1 is DDPM. s = 0 returns x_0
    itself. Raises UsageError unless 0 <= s < t <= 1 and 0 <= eta <= 1, or if eta > 0 and s > 0 come without noise.
    """
    _check_times(t, s)
    if not 0.0 <= eta <= 1.0:
        raise UsageError(f"eta {eta} is out of range: 0 to 1 is allowed")
    if s == 0.0:
        return x_0
    if eta > 0.0 and noise is None:
        raise UsageError(f"eta {eta} without noise: give noise, or eta 0")
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    std = eta * (sigma_s / sigma_t) * math.sqrt(_beta(alpha_t, alpha_s))
    eps: Any = (x_t - alpha_t * x_0) / sigma_t
    x_s: Image = alpha_s * x_0 + math.sqrt(max(0.0, sigma_s**2 - std**2)) * eps
    if noise is not None and std > 0.0:
        x_s = x_s + std * noise
    return x_s


def posterior(t: float, s: float, schedule: Schedule) -> tuple[float, float, float]:
    """What q(x_s | x_t, x_0) is made of (Ho et al. 2020, eq. 7): the weights of x_0 and of x_t, and the deviation.

    Raises UsageError unless 0 <= s < t <= 1.
    """
    _check_times(t, s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t), schedule.at(s)
    beta, ratio = _beta(alpha_t, alpha_s), (sigma_s / sigma_t) ** 2
    return alpha_s * beta / sigma_t**2, alpha_t / alpha_s * ratio, math.sqrt(beta * ratio)


def ancestral_step(x_t: Image, x_0: Image, t: float, s: float, schedule: Schedule, *, noise: Image) -> Image:
    """One DDPM step (Ho et al. 2020, eq. 6 and 7) from x_t at time t to any earlier time s, given the estimate x_0.

    Images and `noise` (standard normal) are (B, C, H, W). s = 0 returns x_0 itself. Raises UsageError unless
    0 <= s < t <= 1.
    """
    picture, past, std = posterior(t, s, schedule)
    if s == 0.0:
        return x_0
    x_s: Image = picture * x_0 + past * x_t + std * noise
    return x_s


def second_order(
    x_0: Image, before: Image | None, times: tuple[float, float, float] | None, schedule: Schedule
) -> Image:
    """The estimate that makes a DDIM step one of second order (Lu et al. 2022, DPM-Solver++(2M)), (B, C, H, W).

    `before` is the estimate of the step before, and `times` where that step, this one and the next are, falling.
    Without them, in the first step, and in a last step to 0, it is x_0 itself.
    """
    if before is None or times is None or times[2] == 0.0:
        return x_0
    (alpha_r, sigma_r), (alpha_t, sigma_t), (alpha_s, sigma_s) = (schedule.at(time) for time in times)
    now, last = math.log(alpha_s * sigma_t / (sigma_s * alpha_t)), math.log(alpha_t * sigma_r / (sigma_t * alpha_r))
    return x_0 + (x_0 - before) * (now / (2 * last))


def sample(
    denoise: Callable[[Image, float], Image],
    x_1: Image,
    schedule: Schedule,
    *,
    steps: int,
    eta: float = 0.0,
    noise: Callable[[int], Image] | None = None,
    order: int = 1,
) -> Image:
    """Walk x_1 (B, C, H, W) down `time_grid(steps)` by DDIM steps and return the last estimate of x_0.

    `denoise(x_t, t)` returns x_0 and is called once a step; with steps = 1 the result is denoise(x_1, 1.0).
    `noise(k)`, for k = 1 .. steps - 1 in this order, is the standard normal image added on arrival at the k-th time of
    the grid; it is asked for only when eta > 0, and k = 0 is left for x_1 itself. `order` 2 takes `second_order` steps,
    which are deterministic. Raises UsageError as `time_grid` and `ddim_step` do, and for another order.

    >>> import numpy
    >>> float(sample(lambda x_t, t: 0 * x_t + 0.5, numpy.ones(1), LogLinear(), steps=3)[0])
    0.5
    """
    if order not in (1, 2) or (order == 2 and eta > 0.0):
        raise UsageError(f"order {order} with eta {eta}: 1, or 2 with eta 0, is allowed")
    return _follow(denoise, x_1, time_grid(steps), schedule, eta, noise, order)


def descend(
    denoise: Callable[[Image, float], Image],
    x_t: Image,
    log_snr: tuple[float, float],
    *,
    steps: int,
    eta: float = 0.0,
    noise: Callable[[int], Image] | None = None,
    order: int = 1,
) -> Image:
    """From x_t (..., H, W) at the first log-SNR, DDIM steps even in log-SNR towards the second; the last x_0 estimated.

    `denoise(x_t, log_snr)` returns x_0 and is called `steps` >= 1 times: one step is the estimate at once. `noise` is
    as in `sample`, asked for only when eta > 0, and so is `order`. Steps to the same time are one step: from the last
    log-SNR on all that is left is the estimate. Raises UsageError for a log-SNR beyond +-REACH, and as `ddim_step`.
    """
    (first, last), levels = log_snr, LogLinear()
    way = max(0.0, last - first)
    grid = {levels.time(level): level for level in (first + way * k / steps for k in range(steps))}
    x_t = _follow(lambda x, t: denoise(x, grid[t]), x_t, tuple(grid), levels, eta, noise, order)
    return denoise(x_t, grid[min(grid)])


def leap_length(log_snr: float, way: tuple[float, float], steps: int) -> float:
    """How far the step of `descend` from this log-SNR goes, for a network that takes leaps.

    `way` and `steps` are those of `descend`. The last step goes to the picture itself, for which REACH stands.

    >>> [leap_length(log_snr, (0.0, 8.0), 2) for log_snr in (0.0, 4.0)]
    [4.0, 10.0]
    """
    length = max(0.0, way[1] - way[0]) / steps
    return length if log_snr < way[1] - 1.5 * length else REACH


def _follow(
    denoise: Callable[[Image, float], Image],
    x_t: Image,
    times: Sequence[float],
    schedule: Schedule,
    eta: float,
    noise: Callable[[int], Image] | None,
    order: int = 1,
) -> Image:
    """From x_t at the first of falling times to the last of them, a step from each to the next."""
    before, last = None, 1.0
    for k, (t, s) in enumerate(pairwise(times), start=1):
        fresh = noise(k) if noise is not None and eta > 0.0 and s > 0.0 else None
        x_0 = denoise(x_t, t)
        better = second_order(x_0, before, (last, t, s), schedule) if order == 2 else x_0
        x_t, before, last = ddim_step(x_t, better, t, s, schedule, eta=eta, noise=fresh), x_0, t
    return x_t
