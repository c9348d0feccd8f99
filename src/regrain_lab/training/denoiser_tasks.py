"""Tasks behind latents that stay as they are: the student, the sampler and the fast decoder of a weights file."""

import copy
from dataclasses import replace

import torch

from regrain import checkpoint
from regrain.conditional.config import ModelConfig
from regrain.diffusion.unet import Denoiser
from regrain.errors import ModelError, UsageError
from regrain_lab.trainable.denoisers import Fast, Sampler, Student
from regrain_lab.trainable.frozen import FrozenCodec, with_network
from regrain_lab.training import validation
from regrain_lab.training.losses.distillation import Distillation, DistillationLoss
from regrain_lab.training.losses.fast import FastLoss
from regrain_lab.training.losses.sampler import SamplerLoss
from regrain_lab.training.losses.texture import STAGES, TextureDistances
from regrain_lab.training.recipe import Recipe
from regrain_lab.training.task import Export, Task, inherited_metadata, load_lpips, placed

__all__ = ["fast_task", "sampler_task", "student_task"]


def student_task(recipe: Recipe, device: torch.device) -> Task:
    """A denoiser behind latents that stay as they are. Raises UsageError where its teacher cannot be used."""
    origin, distill = FrozenCodec.load(recipe.teacher, device), recipe.distill
    name = recipe.teacher or "the package"
    weight = distill.guidance / distill.guidance_max if distill.guidance_max else 0.0
    if recipe.model not in (ModelConfig(), origin.config):
        raise ModelError(f"{name}: weights of another shape than the recipe's [model]")
    if recipe.stage[0].method == "guided" and not origin.metadata.get("dropout"):
        raise UsageError(f"{name}: trained without dropout, which guidance needs of a teacher")
    lpips, student = load_lpips(recipe, device), placed(Student(origin, guided=distill.guidance_max > 0), device)
    teacher = copy.deepcopy(student).requires_grad_(False)

    def denoiser() -> Denoiser:
        """The student as it ships, at the guidance weight that ships."""
        return student.denoiser_at(weight)

    def export() -> Export:
        """The teacher's file with another denoiser."""
        metadata = inherited_metadata(origin.metadata)
        metadata.pop("dropout", None)
        metadata["teacher"] = {name: origin.metadata.get(name) for name in ("recipe", "step")}
        if recipe.stage[-1].method == "none" and distill.dropout:
            metadata["dropout"] = distill.dropout
        return with_network(origin.tensors, "denoiser.", denoiser()), metadata

    return Task(
        student,
        DistillationLoss(Distillation(student, teacher, distill, recipe.loss), origin, lpips),
        lambda pictures: validation.by_steps(origin, denoiser(), pictures, lpips, (1, 2, 4)),
        export,
        ("loss", "mse", "lpips"),
        teacher,
    )


def sampler_task(recipe: Recipe, device: torch.device) -> Task:
    """A sampling denoiser behind latents that stay as they are; all else of the file that it starts from stays too."""
    origin, lpips, config = FrozenCodec.load(recipe.teacher, device), load_lpips(recipe, device), recipe.loss
    sampler = placed(Sampler(origin, STAGES if config.vgg and config.adversary_scale else ()), device)
    vgg, heads = recipe.path(config.vgg), recipe.path(config.vgg_heads)
    textures = TextureDistances.load(vgg, heads).to(device) if config.vgg else None

    def export() -> Export:
        """The file that it started from, and the sampler in float16."""
        shape = replace(origin.config, sampler=True).to_dict()
        tensors = with_network(origin.tensors, "sampler.", sampler.denoiser)
        return tensors, {**inherited_metadata(origin.metadata), "config": shape}

    return Task(
        sampler,
        SamplerLoss(sampler, origin, config, lpips, textures),
        lambda pictures: validation.sampler_by_steps(origin, sampler.denoiser, pictures, lpips),
        export,
        ("loss", "mse", "lpips"),
    )


def fast_task(recipe: Recipe, device: torch.device) -> Task:
    """A smaller decoder in one step, of latents that stay as they are; all else of their file stays to the bit."""
    origin, lpips = FrozenCodec.load(recipe.teacher, device), load_lpips(recipe, device)
    network = placed(Fast(origin, recipe.fast), device)

    def export() -> Export:
        """The file that it started from, and the fast decoder in 8 bits."""
        state = {f"fast.{name}": tensor.cpu().numpy() for name, tensor in network.decoder.state_dict().items()}
        packed = {name: torch.from_numpy(array) for name, array in checkpoint.in_8_bits(state).items()}
        others = {name: tensor for name, tensor in origin.tensors.items() if not name.startswith("fast.")}
        shape, about = replace(origin.config, fast=recipe.fast), inherited_metadata(origin.metadata)
        return others | packed, {**about, "config": shape.to_dict()}

    return Task(
        network,
        FastLoss(network, origin, recipe.loss, lpips),
        lambda pictures: validation.fast_by_quality(origin, network.decoder, pictures, lpips),
        export,
        ("loss", "gap", "mse", "lpips"),
    )
