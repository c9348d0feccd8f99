"""What a run trains, seen from the loop: a network, its loss, its held-out figures, and the form in which it ships."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from regrain import checkpoint
from regrain.bitstream import MOST_STEPS
from regrain.conditional.frozen import freeze, latent_fingerprint
from regrain.conditional.model import ConditionalCodec
from regrain.diffusion.prior import KIND, Prior
from regrain.evaluation.perceptual import Lpips
from regrain.progressive import walk
from regrain.training import bound, validate
from regrain.training.config import Recipe
from regrain.training.objective import Objective

__all__ = ["Figures", "Trainee", "of"]


class Figures(Protocol):
    """A line of held-out figures."""

    def scalars(self) -> dict[str, float]:
        """Names for a log."""


class Trainee(ABC):
    """One of the networks that recipes train; `network` is on the run's device."""

    shown: tuple[str, ...]
    """The scalars of the objective that a progress bar shows."""

    def __init__(self, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
        """Move the network where it trains."""
        self.recipe, self.network = recipe, network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]

    @abstractmethod
    def objective(self) -> nn.Module:
        """(pictures (B, 3, H, W) in [-1, 1], Rules) -> scalars, among them `loss`; the network is its submodule."""

    @abstractmethod
    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """Held-out figures of the network as it is."""

    @abstractmethod
    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """The tensors that ship, and what their file says about them."""


class CodecTrainee(Trainee):
    """The conditional codec, whole."""

    shown = ("loss", "bpp", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for LPIPS weights that cannot be read."""
        self.codec = ConditionalCodec(recipe.model)
        self.lpips = Lpips.load(recipe.path(recipe.loss.lpips)).to(device) if recipe.loss.lpips else None
        super().__init__(recipe, self.codec, device)

    def objective(self) -> Objective:
        """Rate, distortion and perception."""
        return Objective(self.codec, self.recipe.loss, self.lpips)

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """Rate, PSNR and LPIPS over quality."""
        return validate.validate(self.codec, pictures, self.lpips)

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """Float16 networks, integers behind the wall."""
        tensors = freeze(self.codec)
        return tensors, {"config": self.recipe.model.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}


class PriorTrainee(Trainee):
    """The unconditional prior."""

    shown = ("loss", "bits")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained."""
        self.prior, self.found = Prior(recipe.prior), list[bound.Row]()
        super().__init__(recipe, self.prior, device)

    def objective(self) -> bound.Objective:
        """The variational bound and a simple loss."""
        return bound.Objective(self.prior, self.recipe.loss)

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """Bits and PSNR over the noise level."""
        self.found = bound.validate(self.prior, pictures)
        return self.found

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """Float16 weights; with them the PSNR of the estimate after each step of a stream, as last found held out."""
        tensors = {name: tensor.half() for name, tensor in self.prior.state_dict().items()}
        about = {"kind": KIND, "config": self.recipe.prior.to_dict()}
        if self.found:
            places = [step.after for step in walk.steps(MOST_STEPS)]
            levels, psnr = zip(*((row.log_snr, row.psnr) for row in self.found), strict=True)
            about["psnr"] = np.interp(places, levels, psnr).round(2).tolist()
        return tensors, about | {"latent_fingerprint": checkpoint.fingerprint(tensors).hex()}


_TRAINEES: dict[str, type[CodecTrainee] | type[PriorTrainee]] = {"codec": CodecTrainee, "prior": PriorTrainee}


def of(recipe: Recipe, device: torch.device) -> Trainee:
    """What `recipe.trains` names."""
    return _TRAINEES[recipe.trains](recipe, device)
