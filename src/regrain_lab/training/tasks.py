"""A task: a network that a recipe trains, its loss, its held-out figures, and the form in which it ships."""

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.bitstream import MOST_STEPS
from regrain.conditional.config import ModelConfig
from regrain.diffusion.prior import KIND, Prior
from regrain.diffusion.unet import Denoiser
from regrain.errors import ModelError, UsageError
from regrain.palette import torch_backend as palette
from regrain.palette.autoencoder import Autoencoder
from regrain.progressive import reverse_process
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.codec import ConditionalCodec, freeze, latent_fingerprint, thaw
from regrain_lab.trainable.frozen import FrozenCodec, with_network
from regrain_lab.training import checks, validation
from regrain_lab.training.losses.autoencoder import AutoencoderLoss
from regrain_lab.training.losses.codec import CodecLoss
from regrain_lab.training.losses.distillation import Distillation, DistillationLoss
from regrain_lab.training.losses.prior import LatentLoss, PriorLoss
from regrain_lab.training.losses.sampler import Sampler, SamplerLoss, initial_sampler
from regrain_lab.training.losses.texture import TextureDistances
from regrain_lab.training.recipe import TEACHER_RESETS, Recipe, Stage
from regrain_lab.training.student import Student
from regrain_lab.training.validation import Row

__all__ = ["StudentTask", "Task", "load_lpips", "task_for"]

Export = tuple[Mapping[str, Tensor], dict[str, Any]]
"""The tensors that ship, and the metadata of their file."""


class Task(ABC):
    """One of the networks that recipes train; `network` is on the run's device."""

    progress_metrics: tuple[str, ...] = ("loss", "bpp", "mse", "lpips")
    """The scalars of the loss that a progress bar shows."""
    teacher: nn.Module | None = None
    """A network of the same shape that this one learns from, if any; checkpoints keep it."""

    def __init__(self, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
        """Move the network to where it trains."""
        self.recipe, self.network = recipe, network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]

    def initialize(self) -> None:
        """Called once, before the first step of a run that does not resume."""
        return

    def resets_teacher(self, _stage: Stage) -> bool:
        """Whether the network, averaged, becomes the teacher when this stage begins."""
        return False

    @abstractmethod
    def loss(self) -> nn.Module:
        """(pictures (B, 3, H, W) in [-1, 1], StageWeights) -> scalars with `loss`; the network is a submodule."""

    @abstractmethod
    def validate(self, pictures: Tensor) -> list[Row]:
        """Held-out figures of the network as it is."""

    @abstractmethod
    def export(self) -> Export:
        """The form in which the network ships."""


def load_lpips(recipe: Recipe, device: torch.device) -> Lpips | None:
    """The recipe's LPIPS; None where it names no weights. Raises ModelError for weights that cannot be read."""
    return Lpips.load(recipe.path(recipe.loss.lpips)).to(device) if recipe.loss.lpips else None


def _inherited_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a file that holds for one made from it: all but its own recipe and step."""
    return {name: value for name, value in metadata.items() if name not in ("recipe", "step")}


class CodecTask(Task):
    """The conditional codec, whole."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for LPIPS weights that cannot be read."""
        self.codec, self.lpips = ConditionalCodec(recipe.model), load_lpips(recipe, device)
        super().__init__(recipe, self.codec, device)

    def initialize(self) -> None:
        """Take the weights that the recipe starts from, if any. Raises ModelError for weights that do not fit."""
        if not self.recipe.start:
            return
        path = self.recipe.path(self.recipe.start)
        if not path.exists():
            raise ModelError(f"{path}: no weights there; start is a file of weights, or empty to start untrained")
        tensors, metadata = torch_checkpoint.load(path)
        if metadata.get("config") != json.loads(json.dumps(self.recipe.model.to_dict())):
            raise ModelError(f"{path}: weights of another [model] than the recipe's")
        try:
            thaw(self.codec, tensors)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None

    def loss(self) -> nn.Module:
        """Rate, distortion and perception."""
        return CodecLoss(self.codec, self.recipe.loss, self.lpips)

    def validate(self, pictures: Tensor) -> list[Row]:
        """Rate, PSNR and LPIPS over quality."""
        return validation.by_quality(self.codec, pictures, self.lpips)

    def export(self) -> Export:
        """Float16 networks, integers behind the wall."""
        tensors = freeze(self.codec)
        return tensors, {"config": self.recipe.model.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}


