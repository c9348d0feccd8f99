"""The pictures that a recipe holds out, as PNG: those that student.py judges by.

    python experiments/progressive/held_out.py OUT [--recipe recipes/distill-prior.toml] [--count N]

`--count` takes as many, spread evenly over them; without it all.
"""

import argparse
from pathlib import Path

from PIL import Image

from regrain_lab.training.data import members
from regrain_lab.training.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write OUT/000.png and so on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "distill-prior.toml")
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    pictures = members(recipe.path(recipe.data.shards), recipe.data, held_out=True)
    count = min(options.count or len(pictures), len(pictures))
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = pictures[number * len(pictures) // count].read()
        Image.fromarray(pixels).save(options.out / f"{number:03}.png")


if __name__ == "__main__":
    main()
