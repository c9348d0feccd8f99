"""`regrain distill RECIPE`: the loop with a student in it, and then what the student gained, step count by step count.

Teacher and student are both measured as they are on disk: in float16, a prior's student in 8 bits.
"""

from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState

from regrain.diffusion.prior import Prior
from regrain.errors import UsageError
from regrain_lab.trainable.frozen import FrozenCodec
from regrain_lab.training import loop
from regrain_lab.training.data import holdout_batch, members
from regrain_lab.training.recipe import STUDENTS, read_recipe
from regrain_lab.training.task import load_lpips
from regrain_lab.training.validation import Row, by_steps, finishes_by_steps

__all__ = ["Outcome", "main"]


@dataclass(frozen=True)
class Outcome:
    """The folder of a run, and rows by steps of teacher and student on the held-out pictures.

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
    if recipe.trains not in STUDENTS:
        raise UsageError(f"{recipe_path}: trains is {recipe.trains!r}; regrain train runs this recipe")
    folder = loop.train(recipe, out or recipe.path(recipe.out) / recipe.name, quiet=quiet)
    process = PartialState()
    if not recipe.data.validates or not process.is_main_process:
        return Outcome(folder)
    held_out = members(recipe.path(recipe.data.shards), recipe.data, held_out=True)
    pictures = holdout_batch(held_out, recipe.data.holdout_crops).to(process.device)
    lpips = load_lpips(recipe, process.device)
    if recipe.trains == "prior-student":
        pair = Prior.load_pair(folder / loop.WEIGHTS)
        rows = (finishes_by_steps(prior.to(process.device), pictures, lpips) for prior in pair if prior is not None)
        return Outcome(folder, *map(tuple, rows))
    codecs = (FrozenCodec.load(path, process.device) for path in (recipe.teacher, folder / loop.WEIGHTS))
    teacher, student = (tuple(by_steps(codec, codec.networks.denoiser, pictures, lpips)) for codec in codecs)
    return Outcome(folder, teacher, student)
