"""What a training run needs of the network that it trains, and what all tasks share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.recipe import Recipe
from regrain_lab.training.validation import Row

__all__ = ["Export", "Task", "inherited_metadata", "load_lpips", "placed"]

M = TypeVar("M", bound=nn.Module)
Export = tuple[Mapping[str, Tensor], dict[str, Any]]
"""The tensors that ship, and the metadata of their file."""


@dataclass
class Task:
    """One of the networks that recipes train; `network` is on the run's device, and a submodule of `loss`.

    `loss` is (pictures (B, 3, H, W) in [-1, 1], StageWeights) -> scalars with `loss`.
    """

    network: nn.Module
    loss: nn.Module
    validate: Callable[[Tensor], list[Row]]
    """Held-out figures of the network as it is, of pictures (N, 3, H, W)."""
    export: Callable[[], Export]
    """The form in which the network ships."""
    progress_metrics: tuple[str, ...] = ("loss", "bpp", "mse", "lpips")
    """The scalars of the loss that a progress bar shows."""
    teacher: nn.Module | None = None
    """A network of the same shape that this one learns from, if any; checkpoints keep it."""
    initialize: Callable[[], None] | None = None
    """Called once, before the first step of a run that does not resume."""


def load_lpips(recipe: Recipe, device: torch.device) -> Lpips | None:
    """The recipe's LPIPS; None where it names no weights. Raises ModelError for weights that cannot be read."""
    return Lpips.load(recipe.path(recipe.loss.lpips)).to(device) if recipe.loss.lpips else None


def placed(network: M, device: torch.device) -> M:
    """The network on a device, in the layout that convolutions like best."""
    return network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload, no-any-return]


def inherited_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a file that holds for one made from it: all but its own recipe and step."""
    return {name: value for name, value in metadata.items() if name not in ("recipe", "step")}
