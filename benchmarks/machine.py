"""The machine a figure belongs to: its name, fresh processes with their peak memory, its rate of convolutions.

    share of peak = (MAC of the network / its seconds) / max over CONVOLUTIONS of (MAC / seconds)

Nothing here imports torch before it must, so that a script may measure fresh processes from a small one.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["CONVOLUTIONS", "Convolutions", "Run", "describe", "fresh", "limit_threads", "run"]

CONVOLUTIONS = (
    (64, 192, 128), (96, 192, 128), (128, 192, 128),
    (128, 96, 64), (192, 96, 64), (256, 96, 64),
    (192, 48, 32), (256, 48, 32),
)  # fmt: skip
"""Channels in and out, width and height of the fixed list: 3x3, stride 1, one picture, channels-last, float32."""

_LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


class Run(NamedTuple):
    """What one fresh process took: wall-clock seconds, and its peak resident memory in bytes."""

    seconds: float
    peak: int


def fresh(*arguments: str) -> Run:
    """Run `python ARGUMENTS` in a fresh process; SystemExit with its message if it fails."""
    return run(sys.executable, *arguments)


def run(*command: str) -> Run:
    """Run any command; SystemExit with its message if it fails.

    A small launcher stands between: on Linux a process starts with the peak of the one that forked it.
    """
    done = subprocess.run([sys.executable, "-c", _LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    seconds, peak = done.stdout.split()
    return Run(float(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024))


def describe() -> dict[str, object]:
    """CPU model, cores, torch's version and threads, the load (1 minute) at this moment."""
    import torch

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Convolutions:
    """The fixed list, timed in rounds that a caller lays between those of the work it compares them with."""

    def __init__(self) -> None:
        """Make the layers and run each once."""
        self._work = [_layer(*shape) for shape in CONVOLUTIONS]
        self._seconds: list[list[float]] = [[] for _ in CONVOLUTIONS]
        for work in self._work:
            work()

    def round(self, repeats: int = 3) -> None:
        """Time each layer, as the mean of a few calls."""
        for work, seconds in zip(self._work, self._seconds, strict=True):
            start = time.perf_counter()
            for _ in range(repeats):
                work()
            seconds.append((time.perf_counter() - start) / repeats)

    def rates(self) -> dict[str, float]:
        """GMAC/s of each layer at its median time, by its shape."""
        pairs = zip(CONVOLUTIONS, self._seconds, strict=True)
        return {f"{c} at {w}x{h}": c * c * 9 * w * h / statistics.median(s) / 1e9 for (c, w, h), s in pairs}


def _layer(channels: int, width: int, height: int) -> Callable[[], object]:
    import torch

    layout = torch.channels_last
    x = torch.randn(1, channels, height, width).contiguous(memory_format=layout)
    weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=layout)
    bias = torch.randn(channels)
    return lambda: torch.nn.functional.conv2d(x, weight, bias, padding=1)


def limit_threads(threads: int | None) -> None:
    """Give torch, not imported yet, and all processes started from here `threads` threads; None leaves its choice."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
