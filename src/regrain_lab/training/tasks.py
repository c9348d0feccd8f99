"""The tasks by name: a network that a recipe trains, its loss, its held-out figures, and the form in which it ships.

A recipe's limits are checked before (`limits`).
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import as_file
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from regrain import adapter, registry, torch_checkpoint
from regrain.bitstream import MOST_STEPS, Method
from regrain.conditional.config import ModelConfig
from regrain.diffusion.prior import KIND, Prior
from regrain.errors import ModelError
from regrain.palette.autoencoder import Autoencoder
from regrain.palette.autoencoder import freeze as freeze_autoencoder
from regrain.palette.codec import PaletteModel
from regrain.progressive import reverse_process
from regrain_lab.trainable.adapter import Adapter
from regrain_lab.trainable.codec import ConditionalCodec, freeze, latent_fingerprint, thaw
from regrain_lab.trainable.denoisers import widened, with_student
from regrain_lab.trainable.frozen import with_network
from regrain_lab.training import limits, validation
from regrain_lab.training.denoiser_tasks import fast_task, sampler_task, student_task
from regrain_lab.training.losses.autoencoder import AutoencoderLoss
from regrain_lab.training.losses.codec import CodecLoss
from regrain_lab.training.losses.leaps import LeapLoss
from regrain_lab.training.losses.prior import LatentLoss, PriorLoss
from regrain_lab.training.recipe import Recipe
from regrain_lab.training.task import Export, Task, inherited_metadata, load_lpips, placed
from regrain_lab.training.validation import Row

__all__ = ["task_for"]


def task_for(recipe: Recipe, device: torch.device) -> Task:
    """The task that `recipe.trains` names. Raises UsageError as `limits.check` does, and ModelError."""
    limits.check(recipe)
    return _TASKS[recipe.trains](recipe, device)


def _codec(recipe: Recipe, device: torch.device) -> Task:
    """The conditional codec, whole."""
    codec, lpips = placed(ConditionalCodec(recipe.model), device), load_lpips(recipe, device)

    def export() -> Export:
        """Float16 networks, integers behind the wall."""
        tensors, shape = freeze(codec), replace(recipe.model, sampler=False, fast=None)  # those are of other latents
        return tensors, {"config": shape.to_dict(), "latent_fingerprint": latent_fingerprint(tensors).hex()}

    return Task(
        codec,
        CodecLoss(codec, recipe.loss, lpips),
        lambda pictures: validation.by_quality(codec, pictures, lpips),
        export,
        initialize=lambda: _start(recipe, codec),
    )


def _adapter(recipe: Recipe, device: torch.device) -> Task:
    """What the codec of a weights file has to learn for some kind of picture."""
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as shipped:
        path = recipe.path(recipe.start) if recipe.start else shipped
        tensors, metadata = torch_checkpoint.load(path)
    lpips, trained = load_lpips(recipe, device), ModelConfig.from_dict(metadata.get("config"))
    network = placed(Adapter(trained, tensors, recipe.rank), device)

    def export() -> Export:
        """What is added, and to what."""
        base = {name: tensor.numpy() for name, tensor in tensors.items()}
        fingerprint = latent_fingerprint(tensors).hex()
        about = {"kind": adapter.KIND, "base": fingerprint, "identity": adapter.identity(base)}
        return network.arrays(), about

    return Task(
        network,
        CodecLoss(network.codec, recipe.loss, lpips),
        lambda pictures: validation.by_quality(network.codec, pictures, lpips),
        export,
    )


def _start(recipe: Recipe, codec: ConditionalCodec) -> None:
    """Take the weights that the recipe starts from, if any. Raises ModelError for weights that do not fit."""
    if not recipe.start:
        return
    path = recipe.path(recipe.start)
    if not path.exists():
        raise ModelError(f"{path}: no weights there; start is a file of weights, or empty to start untrained")
    tensors, metadata = torch_checkpoint.load(path)
    wanted, config = recipe.model, ModelConfig.from_dict(metadata.get("config"))
    shape = replace(config, sampler=wanted.sampler, fast=wanted.fast)  # of other latents
    if shape != recipe.model:
        raise ModelError(f"{path}: weights of another [model] than the recipe's")
    try:
        thaw(codec, tensors)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _prior(recipe: Recipe, device: torch.device) -> Task:
    """The unconditional prior."""
    prior, rows = placed(Prior(recipe.prior), device), list[Row]()

    def validate(pictures: Tensor) -> list[Row]:
        rows[:] = validation.by_noise_level(prior, pictures)
        return rows

    def export() -> Export:
        """Float16 weights, and the PSNR of the estimate after each step of a stream, from the last validation."""
        tensors = with_network({}, "", prior)
        metadata: dict[str, Any] = {"kind": KIND, "config": recipe.prior.to_dict()}
        if rows:
            log_snrs = [step.log_snr_after for step in reverse_process.steps(MOST_STEPS)]
            psnrs = np.interp(log_snrs, [row.at for row in rows], [row.figures["psnr"] for row in rows])
            metadata["psnr"] = psnrs.round(2).tolist()
        return tensors, metadata | {"latent_fingerprint": torch_checkpoint.fingerprint(tensors).hex()}

    return Task(prior, PriorLoss(prior, recipe.loss), validate, export, ("loss", "bits"))


def _autoencoder(recipe: Recipe, device: torch.device) -> Task:
    """The palette codec's autoencoder. The moments that ship are those of the last validation."""
    autoencoder, lpips = placed(Autoencoder(recipe.autoencoder), device), load_lpips(recipe, device)
    moments = [torch.zeros(recipe.autoencoder.channels), torch.ones(recipe.autoencoder.channels)]

    def validate(pictures: Tensor) -> list[Row]:
        moments[:] = validation.latent_moments(autoencoder, pictures)
        return validation.by_latent_noise(autoencoder, pictures, lpips)

    loss = AutoencoderLoss(autoencoder, recipe.loss, lpips)
    return Task(autoencoder, loss, validate, lambda: freeze_autoencoder(autoencoder, *moments))


