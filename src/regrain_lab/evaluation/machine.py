"""The machine a figure belongs to: its processor, and how much memory a piece of work held at most.

The peak is that of this process, interpreter and libraries included, since the reset before the work.
"""

import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TypeVar

__all__ = ["describe", "measure"]

T = TypeVar("T")
_STATUS, _RESET = "/proc/self/status", "/proc/self/clear_refs"


def measure(work: Callable[[], T]) -> tuple[T, float, float | None]:
    """The result of `work`, its seconds of wall-clock time, and the largest resident memory in MB (10^6 bytes).

    Memory is None where other programs ran in it, or where the system cannot reset the figure: Linux resets it;
    elsewhere a process only knows its peak since it began, which says nothing of one piece of work.
    """
    before, is_reset, start = _children(), _reset(), perf_counter()
    result = work()
    seconds = perf_counter() - start
    return result, seconds, _high_water() if is_reset and _children() == before else None


def describe() -> str:
    """Processor, number of cores and system, in a few words."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def _reset() -> bool:
    """Start the kernel's high-water mark anew; False where it has none to reset."""
    with suppress(OSError), open(_RESET, "w", encoding="ascii") as file:
        file.write("5")
        return True
    return False


def _high_water() -> float | None:
    with suppress(OSError), open(_STATUS, encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def _children() -> float:
    """Seconds of processor time and page faults of all programs that ended under this process."""
    if sys.platform == "win32":
        return 0.0
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + used.ru_minflt


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