class PriorTask(Task):
    """The unconditional prior."""

    progress_metrics = ("loss", "bits")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained."""
        self.prior, self.rows = Prior(recipe.prior), list[Row]()
        super().__init__(recipe, self.prior, device)

    def loss(self) -> nn.Module:
        """The variational bound and a simple loss."""
        return PriorLoss(self.prior, self.recipe.loss)

    def validate(self, pictures: Tensor) -> list[Row]:
        """Bits and PSNR over the noise level."""
        self.rows = validation.by_noise_level(self.prior, pictures)
        return self.rows

    def export(self) -> Export:
        """Float16 weights, and the PSNR of the estimate after each step of a stream, from the last validation."""
        tensors = with_network({}, "", self.prior)
        metadata: dict[str, Any] = {"kind": KIND, "config": self.recipe.prior.to_dict()}
        if self.rows:
            log_snrs = [step.log_snr_after for step in reverse_process.steps(MOST_STEPS)]
            psnrs = np.interp(log_snrs, [row.at for row in self.rows], [row.figures["psnr"] for row in self.rows])
            metadata["psnr"] = psnrs.round(2).tolist()
        return tensors, metadata | {"latent_fingerprint": torch_checkpoint.fingerprint(tensors).hex()}


class AutoencoderTask(Task):
    """The palette codec's autoencoder."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for LPIPS weights that cannot be read."""
        self.autoencoder, self.lpips = Autoencoder(recipe.autoencoder), load_lpips(recipe, device)
        self.moments = torch.zeros(recipe.autoencoder.channels), torch.ones(recipe.autoencoder.channels)
        super().__init__(recipe, self.autoencoder, device)

    def loss(self) -> nn.Module:
        """Rate, distortion and perception."""
        return AutoencoderLoss(self.autoencoder, self.recipe.loss, self.lpips)

    def validate(self, pictures: Tensor) -> list[Row]:
        """PSNR and LPIPS over noise on the latents; their moments, for the weights that ship."""
        self.moments = validation.latent_moments(self.autoencoder, pictures)
        return validation.by_latent_noise(self.autoencoder, pictures, self.lpips)

    def export(self) -> Export:
        """Float16 weights and the latents' moments, from the last validation."""
        return palette.freeze(self.autoencoder, *self.moments)


