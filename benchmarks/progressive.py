"""Seconds of the progressive codec by size: encode at quality 100, decode the whole stream and its first half.

python benchmarks/progressive.py [--threads N] [--device NAME]
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

from machine import limit_threads
from pictures import DEMO, fitted

import regrain
from regrain.types import Model

T = TypeVar("T")
SIZES = ((384, 256), (768, 512), (1536, 1024))


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", help="cpu or cuda for torch; ONNX Runtime by default")
    options = parser.parse_args()
    limit_threads(options.threads)
    model = regrain.load("progressive", device=options.device)
    print("| pixels | encode, s | a megapixel | decode, s | a megapixel | decode half the steps, s |")
    print("|---|---|---|---|---|---|")
    for width, height in SIZES:
        print(_line(model, width, height), flush=True)


def _line(model: Model, width: int, height: int) -> str:
    photo, area = fitted(DEMO, width, height), height * width / 1e6
    encode, data = _timed(lambda: regrain.encode(photo, quality=100, model=model))
    decode, _ = _timed(lambda: regrain.decode(data, model=model))
    sections = regrain.inspect(data).sections
    cut = data[: sections[len(sections) // 2]["offset"]]
    half, _ = _timed(lambda: regrain.decode(cut, partial=True, model=model))
    cells = (f"{width} x {height}", *(f"{v:.1f}" for v in (encode, encode / area, decode, decode / area, half)))
    return f"| {' | '.join(cells)} |"


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
