"""What the values of a recipe may be together: the rules that no range of one value says.

Each is broken by a UsageError that names the value, and what is allowed.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from regrain.errors import UsageError

if TYPE_CHECKING:
    from regrain_lab.training.recipe import DistillConfig, Recipe, Stage

__all__ = ["METHODS", "STUDENTS", "TEACHER_RESETS", "check", "check_choice"]

PIXELS_MAX: Final = 2**27
"""In one step, over all processes."""
TRAINABLE: Final = ("codec", "prior", "autoencoder", "latent-prior", "student", "prior-student", "sampler", "adapter")
STUDENTS: Final = ("student", "prior-student")
"""What `regrain distill` trains."""
GRAPHED: Final = ("codec", "student")
METHODS: Final = ("none", "direct", "progressive", "consistency", "guided")
TEACHER_RESETS: Final = ("progressive", "guided")
"""Methods whose stages begin with the student so far for the teacher."""


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError unless the value is one of these."""
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _refuse(*problems: tuple[bool, str], where: str = "") -> None:
    for exists, message in problems:
        if exists:
            raise UsageError(where + message)


def check(recipe: "Recipe") -> None:
    """Raise UsageError for the first rule that the recipe breaks."""
    name, trains = recipe.name, recipe.trains
    check_choice("precision", recipe.precision, ("auto", "float32", "bfloat16"))
    check_choice("trains", trains, TRAINABLE)
    distills = recipe.distill != type(recipe.distill)() or any(stage.method for stage in recipe.stage)
    _refuse(
        (bool(recipe.start) and trains not in ("codec", "adapter"),
         f"start is {recipe.start!r}; only recipes that train a codec or an adapter go on from weights"),
        (recipe.graph and trains not in GRAPHED,
         f"graph is true and trains {trains!r}; only {' or '.join(GRAPHED)} can be a CUDA graph"),
        (not recipe.stage, "a recipe needs at least one [[stage]]"),
        (name in ("", ".", "..") or bool(set(name) & set("/\\")) or len(name.encode()) > 200,
         f"name is {name!r}; the name of a folder is allowed, up to 200 bytes"),
        (trains == "prior" and recipe.prior.channels != 3,
         f"prior: channels is {recipe.prior.channels}; pictures have 3"),
        (distills and trains not in (*STUDENTS, "sampler"),
         '[distill] and a stage\'s method are of recipes with trains = "student" alone'),
        (trains == "prior-student" and any(stage.method != "progressive" for stage in recipe.stage),
         'the student of a prior learns by the method "progressive" alone'),
    )  # fmt: skip
    for stage in recipe.stage:
        _check_stage(recipe, stage)
    if trains in STUDENTS:
        _check_order(recipe.distill, recipe.stage)


def _check_stage(recipe: "Recipe", stage: "Stage") -> None:
    # A prior halves its pictures twice behind its patches; latents are at 1/8.
    unit = 4 * recipe.prior.patch * {"prior": 1, "latent-prior": 8}.get(recipe.trains, 0)
    crop, perceptual, steps = stage.crop, max(stage.perceptual), stage.sampling_steps
    if student := recipe.trains in STUDENTS:
        check_choice("method", stage.method, METHODS)
    ramps = [name for name in ("rate", "perceptual", "structure") if len(set(getattr(stage, name))) > 1]
    _refuse(
        (bool(unit) and crop % unit > 0, f"crop is {crop}; with patch {recipe.prior.patch} a multiple of {unit} does"),
        (crop % 32 > 0, f"crop is {crop}; a multiple of 32 is allowed"),
        (bool(recipe.loss.lpips) and crop < 64, f"crop is {crop}; lpips needs 64 or more"),
        (stage.batch * crop**2 > PIXELS_MAX, f"{stage.batch} crops of {crop}; {PIXELS_MAX} pixels a step are allowed"),
        (bool(recipe.loss.structure_scale) and crop < 192, f"crop is {crop}; structure_scale needs 192 or more"),
        (perceptual * recipe.loss.perceptual_weight > 1,
         f"perceptual is {perceptual}; perceptual_weight times it must be <= 1"),
        (student and bool(steps & (steps - 1)), f"sampling_steps is {steps}; a power of 2 is allowed"),
        (student and stage.method == "guided" and not recipe.distill.guidance_max,
         "a guided stage needs guidance_max above 0"),
        (recipe.graph and bool(ramps), f"{', '.join(ramps)} may not change during a stage that is a CUDA graph"),
        where=f"stage {stage.name!r}: ",
    )  # fmt: skip


def _check_order(config: "DistillConfig", stages: "tuple[Stage, ...]") -> None:
    """Raise UsageError for stages of a student that may not follow one another."""
    if config.guidance_max and "guided" not in [stage.method for stage in stages]:
        raise UsageError('guidance_max needs a stage whose method is "guided"')
    for before, stage in pairwise(stages):
        half, steps, method = before.sampling_steps // 2, stage.sampling_steps, stage.method
        guided = before.method == "guided" or (config.guidance_max > 0 and before.method == "progressive")
        _refuse(
            (method == before.method == "progressive" and steps != half,
             f"sampling_steps is {steps} after {half * 2}; {half} is allowed"),
            (method == "guided" and (before.method != "none" or not config.dropout),
             'guidance needs a teacher with dropout: before it, "none" with dropout is allowed'),
            (guided and method != "progressive", f"method is {method!r} after guidance; progressive is allowed"),
            where=f"stage {stage.name!r}: ",
        )  # fmt: skip
