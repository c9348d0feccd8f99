"""One line on a terminal while many pictures are done: how many, how many bytes, how long it will take.

    12 of 500   4.1 MB -> 402 kB   1.9 a second   4:16 left

Where stderr is no terminal nothing is drawn.
"""

import shutil
import sys
from dataclasses import dataclass
from time import perf_counter

from regrain.batch.work import Outcome
from regrain.cli.terminal import erase, show

__all__ = ["Progress", "Totals", "describe"]

_PERIOD = 0.2


@dataclass
class Totals:
    """Pictures that are done, skipped and failed, and the bytes of those that are done, in and out.

    >>> totals = Totals(skipped=2)
    >>> totals.add(Outcome("a.png", "a.rgn", input_bytes=900, bytes=30))
    >>> totals.done, totals.ratio, str(totals)
    (1, 30.0, '1 picture, 900 bytes -> 30, 30.0:1, 2 skipped')
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    input_bytes: int = 0
    bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        if outcome.error:
            self.failed += 1
        elif outcome.again:
            self.skipped += 1
        else:
            self.done += 1
            self.input_bytes += outcome.input_bytes
            self.bytes += outcome.bytes

    @property
    def ended(self) -> int:
        """How many have ended, in whatever way."""
        return self.done + self.skipped + self.failed

    @property
    def ratio(self) -> float:
        """Bytes in over bytes out, 0 where nothing was written."""
        return self.input_bytes / self.bytes if self.bytes else 0.0

    def __str__(self) -> str:
        """One line for people."""
        ratio = self.ratio if self.ratio >= 1 or not self.ratio else 1 / self.ratio
        sides = f"{ratio:.1f}:1" if self.ratio >= 1 or not self.ratio else f"1:{ratio:.1f}"
        parts = [
            f"{self.done:,} picture{'s' * (self.done != 1)}, {self.input_bytes:,} bytes -> {self.bytes:,}, {sides}"
        ]
        parts += [f"{count:,} {word}" for count, word in ((self.skipped, "skipped"), (self.failed, "failed")) if count]
        return ", ".join(parts)


class Progress:
    """The line, drawn at most five times a second."""

    def __init__(self, total: int, *, visible: bool) -> None:
        """For `total` pictures; nothing is drawn unless it is `visible` and stderr is a terminal."""
        self._total, self._start, self._last = total, perf_counter(), 0.0
        self._visible = visible and sys.stderr is not None and sys.stderr.isatty()

    def draw(self, totals: Totals) -> None:
        """Draw the line, unless it was drawn just now."""
        now = perf_counter()
        if self._visible and now - self._last >= _PERIOD:
            self._last = now
            width = shutil.get_terminal_size().columns - 1
            show(sys.stderr, describe(totals, self._total, now - self._start)[:width])

    def erase(self) -> None:
        """Take the line away, before another is said and in the end."""
        if self._visible and self._last:
            self._last = 0.0
            erase(sys.stderr)


def describe(totals: Totals, total: int, seconds: float) -> str:
    """The line, after so many seconds.

    >>> describe(Totals(done=10, input_bytes=4_000_000, bytes=390_000), 40, 20.0)
    '10 of 40   4.0 MB -> 390 kB   0.5 a second   1:00 left'
    """
    worked = totals.done + totals.failed
    left = f"   {_clock(seconds / worked * (total - totals.ended))} left" if worked else ""
    rate = f"   {worked / seconds:.1f} a second" if seconds else ""
    return f"{totals.ended:,} of {total:,}   {_size(totals.input_bytes)} -> {_size(totals.bytes)}{rate}{left}"


def _size(count: int) -> str:
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            figure = count / 10**power
            return f"{figure:.1f} {unit}" if figure < 100 else f"{figure:.0f} {unit}"
    return f"{count} B"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
