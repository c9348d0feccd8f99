"""Fresh processes whose first decodes come from several threads at once, as a server's first requests do.

    python scripts/first_use.py [--processes 50] [--threads 8] [--device cpu] [--jobs 1] [--seconds 300]

Each process has nothing imported; from one to the next its threads start closer together or further apart, up to half a
second from each other. Reported are processes that hang, that fail, and whose pixels are not those of one thread.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
FILES = ("colour", "palette", "progressive", "grey", "tiles", "levels", "extras", "highest")
GAPS = (0.0, 0.02, 0.1, 0.2, 0.5)
"""Seconds from one thread's start to the next one's."""


def child(threads: int, gap: float, device: str) -> None:
    """Decode a file a thread, and print a line a file: its name, and the hash of its pixels or the error."""
    import regrain

    names = tuple(FILES[number % len(FILES)] for number in range(max(threads, len(FILES))))
    lines: dict[int, str] = {}
    together = threading.Barrier(threads)

    def decode(number: int) -> None:
        """The file of that number; threads wait for each other, unless they start one after the other."""
        if not gap:
            together.wait()
        try:
            pixels = regrain.decode(GOLDEN / f"{names[number]}.rgn", device=device).tobytes()
            lines[number] = hashlib.sha256(pixels).hexdigest()[:16]
        except BaseException as error:
            lines[number] = f"{type(error).__name__}: {error}"

    if threads == 1:
        for number in range(len(names)):
            decode(number)
    else:
        workers = [threading.Thread(target=decode, args=(number,), daemon=True) for number in range(threads)]
        for worker in workers:
            worker.start()
            time.sleep(gap)
        for worker in workers:
            worker.join()
    print(*sorted({f"{names[number]} {line}" for number, line in lines.items()}), sep="\n")


def run(threads: int, gap: float, options: argparse.Namespace) -> set[str]:
    """What one fresh process prints, a line a file; empty if it hangs."""
    command = [sys.executable, __file__, "--child", str(gap), "--threads", str(threads), "--device", options.device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds, check=False)
    except subprocess.TimeoutExpired:
        return set()
    return set(done.stdout.splitlines()) or {f"exit {done.returncode}: {done.stderr.strip()[-300:]}"}


def main() -> int:
    """Run the processes, and report; 1 if any of them is not as it should be."""
    parser = argparse.ArgumentParser(description="First decodes from several threads at once, in fresh processes.")
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--device", default="onnx", help="onnx or cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--seconds", type=float, default=300.0, help="after which a process counts as one that hangs")
    parser.add_argument("--child", type=float, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.threads, options.child, options.device)
        return 0
    right = run(1, 0.0, options)

    def verdict(number: int) -> str:
        """Of one process."""
        lines = run(options.threads, GAPS[number % len(GAPS)], options)
        wrong = sorted(lines - right)
        return "right" if lines and not wrong else "hangs" if not lines else f"wrong: {'; '.join(wrong)}"

    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = Counter(pool.map(verdict, range(options.processes)))
    print(f"{options.processes} processes, {options.threads} threads each, on {options.device}, OMP_NUM_THREADS "
          f"{os.environ.get('OMP_NUM_THREADS', 'not set')}:")  # fmt: skip
    for text, count in verdicts.most_common():
        print(f"  {count} x {text}")
    return int(set(verdicts) != {"right"})


if __name__ == "__main__":
    raise SystemExit(main())
