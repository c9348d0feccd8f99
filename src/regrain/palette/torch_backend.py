"""The palette codec's networks on torch: for GPUs, and for training, whose results `freeze` turns into a file.

Networks see tensors on their device; what comes in and goes out are NumPy arrays, as `model` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regrain import configuration, torch_checkpoint
from regrain.diffusion.prior import Prior
from regrain.errors import ModelError, UsageError
from regrain.image import pad_edge
from regrain.palette import pipelines
from regrain.palette.autoencoder import Autoencoder
from regrain.palette.autoencoder_config import HALO, STRIDE, AutoencoderConfig
from regrain.palette.model import KIND, SIDE, Image, Model, Moments

__all__ = ["Denoiser", "Space", "build", "fingerprint", "freeze", "load", "load_pipeline"]

STRIDE_MOST = 64
"""Pixels to a latent, that the smallest tile has one."""


@dataclass(frozen=True)
class Space:
    """The autoencoder of this package, with the moments of its latents."""

    network: Autoencoder
    moments: Moments
    device: torch.device
    stride: int = STRIDE
    halo: int = HALO

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.network.config.channels

    @torch.no_grad()
    def encode(self, x: Image) -> Image:
        """The posterior's mean, normalised."""
        mean = self.network.encode(_batch(x, self.device))[0][0]
        return self.moments.normalise(mean.cpu().numpy())

    @torch.no_grad()
    def decode(self, latents: Image) -> Image:
        """The picture."""
        x_hat: Image = self.network.decode(_batch(self.moments.restore(latents), self.device))[0].cpu().numpy()
        return x_hat.clip(-1, 1)


@dataclass(frozen=True)
class Denoiser:
    """The latent prior of this package."""

    prior: Prior
    device: torch.device

    @torch.no_grad()
    def denoise(self, latents: Image, log_snr: float) -> Image:
        """One pass; sides are padded to what the network takes."""
        height, width = latents.shape[1:]
        batch = _batch(pad_edge(latents, SIDE), self.device)
        clean: Image = self.prior.denoise(batch, batch.new_full((1,), log_snr))[0].cpu().numpy()
        return clean[:, :height, :width]


def load(path: Path, device: str | None = None) -> Model:
    """Read a weights file of this package. Raises ModelError if it is missing, damaged or of another kind."""
    tensors, metadata = torch_checkpoint.load(path)
    if metadata.get("kind") != KIND:
        raise ModelError(f"{path}: not weights of the palette codec")
    where = torch.device(device or "cpu")
    try:
        space, denoiser = build(tensors, metadata, where)
    except (ModelError, UsageError) as error:
        raise ModelError(f"{path}: not weights of the palette codec: {error}") from None
    return Model(space, denoiser, str(metadata.get("recipe", "")), fingerprint(tensors), str(where))


def load_pipeline(path: Path, device: str | None = None) -> Model:
    """A Stable Diffusion's folder or hub id. Raises ModelError as `pipelines.load`, and for very wide strides."""
    pipeline = pipelines.load(path, device)
    if (stride := pipeline.autoencoder.stride) > STRIDE_MOST:
        raise ModelError(f"{path}: an autoencoder with {stride} pixels to a latent: up to {STRIDE_MOST} are allowed")
    where = torch.device(device or "cpu")
    return Model(pipeline.autoencoder, pipeline.denoiser, pipeline.name, pipeline.fingerprint, str(where))


def build(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: torch.device
) -> tuple[Space, Denoiser | None]:
    """The networks of a file's contents. Raises ModelError or UsageError if they do not fit."""
    config = AutoencoderConfig.from_dict(metadata.get("autoencoder"))
    autoencoder = torch_checkpoint.network(
        lambda: Autoencoder(config), tensors, "autoencoder.", layers=configuration.depth(config)
    )
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items() if name.startswith("moments.")}
    space = Space(autoencoder.to(device), Moments.of(arrays, config.channels), device)
    if "config" not in metadata:
        return space, None
    prior = Prior.filled(metadata["config"], tensors, "denoiser.")
    if prior.config.channels != space.channels:
        raise UsageError(f"a denoiser of {prior.config.channels} channels for latents of {space.channels}")
    return space, Denoiser(prior.to(device), device)


def freeze(network: Autoencoder, shift: Tensor, scale: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an autoencoder that ship, float16 and its moments, and what their file says of them."""
    tensors = {f"autoencoder.{name}": tensor.half() for name, tensor in network.state_dict().items()}
    tensors |= {"moments.shift": shift.float(), "moments.scale": scale.float()}
    return tensors, {
        "kind": KIND,
        "autoencoder": network.config.to_dict(),
        "latent_fingerprint": fingerprint(tensors).hex(),
    }


def fingerprint(tensors: Mapping[str, Tensor]) -> bytes:
    """4 bytes over the autoencoder and its moments: all but the denoiser."""
    return torch_checkpoint.fingerprint(
        {name: tensor for name, tensor in tensors.items() if not name.startswith("denoiser.")}
    )


def _batch(picture: Image, device: torch.device) -> Tensor:
    return torch.from_numpy(picture)[None].to(device).contiguous(memory_format=torch.channels_last)
