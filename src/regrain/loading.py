"""One thread at a time imports rooms, loads weights and makes networks; no other thread does so while a process forks.

One lock for all of it: a fork takes what it must hold in an order of its own, and two locks could wait for each other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock

__all__ = ["TURN", "core_count", "thread_cap", "thread_count", "threads_at_most"]

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


def thread_count() -> int:
    """The threads of a network on ONNX Runtime: the cap, or the environment's, as to torch, or else one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return thread_cap() or (int(said) if said.isdecimal() and int(said) else core_count())


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=TURN.acquire, after_in_parent=TURN.release, after_in_child=TURN.release)
