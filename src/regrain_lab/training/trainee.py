"""What a run trains, seen from the loop: a network, its loss, its held-out figures, and the form in which it ships."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from regrain import checkpoint
from regrain.bitstream import MOST_STEPS
from regrain.conditional.frozen import freeze, latent_fingerprint, thaw
from regrain.conditional.model import ConditionalCodec
from regrain.diffusion.prior import KIND, Prior
from regrain.errors import ModelError
from regrain.palette import torch_backend as palette
from regrain.palette.autoencoder import Autoencoder
from regrain.progressive import reverse_process
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training import bound, reconstruction, validate
from regrain_lab.training.config import Recipe, Stage
from regrain_lab.training.objective import Objective, Rules

__all__ = [
    "AutoencoderTrainee",
    "CodecTrainee",
    "Figures",
    "LatentPriorTrainee",
    "PriorTrainee",
    "Trainee",
    "inherited",
    "load_lpips",
    "with_network",
]


class Figures(Protocol):
    """A line of held-out figures."""

    def scalars(self) -> dict[str, float]:
        """Names for a log."""


class Trainee(ABC):
    """One of the networks that recipes train; `network` is on the run's device."""

    shown: tuple[str, ...]
    """The scalars of the objective that a progress bar shows."""
    teacher: nn.Module | None = None
    """What the network learns from, if that is a network of its shape; it is kept in checkpoints."""

    def __init__(self, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
        """Move the network where it trains."""
        self.recipe, self.network = recipe, network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]

    def begin(self) -> None:
        """Called once, before the first step of a run that does not resume."""
        return

    def promotes(self, _stage: Stage) -> bool:
        """Whether the network, averaged, becomes the teacher when this stage begins."""
        return False

    @abstractmethod
    def objective(self) -> nn.Module:
        """(pictures (B, 3, H, W) in [-1, 1], Rules) -> scalars, among them `loss`; the network is its submodule."""

    @abstractmethod
    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """Held-out figures of the network as it is."""

    @abstractmethod
    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """The tensors that ship, and what their file says about them."""


def with_network(tensors: Mapping[str, Tensor], prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file, to the bit, but for those named `prefix`*, which are the network's as float16."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return kept | {f"{prefix}{name}": tensor.half() for name, tensor in network.state_dict().items()}


def inherited(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of itself that holds for one made from it: all but its own recipe and step."""
    return {name: value for name, value in about.items() if name not in ("recipe", "step")}


def load_lpips(recipe: Recipe, device: torch.device) -> Lpips | None:
    """The recipe's LPIPS; None where it names no weights. Raises ModelError for such as cannot be read."""
    return Lpips.load(recipe.path(recipe.loss.lpips)).to(device) if recipe.loss.lpips else None


class CodecTrainee(Trainee):
    """The conditional codec, whole."""

    shown = ("loss", "bpp", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for LPIPS weights that cannot be read."""
        self.codec = ConditionalCodec(recipe.model)
        self.lpips = load_lpips(recipe, device)
        super().__init__(recipe, self.codec, device)

    def begin(self) -> None:
        """Take the weights that the recipe starts from, if any. Raises ModelError for such as cannot be used."""
        if not self.recipe.start:
            return
        path = self.recipe.path(self.recipe.start)
        if not path.exists():
            raise ModelError(f"{path}: no weights there; start is a file of weights, or empty to start untrained")
        tensors, about = checkpoint.load(path)
        if about.get("config") != json.loads(json.dumps(self.recipe.model.to_dict())):
            raise ModelError(f"{path}: weights of another [model] than the recipe's")
        try:
            thaw(self.codec, tensors)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None

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
        tensors = with_network({}, "", self.prior)
        about = {"kind": KIND, "config": self.recipe.prior.to_dict()}
        if self.found:
            places = [step.log_snr_after for step in reverse_process.steps(MOST_STEPS)]
            levels, psnr = zip(*((row.log_snr, row.psnr) for row in self.found), strict=True)
            about["psnr"] = np.interp(places, levels, psnr).round(2).tolist()
        return tensors, about | {"latent_fingerprint": checkpoint.fingerprint(tensors).hex()}


class AutoencoderTrainee(Trainee):
    """The palette codec's autoencoder."""

    shown = ("loss", "bpp", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for LPIPS weights that cannot be read."""
        self.autoencoder = Autoencoder(recipe.autoencoder)
        self.lpips = load_lpips(recipe, device)
        ones = torch.ones(recipe.autoencoder.channels)
        self.moments = torch.zeros_like(ones), ones
        super().__init__(recipe, self.autoencoder, device)

    def objective(self) -> reconstruction.Objective:
        """Rate, distortion and perception."""
        return reconstruction.Objective(self.autoencoder, self.recipe.loss, self.lpips)

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """PSNR and LPIPS over noise on the latents; their moments, for the weights that ship."""
        self.moments = reconstruction.moments(self.autoencoder, pictures)
        return reconstruction.validate(self.autoencoder, pictures, self.lpips)

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """Float16 weights and the latents' moments, as last found held out."""
        return palette.freeze(self.autoencoder, *self.moments)


class LatentPriorTrainee(Trainee):
    """The denoiser of the palette codec's latents; its weights file has the autoencoder's tensors too."""

    shown = ("loss", "bits")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for an autoencoder that is missing or of other latents."""
        path = recipe.path(recipe.latents)
        self.space, self.about = checkpoint.load(path)
        self.latents = palette.load(path, str(device)).space
        if recipe.prior.channels != self.latents.channels:
            raise ModelError(
                f"{path}: latents of {self.latents.channels} channels, [prior] has {recipe.prior.channels}"
            )
        self.prior = Prior(recipe.prior)
        super().__init__(recipe, self.prior, device)

    def objective(self) -> nn.Module:
        """The variational bound and a simple loss, of latents."""
        return OfLatents(bound.Objective(self.prior, self.recipe.loss), self.encode)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures (B, 3, H, W)."""
        return torch.stack([torch.from_numpy(self.latents.encode(x.cpu().numpy())) for x in pictures]).to(
            pictures.device
        )

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """Bits and PSNR (of a peak of 2, as pictures have) over the noise level."""
        return bound.validate(self.prior, self.encode(pictures))

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """Float16 weights beside those of the autoencoder."""
        about = {**inherited(self.about), "config": self.recipe.prior.to_dict()}
        return with_network(self.space, "denoiser.", self.prior), about


class OfLatents(nn.Module):
    """An objective of latents as one of pictures."""

    def __init__(self, objective: nn.Module, encode: Callable[[Tensor], Tensor]) -> None:
        """Wrap it; `encode` is (B, 3, H, W) -> latents, without gradients."""
        super().__init__()
        self.inner, self.encode = objective, encode

    def forward(self, x: Tensor, rules: Rules) -> dict[str, Tensor]:
        """The objective of what x is in latents."""
        scalars: dict[str, Tensor] = self.inner(self.encode(x), rules)
        return scalars
