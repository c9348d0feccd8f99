"""An encoder that tries harder: iterations until they are done or somebody stops them, and what they gained."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from regrain.errors import UsageError
from regrain.registry import Refinable, compute_alone_after_fork, torch_defaults

if TYPE_CHECKING:
    from regrain.registry import Prepared

__all__ = ["ITERATIONS", "Attempt", "Watch", "stoppable", "try_harder"]

Watch: TypeAlias = Callable[[int, int, float], None]
"""What hears after each iteration its number, how many there will be, and the gain."""
log = logging.getLogger(__name__)
ITERATIONS: Final = (0, 10, 15, 20, 30, 50, 75, 100, 125, 150)
"""By effort, 0 to 9."""


class Attempt(NamedTuple):
    """The best of a picture after so many iterations, and what it gains, as a share of the bytes."""

    best: "Prepared"
    iterations: int
    gain: float

    def facts(self, effort: int) -> dict[str, float | None]:
        """What a report says, the gain in per cent; nothing where there was no effort.

        >>> Attempt(None, 30, 0.05123).facts(4)
        {'effort': 4, 'iterations': 30, 'gain': 5.12}
        """
        if not effort:
            return {}
        return {"effort": effort, "iterations": self.iterations, "gain": round(100 * self.gain, 2)}


@contextmanager
def stoppable(watch: Watch | None, words: Callable[[], str]) -> Iterator[None]:
    """Where somebody watches, Ctrl-C ends what is within, with a warning of these words, and nothing else."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if watch is None or type(stop) is not KeyboardInterrupt:
            raise
        log.warning("%s", words())


def try_harder(prepared: "Prepared", step: int, effort: int, watch: Watch | None = None) -> Attempt:
    """The best at quality step / 256 after the iterations of an effort; `prepared` itself where none is better.

    Where there is a `watch` Ctrl-C ends the iterations, with a warning in the log, and what was the best until then is
    the result. Raises UsageError for a method that knows no effort.
    """
    attempt, iterations = Attempt(prepared, 0, 0.0), ITERATIONS[effort]
    if not iterations:
        return attempt
    if not isinstance(prepared, Refinable):
        raise UsageError(f"effort is {effort}; allowed is 0 for any method but the conditional one")
    compute_alone_after_fork()

    def words() -> str:
        return f"stopped after {attempt.iterations} of {iterations} iterations: the best until then is kept"

    with stoppable(watch, words), torch_defaults():
        for number, (gain, best) in enumerate(prepared.refined(step, iterations)):
            attempt = Attempt(best, number, gain)
            if watch is not None:
                watch(number, iterations, gain)
    return attempt
