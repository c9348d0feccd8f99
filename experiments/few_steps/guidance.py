"""What classifier-free guidance on the latents does: quality over the guidance weight and sampling steps, as a CSV.

    python experiments/few_steps/guidance.py LPIPS CSV [--recipe RECIPE] [--run FOLDER]

The network is the one that `regrain distill recipes/distill-guided.toml` leaves: told the weight w, it says
(1 + w) x_0(latents) - w x_0(no latents) in one estimate (Meng et al. 2023), its steps halved from 8 to 1. The held-out
crops of the recipe, `-q 28`, realism 1, seed 0; the first row is the package's decoder.
"""

import argparse
import csv
from pathlib import Path

import torch

from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.denoisers import Student
from regrain_lab.trainable.frozen import FrozenCodec
from regrain_lab.training.data import holdout_batch, members
from regrain_lab.training.loop import LAST
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State
from regrain_lab.training.tasks import task_for
from regrain_lab.training.validation import by_steps

ROOT = Path(__file__).resolve().parents[2]
PARTS, COUNTS = (0.0, 0.25, 0.5, 1.0), (1, 2, 4, 8)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lpips", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "distill-guided.toml")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "distill-guided")
    options = parser.parse_args()
    recipe, lpips = read_recipe(options.recipe), Lpips.load(options.lpips)
    subject, codec = task_for(recipe, torch.device("cpu")), FrozenCodec.load(recipe.teacher, torch.device("cpu"))
    state = State(subject.network, recipe.ema, subject.teacher)
    state.resume(options.run / LAST)
    pictures = holdout_batch(
        members(recipe.path(recipe.data.shards), recipe.data, held_out=True), recipe.data.holdout_crops
    )
    largest = recipe.distill.guidance_max
    found = [("shipped", row) for row in by_steps(codec, codec.networks.denoiser, pictures, lpips, COUNTS)]
    with state.average_weights() as student:
        assert isinstance(student, Student)
        for part in PARTS:
            denoiser = student.denoiser_at(part / largest)
            found += [(f"w = {part:g}", row) for row in by_steps(codec, denoiser, pictures, lpips, COUNTS)]
    with options.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["weights", "steps", "psnr", "lpips"])
        writer.writerows(
            [name, row.at, f"{row.figures['psnr']:.4f}", f"{row.figures['lpips']:.5f}"] for name, row in found
        )
    for name, row in found:
        print(name, row)


if __name__ == "__main__":
    main()
