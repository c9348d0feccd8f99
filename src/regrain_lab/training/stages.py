"""Where a step of a run stands: its stage, its first sample, and its learning rate."""

import math
from dataclasses import dataclass

from regrain_lab.training.recipe import Recipe, Stage

__all__ = ["Position", "learning_rate", "position"]


@dataclass(frozen=True)
class Position:
    """The place of step k in a run: its stage, the step within it, and the number of its first sample."""

    stage: Stage
    step: int
    sample: int


def position(recipe: Recipe, step: int) -> Position | None:
    """The position of a step of the whole run; None once the run is over."""
    sample = 0
    for stage in recipe.stage:
        if step < stage.steps:
            return Position(stage, step, sample + step * stage.batch)
        step -= stage.steps
        sample += stage.steps * stage.batch
    return None


def learning_rate(recipe: Recipe, step: int, place: Position) -> float:
    """Cosine from the stage's first rate to its last, after a linear warm-up of the run."""
    first, last = place.stage.learning_rate
    wave = 0.5 * (1 + math.cos(math.pi * place.step / max(1, place.stage.steps)))
    return (last + (first - last) * wave) * min(1.0, (step + 1) / max(1, recipe.warmup))
