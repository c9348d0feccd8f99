"""One thread at a time imports rooms, loads weights and makes networks; no other thread does so while a process forks.

One lock for all of it: a fork takes what it must hold in an order of its own, and two locks could wait for each other.
"""

import os
from threading import RLock

__all__ = ["TURN"]

TURN = RLock()
"""Held while a room (and with it torch) is imported and while weights are loaded. Two threads that import torch's parts
in different orders wait for each other, or one is given a half of it."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=TURN.acquire, after_in_parent=TURN.release, after_in_child=TURN.release)
