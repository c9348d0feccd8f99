"""Pack the pictures of a recipe to travel to another machine, in parts of a given size.

    python scripts/pack.py recipes/default.toml carried --megabytes 35 49

Writes the pictures that the recipe takes, as they are, the held-out ones first: one shard for each figure, each in a
folder of its own (carried-1, carried-2 ...) with the index of all, and the LPIPS weights in the first. Laid together in
the folder carried they are the data of recipes/gpu.toml.
"""

import argparse
import csv
import io
import shutil
import tarfile
from pathlib import Path

from regrain_lab.training.data import Member, members
from regrain_lab.training.recipe import Recipe, read_recipe


def pack(recipe: Recipe, folder: Path, megabytes: list[float]) -> None:
    """Write the recipe's pictures, training and held out, part by part, and its LPIPS weights."""
    data, shards = recipe.data, recipe.path(recipe.data.shards)
    if len(data.licence_classes) != 1:
        raise SystemExit("the index can name one class of licences, and the recipe has another number of them")
    pictures = [member for held_out in (True, False) for member in members(shards, data, held_out=held_out)]
    rows = [["shard", "key", "repository", "licence_class"]]
    folders = [folder.with_name(f"{folder.name}-{number}") for number in range(1, len(megabytes) + 1)]
    for number, (target, limit) in enumerate(zip(folders, megabytes, strict=True), 1):
        target.mkdir(parents=True, exist_ok=True)
        count, name = count_within(pictures, limit * 1e6), f"packed-{number}.tar"
        write(target / name, pictures[:count])
        rows += [[name, Path(p.name).stem, p.repository, *data.licence_classes[:1]] for p in pictures[:count]]
        pictures = pictures[count:]
    if pictures:
        raise SystemExit(f"{len(pictures)} pictures do not fit; give more --megabytes")
    for target in folders:
        with (target / "index.csv").open("w", newline="") as index:
            csv.writer(index).writerows(rows)
    if recipe.loss.lpips:
        shutil.copy(recipe.path(recipe.loss.lpips), folders[0] / "lpips.safetensors")
    print(f"{len(rows) - 1} pictures in {len(folders)} parts")


def count_within(pictures: list[Member], limit: float) -> int:
    """The number of pictures, from the first on, that fit into a tar archive of `limit` bytes."""
    size = 2.0 * tarfile.BLOCKSIZE
    for count, member in enumerate(pictures):
        size += (1 + -(-member.size // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE
        if size > limit:
            return count
    return len(pictures)


def write(path: Path, pictures: list[Member]) -> None:
    """Write a shard of these pictures, their bytes unchanged."""
    with tarfile.open(path, "w") as tar:
        for member in pictures:
            info = tarfile.TarInfo(member.name)
            info.size = member.size
            with member.shard.open("rb") as shard:
                shard.seek(member.offset)
                tar.addfile(info, io.BytesIO(shard.read(member.size)))


def main() -> None:
    """Parse and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100])
    options = parser.parse_args()
    pack(read_recipe(options.recipe), options.folder, options.megabytes)


if __name__ == "__main__":
    main()
