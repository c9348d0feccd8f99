"""Seconds by stage, measured inside the real road: callables are wrapped where the road looks them up.

    total = sum of the stages' own seconds + rest

A watched callable that runs within another one counts as its own stage, not as the outer one's. What runs in other
threads meanwhile has lines of its own, "STAGE, meanwhile", which are no part of the sum: `rest` has the wait for them.
"""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar
from unittest.mock import patch

__all__ = ["Place", "Stopwatch", "medians"]

P = ParamSpec("P")
T = TypeVar("T")
Place = tuple[object, str]
"""An owner (module or class) and the name of a callable in it."""


class Stopwatch:
    """Own seconds and calls of each stage since `clear`, while `watching`."""

    def __init__(self, stages: Mapping[str, Sequence[Place]]) -> None:
        """Name the stages, each with the places where it runs."""
        self._stages = stages
        self._within = defaultdict[int, list[float]](list)
        self._thread = threading.get_ident()
        self.clear()

    def clear(self) -> None:
        """Begin again from nothing."""
        self.seconds = dict.fromkeys(self._stages, 0.0)
        self.calls = dict.fromkeys(self._stages, 0)
        self.meanwhile = defaultdict[str, float](float)

    @contextmanager
    def watching(self) -> Iterator["Stopwatch"]:
        """Wrap all places, and put everything back afterwards."""
        with ExitStack() as stack:
            for stage, places in self._stages.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, self._wrapped(getattr(owner, name), stage)))
            yield self

    def _wrapped(self, call: Callable[P, T], stage: str) -> Callable[P, T]:
        def watched(*args: P.args, **named: P.kwargs) -> T:
            thread = threading.get_ident()
            within = self._within[thread]
            within.append(0.0)
            start = time.perf_counter()
            try:
                return call(*args, **named)
            finally:
                spent = time.perf_counter() - start
                sums = self.seconds if thread == self._thread else self.meanwhile
                sums[stage] += spent - within.pop()
                self.calls[stage] += 1
                if within:
                    within[-1] += spent

        return watched

    def time(self, work: Callable[[], T]) -> tuple[T, dict[str, float]]:
        """What `work` gives, and seconds: of every stage, `rest` and `total`, and of stages of other threads."""
        self.clear()
        self._thread = threading.get_ident()
        start = time.perf_counter()
        result = work()
        total = time.perf_counter() - start
        meanwhile = {f"{stage}, meanwhile": seconds for stage, seconds in self.meanwhile.items()}
        return result, self.seconds | {"rest": total - sum(self.seconds.values()), "total": total} | meanwhile


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of every name over the rounds."""
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
