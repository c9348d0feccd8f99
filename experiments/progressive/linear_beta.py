"""The schedule of DDPM, against which published figures and other implementations are compared."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, final

from regrain.diffusion.schedule import STEPS, Schedule, Time
from regrain.errors import UsageError

BETA_FIRST: Final = 1e-4
BETA_LAST: Final = 0.02
_BETA_SLOPE: Final = (BETA_LAST - BETA_FIRST) / (STEPS - 1)


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
