"""How large what a recipe trains may be, and what its files may be, checked before anything is built.

Networks are counted on the device that holds no data: ranges bound each width and each depth, and here their product is
bounded, 16 bytes a parameter while it trains.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import nn

from regrain.diffusion.prior import Prior
from regrain.errors import UsageError, escape
from regrain.palette.autoencoder import Autoencoder
from regrain_lab.trainable.codec import ConditionalCodec
from regrain_lab.training.recipe import Recipe

__all__ = ["PARAMETERS_MAX", "check"]

PARAMETERS_MAX: Final = 2**28
_NETWORKS: Final[dict[str, tuple[str, Callable[[Recipe], nn.Module]]]] = {
    "codec": ("model", lambda recipe: ConditionalCodec(recipe.model)),
    "prior": ("prior", lambda recipe: Prior(recipe.prior)),
    "latent-prior": ("prior", lambda recipe: Prior(recipe.prior)),
    "autoencoder": ("autoencoder", lambda recipe: Autoencoder(recipe.autoencoder)),
}
"""What a recipe shapes itself, and the table that does; the others have the shape of the file that they start from."""


def check(recipe: Recipe) -> None:
    """Raise UsageError for weights that are a pipe or the like, and for a network of over PARAMETERS_MAX parameters."""
    loss = recipe.loss
    files = {"lpips": loss.lpips, "vgg": loss.vgg, "vgg_heads": loss.vgg_heads, "start": recipe.start}
    for name, path in (files | {"latents": recipe.latents, "teacher": recipe.distill.teacher}).items():
        if path:
            _check_file(name, recipe.path(path))
    if recipe.trains in _NETWORKS:
        table, build = _NETWORKS[recipe.trains]
        with torch.device("meta"):
            count = sum(tensor.numel() for tensor in build(recipe).parameters())
        if count > PARAMETERS_MAX:
            raise UsageError(f"[{table}] has {count:,} parameters; up to {PARAMETERS_MAX:,} are allowed")


def _check_file(name: str, path: Path) -> None:
    """Refuse a pipe, which would wait for ever when opened. A file that is missing is for its reader to report."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: {escape(path)} is not a file")
    except OSError as error:
        raise UsageError(f"{name}: {escape(path)}: {error.strerror or error}") from None
