"""`regrain distill RECIPE`: the loop with a student in it, and then what the student gained, step count by step count.

Teacher and student are both measured as they are on disk, in float16.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from regrain.errors import UsageError
from regrain_lab.training import loop
from regrain_lab.training.config import Recipe, read_recipe
from regrain_lab.training.data import holdout_batch, members
from regrain_lab.training.steps import Row, ladder
from regrain_lab.training.student import Origin
from regrain_lab.training.trainee import load_lpips

__all__ = ["Outcome", "main"]


@dataclass(frozen=True)
class Outcome:
    """The folder of a run, and what teacher and student do on the held-out pictures: a row a count of steps each.

    There are no rows without held-out pictures, and in processes other than the first.
    """

    folder: Path
    teacher: tuple[Row, ...] = ()
    student: tuple[Row, ...] = ()


def main(recipe_path: Path, *, out: Path | None = None, quiet: bool = False) -> Outcome:
    """Distil a recipe, resuming where its last checkpoint stands, and measure.

    Raises UsageError for what is wrong in the recipe or its data, ModelError for weights that are missing, damaged or
    of another kind, and what `loop.train` raises.
    """
    recipe = read_recipe(recipe_path)
    if recipe.trains != "student":
        raise UsageError(f"{recipe_path}: trains is {recipe.trains!r}; regrain train runs this recipe")
    folder = loop.train(recipe, out or recipe.path(recipe.out) / recipe.name, quiet=quiet)
    if not recipe.data.holdout or not PartialState().is_main_process:
        return Outcome(folder)
    return _measured(recipe, folder, PartialState().device)


def _measured(recipe: Recipe, folder: Path, device: torch.device) -> Outcome:
    chosen = members(recipe.path(recipe.data.shards), recipe.data, held_out=True)
    pictures = holdout_batch(chosen, recipe.data.holdout_crops).to(device)
    lpips = load_lpips(recipe, device)
    models = (Origin.load(path, device).model for path in (recipe.teacher, folder / loop.WEIGHTS))
    rows = (tuple(ladder(model, model.denoiser, pictures, lpips)) for model in models)
    return Outcome(folder, *rows)
