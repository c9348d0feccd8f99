"""Decoders behind latents that stay as they are, as the loop trains them; and which trainee a recipe names."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from regrain import checkpoint
from regrain.conditional.frozen import SAMPLER
from regrain.conditional.model import ModelConfig
from regrain.diffusion.unet import Denoiser
from regrain.errors import ModelError, UsageError
from regrain_lab.training import checks, lessons, sampling, steps
from regrain_lab.training.config import Recipe, Stage
from regrain_lab.training.methods import PROMOTING
from regrain_lab.training.student import Origin, Student
from regrain_lab.training.textures import Textures
from regrain_lab.training.trainee import (
    AutoencoderTrainee,
    CodecTrainee,
    Figures,
    LatentPriorTrainee,
    PriorTrainee,
    Trainee,
    inherited,
    load_lpips,
    with_network,
)

__all__ = ["SamplerTrainee", "StudentTrainee", "of"]


class StudentTrainee(Trainee):
    """A denoiser behind latents that stay as they are."""

    shown = ("loss", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Start from the teacher's file. Raises ModelError where it or LPIPS's weights cannot be used."""
        self.origin = Origin.load(recipe.teacher, device)
        self._check(recipe)
        self.lpips = load_lpips(recipe, device)
        guided = recipe.distill.guidance_max > 0
        self.student = Student(self.origin, guided=guided)
        super().__init__(recipe, self.student, device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def _check(self, recipe: Recipe) -> None:
        """What only the teacher's file can tell."""
        where = recipe.teacher or "the package"
        if recipe.model not in (ModelConfig(), self.origin.model.config):
            raise ModelError(f"{where}: weights of another shape than the recipe's [model]")
        if recipe.stage[0].method == "guided" and not self.origin.about.get("dropout"):
            raise UsageError(f"{where}: trained without dropout, which guidance needs of a teacher")

    def promotes(self, stage: Stage) -> bool:
        """At each halving of the steps, and before guidance."""
        return stage.method in PROMOTING

    def objective(self) -> lessons.Objective:
        """The lessons of the recipe's methods."""
        assert isinstance(self.teacher, Student)
        taught = lessons.Lessons(self.student, self.teacher, self.recipe.distill, self.recipe.loss)
        return lessons.Objective(taught, self.origin.model, self.lpips)

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """PSNR and LPIPS over a few steps."""
        return steps.ladder(self.origin.model, self._shipped(), pictures, self.lpips, (1, 2, 4))

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """The teacher's file with another denoiser, at the guidance weight that ships."""
        about = inherited(self.origin.about)
        about.pop("dropout", None)
        about["teacher"] = {name: self.origin.about.get(name) for name in ("recipe", "step")}
        if self.recipe.stage[-1].method == "none" and self.recipe.distill.dropout:
            about["dropout"] = self.recipe.distill.dropout
        return self.origin.with_denoiser(self._shipped()), about

    def _shipped(self) -> Denoiser:
        distill = self.recipe.distill
        return self.student.at(distill.guidance / distill.guidance_max if distill.guidance_max else 0.0)


class SamplerTrainee(Trainee):
    """A sampling denoiser behind latents that stay as they are; all else of the file that it starts from stays too."""

    shown = ("loss", "mse", "lpips")

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        """Start from the teacher's file. Raises ModelError where it or LPIPS's weights cannot be used."""
        self.origin = Origin.load(recipe.teacher, device)
        self.lpips = load_lpips(recipe, device)
        lineage = {"teacher": checkpoint.fingerprint(self.origin.tensors).hex()}
        adversary = bool(recipe.loss.vgg and recipe.loss.adversary_scale)
        self.sampler = sampling.Sampler(sampling.begun(self.origin.model), lineage, adversary=adversary)
        super().__init__(recipe, self.sampler, device)

    def objective(self) -> sampling.Objective:
        """Denoising and perception at every noise level."""
        loss, textures = self.recipe.loss, None
        if loss.vgg:
            textures = Textures.load(self.recipe.path(loss.vgg), self.recipe.path(loss.vgg_heads))
        return sampling.Objective(self.sampler, self.origin.model, loss, self.lpips, textures)

    def validate(self, pictures: Tensor) -> Sequence[Figures]:
        """PSNR, LPIPS and spread over steps."""
        model = replace(self.origin.model, sampler=self.sampler.denoiser)
        return sampling.validate(model, pictures, self.lpips)

    def frozen(self) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        """The file that it started from, and the sampler in float16."""
        about = {**inherited(self.origin.about), "config": replace(self.origin.model.config, sampler=True).to_dict()}
        return with_network(self.origin.tensors, SAMPLER, self.sampler.denoiser), about


_TRAINEES: dict[str, Callable[[Recipe, torch.device], Trainee]] = {
    "codec": CodecTrainee,
    "prior": PriorTrainee,
    "autoencoder": AutoencoderTrainee,
    "latent-prior": LatentPriorTrainee,
    "student": StudentTrainee,
    "sampler": SamplerTrainee,
}


def of(recipe: Recipe, device: torch.device) -> Trainee:
    """What `recipe.trains` names. Raises UsageError as `checks.check` does, and ModelError."""
    checks.check(recipe)
    return _TRAINEES[recipe.trains](recipe, device)