class LatentPriorTask(PriorTask):
    """The denoiser of the palette codec's latents; its weights file has the autoencoder's tensors too."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Build it untrained. Raises ModelError for an autoencoder that is missing or of other latents."""
        path = recipe.path(recipe.latents)
        self.tensors, self.metadata = torch_checkpoint.load(path)
        self.space = palette.load(path, str(device)).space
        if recipe.prior.channels != self.space.channels:
            raise ModelError(f"{path}: latents of {self.space.channels} channels, [prior] has {recipe.prior.channels}")
        super().__init__(recipe, device)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures (B, 3, H, W)."""
        latents = [torch.from_numpy(self.space.encode(x.cpu().numpy())) for x in pictures]
        return torch.stack(latents).to(pictures.device)

    def loss(self) -> nn.Module:
        """The variational bound and a simple loss, of latents."""
        return LatentLoss(super().loss(), self.encode)

    def validate(self, pictures: Tensor) -> list[Row]:
        """Bits and PSNR (of a peak of 2, as pictures have) over the noise level."""
        return super().validate(self.encode(pictures))

    def export(self) -> Export:
        """Float16 weights beside those of the autoencoder."""
        metadata = {**_inherited_metadata(self.metadata), "config": self.recipe.prior.to_dict()}
        return with_network(self.tensors, "denoiser.", self.prior), metadata


class StudentTask(Task):
    """A denoiser behind latents that stay as they are."""

    progress_metrics = ("loss", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Start from the teacher's file. Raises ModelError or UsageError where it cannot be used."""
        self.origin, name = FrozenCodec.load(recipe.teacher, device), recipe.teacher or "the package"
        if recipe.model not in (ModelConfig(), self.origin.config):
            raise ModelError(f"{name}: weights of another shape than the recipe's [model]")
        if recipe.stage[0].method == "guided" and not self.origin.metadata.get("dropout"):
            raise UsageError(f"{name}: trained without dropout, which guidance needs of a teacher")
        self.lpips = load_lpips(recipe, device)
        self.student = Student(self.origin, guided=recipe.distill.guidance_max > 0)
        super().__init__(recipe, self.student, device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def resets_teacher(self, stage: Stage) -> bool:
        """At each halving of the steps, and before guidance."""
        return stage.method in TEACHER_RESETS

    def loss(self) -> nn.Module:
        """The loss of the recipe's methods."""
        assert isinstance(self.teacher, Student)
        models = Distillation(self.student, self.teacher, self.recipe.distill, self.recipe.loss)
        return DistillationLoss(models, self.origin, self.lpips)

    def validate(self, pictures: Tensor) -> list[Row]:
        """PSNR and LPIPS over a few steps."""
        return validation.by_steps(self.origin, self._denoiser(), pictures, self.lpips, (1, 2, 4))

    def export(self) -> Export:
        """The teacher's file with another denoiser, at the guidance weight that ships."""
        metadata, distill = _inherited_metadata(self.origin.metadata), self.recipe.distill
        metadata.pop("dropout", None)
        metadata["teacher"] = {name: self.origin.metadata.get(name) for name in ("recipe", "step")}
        if self.recipe.stage[-1].method == "none" and distill.dropout:
            metadata["dropout"] = distill.dropout
        return with_network(self.origin.tensors, "denoiser.", self._denoiser()), metadata

    def _denoiser(self) -> Denoiser:
        distill = self.recipe.distill
        return self.student.denoiser_at(distill.guidance / distill.guidance_max if distill.guidance_max else 0.0)


class SamplerTask(Task):
    """A sampling denoiser behind latents that stay as they are; all else of the file that it starts from stays too."""

    progress_metrics = ("loss", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Start from the teacher's file. Raises ModelError where it cannot be used."""
        self.origin, self.lpips = FrozenCodec.load(recipe.teacher, device), load_lpips(recipe, device)
        lineage = {"teacher": torch_checkpoint.fingerprint(self.origin.tensors).hex()}
        adversary = bool(recipe.loss.vgg and recipe.loss.adversary_scale)
        self.sampler = Sampler(initial_sampler(self.origin.networks), lineage, adversary=adversary)
        super().__init__(recipe, self.sampler, device)

    def loss(self) -> nn.Module:
        """Denoising and perception at every noise level."""
        config, path = self.recipe.loss, self.recipe.path
        textures = TextureDistances.load(path(config.vgg), path(config.vgg_heads)) if config.vgg else None
        return SamplerLoss(self.sampler, self.origin, config, self.lpips, textures)

    def validate(self, pictures: Tensor) -> list[Row]:
        """PSNR, LPIPS and spread over steps."""
        return validation.sampler_by_steps(self.origin, self.sampler.denoiser, pictures, self.lpips)

    def export(self) -> Export:
        """The file that it started from, and the sampler in float16."""
        config = replace(self.origin.config, sampler=True).to_dict()
        tensors = with_network(self.origin.tensors, "sampler.", self.sampler.denoiser)
        return tensors, {**_inherited_metadata(self.origin.metadata), "config": config}


_TASKS: dict[str, Callable[[Recipe, torch.device], Task]] = {
    "codec": CodecTask, "prior": PriorTask, "autoencoder": AutoencoderTask, "latent-prior": LatentPriorTask,
    "student": StudentTask, "sampler": SamplerTask,
}  # fmt: skip


def task_for(recipe: Recipe, device: torch.device) -> Task:
    """The task that `recipe.trains` names. Raises UsageError as `checks.check` does, and ModelError."""
    checks.check(recipe)
    return _TASKS[recipe.trains](recipe, device)
