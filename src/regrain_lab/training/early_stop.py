"""When a run ends early: once the held-out loss has not fallen for so many validations."""

import math

import torch
from torch import Tensor

from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.recipe import Recipe
from regrain_lab.training.tasks import Task

__all__ = ["EarlyStop"]

BATCH = 8


class EarlyStop:
    """The lowest held-out loss so far, and for how many validations it has stood."""

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """Of a recipe with patience. A run that resumes begins to count anew."""
        self.recipe, self.task, self.lowest, self.waited = recipe, task, math.inf, 0

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.recipe.patience

    @torch.no_grad()
    def gains(self, pictures: Tensor) -> bool:
        """Whether the loss of these pictures (N, 3, H, W) is lower than ever before, by the network as it is."""
        torch.manual_seed(self.recipe.seed)
        weights, losses = StageWeights.at(self.recipe.stage[-1], 0), []
        for part in torch.split(pictures, BATCH):
            losses += [float(self.task.loss(part, weights)["loss"])] * len(part)
        loss = sum(losses) / len(losses)
        self.waited = 0 if loss < self.lowest else self.waited + 1
        better, self.lowest = loss < self.lowest, min(loss, self.lowest)
        return better
