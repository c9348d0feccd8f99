"""Outcomes -> what a run did in all.

ratio = bytes in / bytes out,  of the pictures that were done now
"""

from dataclasses import dataclass

from regrain.batch.work import Outcome

__all__ = ["Totals"]


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
