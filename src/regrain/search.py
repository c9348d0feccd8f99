"""The quality at which a file keeps to a target, by bisection over the steps of quality that a header can say.

step = 256 quality, 0 to 25,600      bytes rise with it, and so does what a metric says of the decoded picture
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from regrain import bitstream
from regrain.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrain.image import Picture
    from regrain.metrics import Metric

__all__ = ["BEST", "QUALITY_UNIT", "bytes_within", "largest_within", "lowest_reaching", "values_of"]

QUALITY_UNIT = 256
"""Steps of one of quality."""
BEST = 100 * QUALITY_UNIT
"""The step of quality 100."""


def bytes_within(bpp: float, pixels: int) -> int:
    """The most bytes n for which 8 n / pixels, as it is rounded, is no more than `bpp`.

    >>> bytes_within(0.25, 393_216)
    12288
    """
    near = int(bpp * pixels / 8)
    return max(size for size in (near - 1, near, near + 1) if 8 * size / pixels <= bpp)


def largest_within(at: Callable[[int], bytes], target: int, named: str) -> bytes:
    """The file at the highest quality that keeps to `target` bytes; `at` gives the file of a step.

    Raises UsageError, the target `named` as the caller gave it, if the smallest file has more.
    """
    best = at(0)
    if len(best) > target:
        raise UsageError(f"target of {named} is too small: the smallest file of this picture is {len(best)} bytes")
    low, high = 0, BEST + 1
    while high - low > 1:
        middle = (low + high) // 2
        data = at(middle)
        if len(data) <= target:
            low, best = middle, data if len(data) >= len(best) else best
        else:
            high = middle
    return best


def lowest_reaching(value_at: Callable[[int], float], target: float, name: Callable[[float], str]) -> int:
    """A step whose value is `target` or more, and 0 or above a step whose value is less: the lowest where values rise.

    `value_at` gives the value of a step, and `name` the words for a value. Raises UsageError, which says what is
    reached, if the best quality has less.

    >>> lowest_reaching(lambda step: step / 1000, 7.5, str)
    7500
    """
    best = value_at(BEST)
    if best < target:
        raise UsageError(f"target of {name(target)} is out of reach: quality 100 of this picture has {name(best)}")
    low, high = -1, BEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if value_at(middle) >= target else (middle, high)
    return high


def values_of(
    at: Callable[[int], bytes],
    pixels_of: "Callable[[bytes], NDArray[np.uint8]]",
    original: "Picture",
    metric: "Metric",
    progress: Callable[[float, float], None] | None = None,
) -> Callable[[int], float]:
    """What a metric says of the picture that the file of a step decodes to; colours under alpha 0 count as equal.

    `at` gives the file of a step and `pixels_of` what it decodes to, `progress` hears each quality with its value. In
    the default method alone the decoder reads the quality: in others equal payloads have equal pictures, and are
    decoded once. The function raises UsageError where the picture is too small for the metric.
    """
    values: dict[object, float] = {}

    def measured(data: bytes) -> float:
        value = metric.compute(original.pixels, _equal_where_hidden(pixels_of(data), original))
        if value is None:
            raise UsageError(f"a picture of {original.width} x {original.height} is too small for {metric.title}")
        return value

    def value_at(step: int) -> float:
        data = at(step)
        stream = bitstream.read(data, max_pixels=2**62)
        key = data if stream.header.method is bitstream.Method.CONDITIONAL else stream.tiles
        if key not in values:
            values[key] = measured(data)
        if progress is not None:
            progress(step / QUALITY_UNIT, values[key])
        return values[key]

    return value_at


def _equal_where_hidden(pixels: "NDArray[np.uint8]", original: "Picture") -> "NDArray[np.uint8]":
    """Decoded pixels, those under alpha 0 as the original has them: over any background they look the same."""
    import numpy as np

    if original.alpha is None:
        return pixels
    return np.where(original.alpha[..., None] == 0, original.pixels, pixels)
