"""Peak memory and seconds of a huge picture, encoded and decoded by the command line, each in a fresh process.

    python benchmarks/memory.py [PICTURE] [--megapixels 50] [--steps 1] [--realism 1]
        [--model FILE] [--threads N] [--json]

Peak is the resident memory that the operating system reports of the process when it ends, the input picture held in
memory and the output picture's writing included.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from machine import describe, fresh, limit_threads
from pictures import DEMO, tiled

BAR_GIB = 3.0
ASPECT = 4 / 3


def sides(megapixels: float) -> tuple[int, int]:
    """Width and height, 4:3, of at least so many million pixels; the width is a multiple of 16."""
    width = 16 * -(-int((megapixels * 1e6 * ASPECT) ** 0.5) // 16)
    return width, -(-int(megapixels * 1e6) // width)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make the picture, encode and decode it."""
    width, height = sides(options.megapixels)
    named = [] if options.model is None else ["--model", str(options.model)]
    knobs = ["--steps", str(options.steps), "--realism", str(options.realism)]
    with tempfile.TemporaryDirectory() as folder:
        source, coded, target = (str(Path(folder, name)) for name in ("in.png", "coded.rgn", "out.png"))
        tiled(options.picture, width, height).save(source, compress_level=1)
        encode = fresh("-m", "regrain", "encode", source, coded, *named)
        decode = fresh("-m", "regrain", "decode", coded, target, *knobs, *named)
        size = Path(coded).stat().st_size
    runs = {"encode": encode, "decode": decode}
    facts: dict[str, Any] = {"machine": describe(), "width": width, "height": height, "bytes": size}
    facts |= {"steps": options.steps, "realism": options.realism, "bar_gib": BAR_GIB}
    return facts | {
        road: {"seconds": run.seconds, "peak_gib": run.peak / 2**30, "holds": run.peak <= BAR_GIB * 2**30}
        for road, run in runs.items()
    }


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    machine, pixels = facts["machine"], facts["width"] * facts["height"]
    yield f"{machine['cpu']}, torch {machine['torch']}, {machine['threads']} threads; load {machine['load']}"
    yield (
        f"{facts['width']}x{facts['height']} ({pixels / 1e6:.1f} megapixels), {facts['bytes']:,} bytes; "
        f"decoded in {facts['steps']} steps at realism {facts['realism']:g}"
    )
    for road in ("encode", "decode"):
        run = facts[road]
        yield f"  {road}  peak {run['peak_gib']:5.2f} GiB  {run['seconds']:8.1f} s  " + (
            f"bar: <= {facts['bar_gib']:g} GiB {'holds' if run['holds'] else 'DOES NOT HOLD'}"
        )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Peak memory of regrain on a huge picture.")
    parser.add_argument("picture", nargs="?", type=Path, default=DEMO, help="tiled until it has the size")
    parser.add_argument("--megapixels", type=float, default=50.0)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--realism", type=float, default=1.0)
    parser.add_argument("--model", type=Path, default=None, help="weights, if not those in the package")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit_threads(options.threads)
    facts = measure(options)
    print(json.dumps(facts) if options.json else "\n".join(lines(facts)))


if __name__ == "__main__":
    main()
