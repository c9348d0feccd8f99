"""Milliseconds from a file of 768x512 to its latents, and to its pixels, by this tree and by others, in turn.

    python benchmarks/symbols.py [--other CHECKOUT ...] [--threads 1 2] [--rounds 3]

CHECKOUT is a folder with another state of this repository, as of `git worktree add CHECKOUT COMMIT`; its weights must
read files of this one. Each figure is a median of 25 in a process of its own, and medians of these over the rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from pictures import DEMO, fitted

import regrain

ROOT = Path(__file__).resolve().parents[1]
TIMES = """
import statistics, sys, time
import regrain
from regrain import bitstream, registry
from regrain.conditional.decode import decode_latents
data = open(sys.argv[1], "rb").read()
stream = bitstream.read(data)
header = stream.header
model = registry.model_for(None, bitstream.Method.CONDITIONAL, None).latents
def symbols():
    decode_latents(model, stream.tiles, (header.height, header.width), header.quality, header.tile)
def milliseconds(work):
    taken = []
    for _ in range(30):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken[5:])
print(milliseconds(symbols), milliseconds(lambda: regrain.decode(data)))
"""


def main() -> None:
    """A line for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, nargs="*", action="extend", default=[])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    trees = [ROOT, *options.other]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.rgn"
        file.write_bytes(regrain.encode(fitted(DEMO, 768, 512), quality=40, content="photo"))
        for threads in options.threads:
            rounds = [[milliseconds(tree, file, threads) for tree in trees] for _ in range(options.rounds)]
            for number, name in enumerate(("symbols", "decode")):
                own, *others = (
                    statistics.median(pair[number] for pair in column) for column in zip(*rounds, strict=True)
                )
                text = "".join(
                    f", {tree}: {other:.1f} ({own / other:.2f})" for tree, other in zip(trees[1:], others, strict=True)
                )
                print(f"{threads} threads, {name}: {own:.1f} ms{text}", flush=True)


def milliseconds(tree: Path, file: Path, threads: int) -> tuple[float, float]:
    """To latents and to pixels, by the package of a tree."""
    there = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", TIMES, file], env=there, capture_output=True, text=True, check=True)
    symbols, whole = map(float, done.stdout.split())
    return symbols, whole


if __name__ == "__main__":
    main()
