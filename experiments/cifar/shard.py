"""CIFAR-10's pictures as a shard that recipes read: python experiments/cifar/shard.py PICTURES.npy FOLDER

PICTURES.npy is uint8 (n, 32, 32, 3). Every tenth is of the repository "held out", the others of "training".
"""

import csv
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SHARD = "cifar10.tar"
EVERY = 10


def main(source: Path, folder: Path) -> None:
    """Write FOLDER/cifar10.tar and FOLDER/index.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / SHARD, "w") as tar, (folder / "index.csv").open("w", newline="") as index:
        writer = csv.writer(index)
        writer.writerow(["shard", "key", "repository", "licence_class"])
        for number, pixels in enumerate(np.load(source)):
            file, key = io.BytesIO(), f"{number:05}"
            Image.fromarray(pixels).save(file, "PNG")
            member = tarfile.TarInfo(f"{key}.png")
            member.size = len(file.getvalue())
            tar.addfile(member, io.BytesIO(file.getvalue()))
            writer.writerow([SHARD, key, "training" if number % EVERY else "held out", ""])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