def _latent_prior(recipe: Recipe, device: torch.device) -> Task:
    """The denoiser of the palette codec's latents; its weights file has the autoencoder's tensors too."""
    path = recipe.path(recipe.latents)
    tensors, metadata = torch_checkpoint.load(path)
    space, task = PaletteModel.load(path, str(device)).space, _prior(recipe, device)
    if recipe.prior.channels != space.channels:
        raise ModelError(f"{path}: latents of {space.channels} channels, [prior] has {recipe.prior.channels}")

    def encode(pictures: Tensor) -> Tensor:
        with registry.torch_defaults():  # latents are those of the codec, which never runs in bfloat16
            latents = [torch.from_numpy(space.encode(x.cpu().numpy())) for x in pictures]
        return torch.stack(latents).to(pictures.device)

    def export() -> Export:
        """Float16 weights beside those of the autoencoder."""
        ours = {**inherited_metadata(metadata), "config": recipe.prior.to_dict()}
        return with_network(tensors, "denoiser.", task.network), ours

    return replace(
        task,
        loss=LatentLoss(task.loss, encode),
        validate=lambda pictures: task.validate(encode(pictures)),
        export=export,
    )


def _prior_student(recipe: Recipe, device: torch.device) -> Task:
    """A prior for few steps, in the file of the prior that teaches it, whose own tensors stay to the bit."""
    with as_file(registry.shipped_weights(Method.PROGRESSIVE)) as shipped:
        path = recipe.teacher or shipped
        tensors, metadata = torch_checkpoint.load(path)
        prior, former = Prior.load_pair(path)
    student = placed((former or widened(prior)).train().requires_grad_(True), device)
    origin = placed(widened(prior), device).requires_grad_(False)
    teacher, lpips = copy.deepcopy(student).requires_grad_(False), load_lpips(recipe, device)

    def export() -> Export:
        return with_student(tensors, student), metadata | {"student": {"recipe": recipe.name}}

    validate = partial(validation.finishes_by_steps, student, lpips=lpips)
    return Task(student, LeapLoss(student, teacher, origin), validate, export, ("loss", "squares"), teacher)


_TASKS: Final[dict[str, Callable[[Recipe, torch.device], Task]]] = {
    "codec": _codec, "prior": _prior, "autoencoder": _autoencoder, "latent-prior": _latent_prior, "adapter": _adapter,
    "student": student_task, "prior-student": _prior_student, "sampler": sampler_task, "fast": fast_task,
}  # fmt: skip
