"""What a region and a thumbnail of a large picture take, beside decoding all of it.

    python benchmarks/regions.py [PICTURE] [--megapixels 20] [--rounds 3] [--json]

The picture is repeated to the size and encoded at quality 28. Each way to decode runs in turn, in a fresh process on
one thread: `seconds` are those of the decode alone, weights loaded and once used before, `peak_mb` the process's
largest resident memory. `share` is the median over the rounds of the seconds over those of the whole in that round.
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, fresh
from pictures import DEMO, tiled

import regrain

WAYS = {
    "whole": "",
    "region of 256 x 256 in one tile": "region=(1100, 1100, 256, 256)",
    "region of 256 x 256 over four tiles": "region=(1920, 1920, 256, 256)",
    "thumbnail at 1/8": "max_size={eighth}",
    "thumbnail at 1/16": "max_size={sixteenth}",
}
CODE = """
import time, regrain
regrain.decode({small!r})
start = time.perf_counter()
regrain.decode({path!r}, {way})
open({clock!r}, "w").write(str(time.perf_counter() - start))
"""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Encode once, then take turns."""
    width = 16 * round(math.sqrt(options.megapixels * 1.5e6) / 16)
    height = 16 * round(width / 1.5 / 16)
    rounds: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "large.rgn"
        path.write_bytes(regrain.encode(tiled(options.picture, width, height), quality=28))
        small = Path(name) / "small.rgn"
        small.write_bytes(regrain.encode(np.zeros((64, 64, 3), np.uint8)))
        for _ in range(options.rounds):
            for way, arguments in WAYS.items():
                clock = Path(name) / "seconds"
                what = arguments.format(eighth=-(-width // 8), sixteenth=-(-width // 16))
                took = fresh("-c", CODE.format(small=str(small), path=str(path), way=what, clock=str(clock)))
                rounds[way].append((float(clock.read_text()), took.peak))
    whole = [seconds for seconds, _ in rounds["whole"]]
    figures = {
        way: {
            "seconds": statistics.median(seconds for seconds, _ in runs),
            "share": statistics.median(seconds / all_ for (seconds, _), all_ in zip(runs, whole, strict=True)),
            "peak_mb": max(peak for _, peak in runs) / 1e6,
        }
        for way, runs in rounds.items()
    }
    return {"machine": describe(), "width": width, "height": height, "ways": figures}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description="Time and memory of a region and of a thumbnail.")
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO)
    parser.add_argument("--megapixels", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['width']} x {result['height']}, {result['machine']}")
    for way, figures in result["ways"].items():
        print(f"  {way:<38} {figures['seconds']:6.2f} s  {figures['share']:6.3f}  {figures['peak_mb']:5.0f} MB")


if __name__ == "__main__":
    main()
