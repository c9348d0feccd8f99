"""Signals that ask a run to stop: Ctrl-C, SIGTERM (supervisors and batch systems), SIGHUP (a terminal that closes).

Invariant: the first such signal waits until the work at hand is safe, and then does what it would have done at once; a
second one does not wait.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["held_signals", "leave_signals_alone"]

ASKING = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def held_signals() -> Iterator[Callable[[], bool]]:
    """Within, the function that it gives returns True from the first signal on; the next signal acts as ever.

    On leaving without an error a held signal is delivered; if its handler returns, KeyboardInterrupt is raised. Under
    nohup SIGHUP stays ignored. Outside the main thread signals are left alone.
    """
    asked: list[int] = []
    before = _handlers() if threading.current_thread() is threading.main_thread() else {}

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        restore()
    if asked:
        signal.raise_signal(asked[0])
        raise KeyboardInterrupt(f"{signal.Signals(asked[0]).name} asked to stop, and its handler returned")


def leave_signals_alone(_worker: int = 0) -> None:
    """For a worker process: signals to the whole group are for its parent, which ends the worker."""
    for number in _handlers():
        signal.signal(number, signal.SIG_IGN)


def _handlers() -> dict[int, "signal._HANDLER"]:
    """The handler of each such signal; without SIGHUP where it is ignored, and without signals that Python lacks."""
    numbers = [getattr(signal, name) for name in ASKING if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    return {
        number: handler
        for number, handler in handlers.items()
        if handler is not None and not (handler is signal.SIG_IGN and number != signal.SIGINT)
    }
