"""The quality at which a file keeps to a target, searched for over the steps of quality that a header can say.

step = 256 quality, 0 to 25,600      bytes rise with it, and so does what a metric says of the decoded picture

A target of bytes is met by bisection, which decodes nothing; one of a metric by interpolation, in half as many tries.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from regrain import bitstream
from regrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.image import Picture
    from regrain.metrics import Metric

__all__ = [
    "BEST", "QUALITY_UNIT", "Candidate", "Rate", "bytes_within", "finite", "lowest_reaching", "value_of", "values_of",
]  # fmt: skip

QUALITY_UNIT = 256
"""Steps of one of quality."""
BEST = 100 * QUALITY_UNIT
"""The step of quality 100."""
DEFAULT_QUALITY = 50.0
USUAL_SLOPE = 15 / BEST
"""Of PSNR in dB over steps, for the second step that is tried."""
BEYOND, PATIENCE, INTERPOLATED_MOST = 0.2, 3, 12
"""By what share an interpolated way is lengthened; tries in which a bracket halves at least; tries of this kind."""


def bytes_within(bpp: float, pixels: int) -> int:
    """The most bytes n for which 8 n / pixels, as it is rounded, is no more than `bpp`.

    >>> bytes_within(0.25, 393_216)
    12288
    """
    near = int(bpp * pixels / 8)
    return max(size for size in (near - 1, near, near + 1) if 8 * size / pixels <= bpp)


class Candidate(NamedTuple):
    """A file that keeps to what is asked for: its step, itself, and its value where a metric is aimed at."""

    step: int
    data: bytes
    value: float | None


@dataclass(frozen=True)
class Rate:
    """What somebody asks of a file: a quality, 50 where nothing is said, or the target that one of the others names."""

    quality: float | None = None
    target_size: int | None = None
    target_bpp: float | None = None
    target_psnr: float | None = None
    target_ssimulacra2: float | None = None

    def aim(self) -> "tuple[str, Metric, float] | None":
        """The metric that is to reach a value: its name in reports, the metric, and the value; None without one."""
        from regrain.metrics import METRICS

        aims = {name: getattr(self, name) for name in METRICS}
        named = ((name, METRICS[name], value) for name, value in aims.items() if value is not None)
        return next(((name.removeprefix("target_"), metric, value) for name, metric, value in named), None)

    def most(self, pixels: int) -> int | None:
        """The most bytes that a file of so many pixels may have; None where nobody says."""
        return self.target_size if self.target_bpp is None else bytes_within(self.target_bpp, pixels)

    def candidate(self, at: Callable[[int], bytes], value_at: Callable[[int], float] | None, pixels: int) -> Candidate:
        """The file at the step that is asked for; arguments and errors as for `step`."""
        step = self.step(at, value_at, pixels)
        return Candidate(step, at(step), None if value_at is None else value_at(step))

    def better(self, first: Candidate, second: Candidate, pixels: int) -> Candidate:
        """The one of less bytes at a target of a metric, of more quality at one of bytes; else the second."""
        if self.aim() is not None:
            return second if len(second.data) < len(first.data) else first
        return first if self.most(pixels) is not None and second.step < first.step else second

    def step(self, at: Callable[[int], bytes], value_at: Callable[[int], float] | None, pixels: int) -> int:
        """The step of the file that is asked for. `at` gives the file of a step, of so many pixels.

        `value_at` gives the value of a step where a metric is aimed at. Raises UsageError where a target is out of
        reach.
        """
        most = self.most(pixels)
        if most is not None:
            rate = "" if self.target_bpp is None else f"{self.target_bpp:g} bpp, "
            return largest_within(at, most, f"{rate}{most} bytes{',' if rate else ''}")
        aim = self.aim()
        if aim is None or value_at is None:
            return round((DEFAULT_QUALITY if self.quality is None else self.quality) * QUALITY_UNIT)
        _, metric, goal = aim
        return lowest_reaching(value_at, goal, lambda value: f"{metric.title} {metric.text(value)}")


def largest_within(at: Callable[[int], bytes], target: int, named: str) -> int:
    """The step of the file at the highest quality that keeps to `target` bytes; `at` gives the file of a step.

    Raises UsageError, the target `named` as the caller gave it, if the smallest file has more.
    """
    best, length = 0, len(at(0))
    if length > target:
        raise UsageError(f"target of {named} is too small: the smallest file of this picture is {length} bytes")
    low, high = 0, BEST + 1
    while high - low > 1:
        middle = (low + high) // 2
        size = len(at(middle))
        if size <= target:
            low, best, length = middle, *((middle, size) if size >= length else (best, length))
        else:
            high = middle
    return best


def finite(value: float) -> float | None:
    """A value as JSON has it: None for infinity, which equal pictures have of PSNR.

    >>> finite(31.5), finite(math.inf)
    (31.5, None)
    """
    return value if math.isfinite(value) else None


def lowest_reaching(value_at: Callable[[int], float], target: float, name: Callable[[float], str]) -> int:
    """A step whose value is `target` or more, and 0 or above a step whose value is less: the lowest where values rise.

    `value_at` gives the value of a step, and `name` the words for a value. It is asked for eight or nine steps where
    values rise evenly, and for 28 at most. Raises UsageError, which says what is reached, if the best quality has less.

    >>> lowest_reaching(lambda step: step / 1000, 7.5, str)
    7500
    """
    bracket = _Bracket(target)
    while bracket.high - bracket.low > 1:
        step = bracket.next_step()
        value = value_at(step)
        if step == BEST and value < target:
            raise UsageError(f"target of {name(target)} is out of reach: quality 100 of this picture has {name(value)}")
        bracket.take(step, value)
    return bracket.high


@dataclass
class _Bracket:
    """The steps that a target lies between: `low` has less than it, `high` has it. At first both lie beyond all steps.

    The next step is where the line through both ends, or one end and the usual slope, has the target, and a fifth of
    the way beyond: so that the far end comes near, too. Where the bracket shrinks slowly all the same, it is halved.
    """

    target: float
    low: int = -1
    high: int = BEST + 1
    excess: dict[int, float] = field(default_factory=dict)
    """Of each step that was tried, by how much its value is above the target."""
    widths: list[int] = field(default_factory=list)

    def take(self, step: int, value: float) -> None:
        """A step has this value."""
        self.excess[step] = value - self.target
        self.low, self.high = (self.low, step) if value >= self.target else (step, self.high)
        self.widths.append(self.high - self.low)

    def next_step(self) -> int:
        """The step to try, between both ends."""
        ends = [end for end in (self.low, self.high) if math.isfinite(self.excess.get(end, math.inf))]
        slow = len(self.widths) > PATIENCE and 2 * self.widths[-1] > self.widths[-1 - PATIENCE]
        if not ends or slow or len(self.excess) > INTERPOLATED_MOST:
            self.widths.clear()
            return (self.low + self.high) // 2
        slope = USUAL_SLOPE
        if len(ends) == 2:
            slope = (self.excess[self.high] - self.excess[self.low]) / (self.high - self.low)
        latest = [*self.excess][-1]
        start = latest if latest in ends else ends[0]
        step = round(start - (1 + BEYOND) * self.excess[start] / slope)
        return min(max(step, self.low + 1), self.high - 1)


def values_of(
    at: Callable[[int], bytes],
    pixels_of: "Callable[[bytes], NDArray[np.uint8]]",
    original: "Picture",
    metric: "Metric",
    progress: Callable[[float, float], None] | None = None,
) -> Callable[[int], float]:
    """What a metric says of the picture that the file of a step decodes to; colours under alpha 0 count as equal.

    `at` gives the file of a step and `pixels_of` what it decodes to, `progress` hears each quality with its value. In
    progressive and palette files the decoder does not read the quality: equal payloads have equal pictures, and are
    decoded once. The function raises UsageError where the picture is too small for the metric.
    """
    values: dict[object, float] = {}

    def value_at(step: int) -> float:
        data = at(step)
        stream = bitstream.read(data, max_pixels=2**62)
        same = stream.header.method in (bitstream.Method.PROGRESSIVE, bitstream.Method.PALETTE)
        key = stream.tiles if same else data
        if key not in values:
            values[key] = value_of(pixels_of(data), original, metric)
        if progress is not None:
            progress(step / QUALITY_UNIT, values[key])
        return values[key]

    return cache(value_at)


def value_of(pixels: "NDArray[np.uint8]", original: "Picture", metric: "Metric") -> float:
    """What a metric says of decoded pixels. Raises UsageError where the picture is too small for the metric."""
    value = metric.compute(original.pixels, _equal_where_hidden(pixels, original))
    if value is None:
        raise UsageError(f"a picture of {original.width} x {original.height} is too small for {metric.title}")
    return value


def _equal_where_hidden(pixels: "NDArray[np.uint8]", original: "Picture") -> "NDArray[np.uint8]":
    """Decoded pixels, those under alpha 0 as the original has them: over any background they look the same."""
    import numpy as np

    if original.alpha is None:
        return pixels
    return np.where(original.alpha[..., None] == 0, original.pixels, pixels)
