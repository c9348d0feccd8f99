"""Bjontegaard deltas: how far one rate-quality curve lies from another, as one number, on the range both have.

    BD-rate = 100 (exp(1 / (b - a)  int_a^b  ln r_test(q) - ln r_anchor(q)  dq) - 1)  %

[a, b] is the overlap of the two curves' qualities: outside it nothing is said, since nothing was measured. Curves
run through their points by PCHIP (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980), which is monotone where the
points are; the delta is that of G. Bjontegaard, VCEG-M33, 2001. Invariants: a curve against itself is 0, and all rates
times f is 100 (f - 1) %.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from regrain.errors import UsageError

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

__all__ = ["Delta", "at_rate", "bd_rate", "front"]

Points = Sequence[tuple[float, float]]


class Delta(NamedTuple):
    """A difference between two curves. `value` is None where there is none to state, and `reason` says why.

    `share` is the overlap over the shorter of the two ranges, 0 to 1; `left_out` counts points that took no part: those
    that are not finite, and those that a smaller or equal file of their own curve equals or betters.
    """

    value: float | None
    reason: str = ""
    share: float = 0.0
    left_out: int = 0


def front(points: Points, *, higher: bool = True) -> list[tuple[float, float]]:
    """The points (rate > 0, quality) that one would choose, rates and qualities both strictly improving.

    This is how curves that are not monotone are handled: a point is dropped when another of no larger rate is at least
    as good, since nobody would pick it; so are qualities that are not finite. `higher` says that more is better.
    Raises UsageError for a rate that is not a positive number.
    """
    for rate, _ in points:
        if not 0 < rate < math.inf:
            raise UsageError(f"rate is {rate}; allowed is a number over 0")
    sign, highest = (1 if higher else -1), -math.inf
    best_points: list[tuple[float, float]] = []
    for rate, quality in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if math.isfinite(quality) and sign * quality > highest:
            highest = sign * quality
            if best_points and math.log(rate) == math.log(best_points[-1][0]):
                best_points.pop()
            best_points.append((rate, quality))
    return best_points


def bd_rate(anchor: Points, test: Points, *, higher: bool = True) -> Delta:
    """By how many percent `test` needs more bits than `anchor` for the same quality, on average; negative is better.

    Both are (rate, quality) in any order, rates in one unit; `higher` says whether more of the quality is better.
    """
    sides = [_columns(front(points, higher=higher), higher)[::-1] for points in (anchor, test)]
    left_out = len(anchor) + len(test) - sum(len(qualities) for qualities, _ in sides)
    if min(len(qualities) for qualities, _ in sides) < 2:
        return Delta(None, "fewer than two points", left_out=left_out)
    low, high = max(qualities[0] for qualities, _ in sides), min(qualities[-1] for qualities, _ in sides)
    if high <= low:
        return Delta(None, "the ranges of quality do not overlap", left_out=left_out)
    first, second = (float(_pchip(*side).integrate(low, high)) for side in sides)
    span = min(qualities[-1] - qualities[0] for qualities, _ in sides)
    return Delta(100 * math.expm1((second - first) / (high - low)), share=(high - low) / span, left_out=left_out)


def at_rate(points: Points, rate: float, *, higher: bool = True) -> float | None:
    """The quality at `rate` on the PCHIP curve over log-rate; None outside of the curve, or with under two points."""
    rates, qualities = _columns(front(points, higher=higher), higher)
    x = math.log(rate)
    if len(rates) < 2 or not rates[0] <= x <= rates[-1]:
        return None
    return (1 if higher else -1) * float(_pchip(rates, qualities)(x))


def _columns(points: Points, higher: bool) -> tuple[list[float], list[float]]:
    """Log-rates and qualities, the latter negated where lower is better: both strictly rising on a front."""
    sign = 1 if higher else -1
    return [math.log(rate) for rate, _ in points], [sign * quality for _, quality in points]


def _pchip(x: Sequence[float], y: Sequence[float]) -> "PchipInterpolator":
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(x, y, extrapolate=False)
