"""One thread at a time imports rooms, loads weights and makes networks; no other thread does so while a process forks.

One lock for all of it: a fork takes what it must hold in an order of its own, and two locks could wait for each other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock

__all__ = ["TURN", "thread_cap", "threads_at_most"]

TURN = RLock()
"""Held while a room (and with it torch) is imported and while weights are loaded. Two threads that import torch's parts
in different orders wait for each other, or one is given a half of it."""
_CAP: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def threads_at_most(count: int | None) -> Iterator[None]:
    """Inside, in this thread, networks are made for so many threads (None: for as many as otherwise)."""
    token = _CAP.set(count)
    try:
        yield
    finally:
        _CAP.reset(token)


def thread_cap() -> int | None:
    """The threads that a network is to have that is made now, None where nobody says a number."""
    return _CAP.get()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=TURN.acquire, after_in_parent=TURN.release, after_in_child=TURN.release)
