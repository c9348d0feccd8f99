"""A tree that is killed and started again ends with the files of an unbroken run, byte for byte.

    python scripts/killed_runs.py KODAK [--count 500] [--kills 3] [--engine ray]

So many crops of 256 x 256 pixels are cut from the pictures of a folder. One run encodes them; another is killed with
SIGKILL as often as is said, each time after its share of the files, and started again with --skip-existing. With Ray a
worker is killed instead, once, and the run goes on by itself. Then both folders are compared.
"""

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from regrain_lab.evaluation.sweep import list_pictures

SIDE = 256


def cut_crops(folder: Path, count: int, target: Path) -> None:
    """So many crops as PNG, from evenly spread places of all pictures in turn."""
    files = list_pictures(folder)[0]
    target.mkdir()
    for number in range(count):
        with Image.open(files[number % len(files)]) as picture:
            step, (width, height) = number // len(files), picture.size
            left, top = 37 * step % (width - SIDE + 1), 53 * step % (height - SIDE + 1)
            crop = picture.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
            crop.save(target / f"{number:04}.png", compress_level=1)


def start(source: Path, target: Path, *flags: str) -> "subprocess.Popen[bytes]":
    """Begin to encode the tree with two workers."""
    command = [
        sys.executable,
        "-m",
        "regrain",
        "encode",
        str(source),
        str(target),
        "-q",
        "30",
        "--jobs",
        "2",
        "--quiet",
    ]
    return subprocess.Popen([*command, *flags])


def count_files(folder: Path) -> int:
    """The finished files so far."""
    return sum(1 for _ in folder.rglob("*.rgn"))


def killed(source: Path, target: Path, count: int, kills: int) -> None:
    """Kill the run so many times, then let it end. SystemExit where it does not end well."""
    for number in range(1, kills + 1):
        run = start(source, target, "--skip-existing")
        while run.poll() is None and count_files(target) < count * number // (kills + 1):
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.wait()
        print(f"killed with {count_files(target)} files", flush=True)
    if start(source, target, "--skip-existing").wait():
        raise SystemExit("the last run failed")


def worker_killed(source: Path, target: Path, manifest: Path) -> None:
    """Kill the worker that made the first picture, then let the run end; print how many pictures were made twice."""
    run = start(source, target, "--engine", "ray", "--manifest", str(manifest))
    while run.poll() is None and (not manifest.exists() or manifest.read_bytes().count(b"\n") < 20):
        time.sleep(0.05)
    worker = int(json.loads(manifest.read_text().splitlines()[0])["worker"].rpartition("-")[2])
    os.kill(worker, signal.SIGKILL)
    print(f"worker {worker} is killed with {count_files(target)} files", flush=True)
    if run.wait():
        raise SystemExit("the run failed")


def main() -> None:
    """Cut, encode, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, whole, broken = folder / "crops", folder / "whole", folder / "broken"
        cut_crops(options.folder, options.count, source)
        begin = time.perf_counter()
        if start(source, whole).wait():
            raise SystemExit("the unbroken run failed")
        print(f"{options.count} pictures in {time.perf_counter() - begin:.0f} s without a break", flush=True)
        if options.engine == "ray":
            worker_killed(source, broken, folder / "manifest.jsonl")
        else:
            killed(source, broken, options.count, options.kills)
        difference = filecmp.dircmp(whole, broken)
        names = sorted(path.name for path in whole.iterdir())
        same = filecmp.cmpfiles(whole, broken, names, shallow=False)[0]
        print(f"{len(same)} of {len(names)} files are equal; {len(difference.right_only)} files too many")
        if len(same) != options.count or difference.right_only:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
