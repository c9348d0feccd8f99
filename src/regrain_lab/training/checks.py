"""Checks of a recipe before anything is opened or built: that its files are files, and how large its network is.

The parameters are counted on the device that holds no data. Ranges bound each width and each depth; here their product
is bounded, 16 bytes a parameter while it trains.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import nn

from regrain.conditional.transform import Analysis, HyperAnalysis, MeanBranch, build_denoiser
from regrain.diffusion.prior import Prior
from regrain.errors import UsageError, escape
from regrain.palette.autoencoder import Autoencoder
from regrain_lab.trainable.wall import build_scale
from regrain_lab.training.recipe import Recipe

__all__ = ["PARAMETERS_MAX", "check"]

PARAMETERS_MAX: Final = 2**28

_PARTS: Final[dict[str, tuple[str, Callable[[Recipe], list[nn.Module]]]]] = {
    "codec": ("model", lambda recipe: _codec(recipe)),
    "prior": ("prior", lambda recipe: [Prior(recipe.prior)]),
    "latent-prior": ("prior", lambda recipe: [Prior(recipe.prior)]),
    "autoencoder": ("autoencoder", lambda recipe: [Autoencoder(recipe.autoencoder)]),
}


def check(recipe: Recipe) -> None:
    """Raise UsageError for weights that are a pipe or the like, and for a network of over PARAMETERS_MAX parameters."""
    loss = recipe.loss
    files = {"lpips": loss.lpips, "vgg": loss.vgg, "vgg_heads": loss.vgg_heads, "start": recipe.start}
    for name, path in (files | {"latents": recipe.latents, "teacher": recipe.distill.teacher}).items():
        if path:
            _check_file(name, recipe.path(path))
    if recipe.trains in _PARTS:
        _check_size(recipe, *_PARTS[recipe.trains])


def _check_file(name: str, path: Path) -> None:
    """Refuse a pipe, which would wait for ever when opened. A file that is missing is for its reader to report."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: {escape(path)} is not a file")
    except OSError as error:
        raise UsageError(f"{name}: {escape(path)}: {error.strerror or error}") from None


def _check_size(recipe: Recipe, name: str, parts: Callable[[Recipe], list[nn.Module]]) -> None:
    with torch.device("meta"):
        count = sum(tensor.numel() for part in parts(recipe) for tensor in part.parameters())
    if count > PARAMETERS_MAX:
        raise UsageError(f"[{name}] has {count:,} parameters; up to {PARAMETERS_MAX:,} are allowed")


def _codec(recipe: Recipe) -> list[nn.Module]:
    """The networks that widths make large; the tables and gains beside them are small in every range."""
    config = recipe.model.transform
    networks = [Analysis(config), HyperAnalysis(config), MeanBranch(config), build_scale(config)]
    return [*networks, build_denoiser(recipe.model)]
