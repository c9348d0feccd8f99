"""When a run ends early: once the held-out loss has not fallen for so many validations."""

import math
from pathlib import Path

import torch
from torch import Tensor

from regrain import torch_checkpoint
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.recipe import Recipe
from regrain_lab.training.task import Task

__all__ = ["HELD_OUT_LOSS", "EarlyStop"]

BATCH = 8
HELD_OUT_LOSS = "held_out_loss"
"""Its name in the metadata of weights."""


class EarlyStop:
    """The lowest held-out loss so far, and for how many validations it has stood."""

    def __init__(self, recipe: Recipe, task: Task, weights: Path) -> None:
        """Of a recipe with patience. A run that resumes has its lowest loss in `weights`, and begins to wait anew."""
        self.recipe, self.task, self.lowest, self.waited = recipe, task, math.inf, 0
        if weights.exists():
            lowest = torch_checkpoint.load_metadata(weights).get(HELD_OUT_LOSS)
            self.lowest = float(lowest) if isinstance(lowest, int | float) else math.inf

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.recipe.patience

    def gains(self, pictures: Tensor) -> bool:
        """Whether the loss of these pictures (N, 3, H, W) is lower than ever before, by the network as it is."""
        loss = self.held_out_loss(pictures)
        better = loss < self.lowest
        self.waited, self.lowest = (0, loss) if better else (self.waited + 1, self.lowest)
        return better

    @torch.no_grad()
    def held_out_loss(self, pictures: Tensor) -> float:
        """The mean loss of the pictures, with the last stage's weights and the same random draws every time."""
        torch.manual_seed(self.recipe.seed)
        weights = StageWeights.at(self.recipe.stage[-1], 0)
        losses = [float(self.task.loss(part, weights)["loss"]) * len(part) for part in torch.split(pictures, BATCH)]
        return sum(losses) / len(pictures)
