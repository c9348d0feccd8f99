"""How many steps fit into a time:  max n in {1, 2, 4, 8, 16, 32} with  spent + n pass <= seconds,  or else 1.

Nothing is guessed or tried out: all numbers of steps begin with the same estimate, so the first one of the decode
itself is timed, and kept. Invariants: the estimates are those of so many steps named by hand, none is made twice; more
time means no fewer steps.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeVar, TypeVarTuple

__all__ = ["SECONDS", "STEPS", "Budget", "choose_steps"]

T = TypeVar("T")
Seen = TypeVarTuple("Seen")

STEPS: Final = (1, 2, 4, 8, 16, 32)
"""Numbers of steps that a budget chooses from."""
SECONDS: Final = 5.0
"""Of a budget that nobody names."""


class Budget:
    """Seconds that a decode may take, until its pixels are in memory; the clock starts when this is made."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Start the clock."""
        self.seconds, self._start = seconds, perf_counter()
        self.steps, self.pass_seconds = 1, 0.0
        """What was chosen, and what a pass over the picture took; before that, what is made without any pass."""

    def choose(self, taken: float, work: float = 1.0) -> int:
        """The steps, now that the first estimate, 1 / `work` of a pass, has `taken` so many seconds."""
        self.pass_seconds = taken * work
        left = self.seconds - (perf_counter() - self._start) + taken
        self.steps = max((n for n in STEPS if n * self.pass_seconds <= left), default=1)
        return self.steps


def choose_steps(
    steps: int | Budget, estimate: Callable[[*Seen], T], *first: *Seen, work: float = 1.0
) -> tuple[int, Callable[[*Seen], T]]:
    """The steps to take, and `estimate`, which with a budget has been called with `first` and gives that at once.

    Its next call is to be the one with `first`, therefore. `work` is what a pass over the picture takes in units of
    that call.
    """
    if not isinstance(steps, Budget):
        return steps, estimate
    start = perf_counter()
    made = [estimate(*first)]
    chosen = steps.choose(perf_counter() - start, work)
    return chosen, lambda *inputs: made.pop() if made else estimate(*inputs)
