"""Train on a machine that is lent for minutes: data packed small, training in chunks that stop in time.

    python tools/chunks.py pack recipes/default.toml carried --megabytes 40
    python tools/chunks.py train recipes/gpu.toml runs/gpu --seconds 540 --weights FOLDER

`pack` writes the pictures that a recipe takes as one shard of smaller AVIF files with their index, and the LPIPS
weights beside it. `train` goes on with a run, stops it in time as Ctrl-C would, with a checkpoint, and copies its
weights, which are under 16 MB, to a folder. The same command again goes on.
"""

import argparse
import csv
import io
import os
import shutil
import signal
import tarfile
import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image

from regrain.training import loop
from regrain.training.config import Recipe, read_recipe
from regrain.training.data import Member, members

SAMPLE = 64
QUALITIES = (90, 86, 82, 78, 74, 70, 65, 60)


def pack(recipe: Recipe, folder: Path, megabytes: float) -> None:
    """Write the recipe's pictures, training and held out, at the highest quality that fits, and its LPIPS weights."""
    data, shards = recipe.data, recipe.path(recipe.data.shards)
    pictures = [member for held in (False, True) for member in members(shards, data, held_out=held)]
    sample = pictures[:: max(1, len(pictures) // SAMPLE)]
    scale = len(pictures) / len(sample)
    sizes = {quality: scale * sum(stored(smaller(member, quality)) for member in sample) for quality in QUALITIES}
    quality = next((one for one, size in sizes.items() if size < megabytes * 1e6), QUALITIES[-1])
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "packed.tar", "w") as tar, (folder / "index.csv").open("w", newline="") as index:
        rows = csv.writer(index)
        rows.writerow(["shard", "key", "repository", "licence_class"])
        for number, member in enumerate(pictures):
            content = smaller(member, quality)
            info = tarfile.TarInfo(f"{number:06}.avif")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            rows.writerow(["packed.tar", f"{number:06}", member.repository, *data.licence_classes[:1]])
    if recipe.loss.lpips:
        shutil.copy(recipe.path(recipe.loss.lpips), folder / "lpips.safetensors")
    print(f"{len(pictures)} pictures at quality {quality}: {(folder / 'packed.tar').stat().st_size / 1e6:.1f} MB")


def smaller(member: Member, quality: int) -> bytes:
    """A picture as AVIF 4:4:4."""
    out = io.BytesIO()
    Image.fromarray(member.read()).save(out, "AVIF", quality=quality, subsampling="4:4:4", speed=6)
    return out.getvalue()


def stored(content: bytes) -> int:
    """What a file takes in a tar archive: a header, and whole blocks."""
    return (1 + -(-len(content) // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE


def train(recipe: Path, out: Path, seconds: float, folder: Path) -> None:
    """Go on with a run for so many seconds at most; then copy its weights."""
    alarm = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    alarm.daemon = True
    alarm.start()
    with suppress(KeyboardInterrupt):
        loop.main(recipe, out=out, quiet=True)
    alarm.cancel()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(out / loop.WEIGHTS, folder)


def main() -> None:
    """Parse, then do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack")
    one.add_argument("recipe", type=Path)
    one.add_argument("folder", type=Path)
    one.add_argument("--megabytes", type=float, default=40)
    one = commands.add_parser("train")
    one.add_argument("recipe", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--seconds", type=float, default=540)
    one.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "pack":
        pack(read_recipe(options.recipe), options.folder, options.megabytes)
    else:
        train(options.recipe, options.out, options.seconds, options.weights)


if __name__ == "__main__":
    main()
