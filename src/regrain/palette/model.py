"""The palette codec's weights, ready for use: an autoencoder, and a denoiser of its latents.

Whatever has the faces below will do: the small networks of this package, whose file `freeze` fills, or those of a
Stable Diffusion pipeline (`pipelines`). Latents are normalised: about N(0, 1) in each channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import torch
from torch import Tensor

from regrain import checkpoint
from regrain.bitstream import Method
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.errors import ModelError, UsageError
from regrain.image import pad_edge
from regrain.layers import with_weights
from regrain.palette.autoencoder import STRIDE, Autoencoder, AutoencoderConfig

__all__ = ["KIND", "LatentDenoiser", "LatentSpace", "Model", "build", "freeze"]

KIND: Final = "palette"
SIDE: Final = 4
"""Sides of latents that the denoiser takes are multiples of this."""


class LatentSpace(Protocol):
    """An autoencoder."""

    @property
    def channels(self) -> int:
        """Of latents."""

    @property
    def stride(self) -> int:
        """Pixels to a latent."""

    @property
    def halo(self) -> int:
        """Latents around a window that suffice."""

    def encode(self, x: Tensor) -> Tensor:
        """x (3, H, W) in [-1, 1], sides multiples of the stride -> normalised latents (channels, H', W')."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (channels, H', W') -> the picture (3, H, W), clamped to [-1, 1]."""


class LatentDenoiser(Protocol):
    """A denoiser of normalised latents."""

    def denoise(self, latents: Tensor, log_snr: float) -> Tensor:
        """The estimate of z_0 from z_t = alpha_t z_0 + sigma_t eps, (channels, h, w) both."""


@dataclass(frozen=True)
class Space:
    """The autoencoder of this package, with the moments of its latents."""

    network: Autoencoder
    shift: Tensor
    scale: Tensor
    device: torch.device
    stride: int = STRIDE
    halo: int = 8

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.network.config.channels

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean, normalised."""
        mean = self.network.encode(_batch(x, self.device))[0][0].cpu()
        return (mean - self.shift[:, None, None]) / self.scale[:, None, None]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The picture."""
        raw = latents * self.scale[:, None, None] + self.shift[:, None, None]
        return self.network.decode(_batch(raw, self.device))[0].clamp(-1, 1).cpu()


@dataclass(frozen=True)
class Denoiser:
    """The latent prior of this package."""

    prior: Prior
    device: torch.device

    @torch.no_grad()
    def denoise(self, latents: Tensor, log_snr: float) -> Tensor:
        """One pass; sides are padded to what the network takes."""
        height, width = latents.shape[1:]
        batch = _batch(torch.from_numpy(pad_edge(latents.numpy(), SIDE)), self.device)
        clean = self.prior.denoise(batch, batch.new_full((1,), log_snr))[0]
        return clean[:, :height, :width].cpu()


@dataclass(frozen=True)
class Model:
    """Weights as `regrain.load` returns them; the fingerprint, 4 bytes, is that of the autoencoder."""

    space: LatentSpace
    denoiser: LatentDenoiser | None
    recipe: str
    fingerprint: bytes
    device: torch.device
    method = Method.PALETTE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a weights file of this package. Raises ModelError if it is missing, damaged or of another kind."""
        tensors, metadata = checkpoint.load(path)
        if metadata.get("kind") != KIND:
            raise ModelError(f"{path}: not weights of the palette codec")
        where = torch.device(device or "cpu")
        try:
            space, denoiser = build(tensors, metadata, where)
        except (KeyError, TypeError, RuntimeError, UsageError) as error:
            raise ModelError(f"{path}: not weights of the palette codec: {str(error).splitlines()[0]}") from None
        return cls(space, denoiser, str(metadata.get("recipe", "")), fingerprint(tensors), where)


def build(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: torch.device
) -> tuple[Space, Denoiser | None]:
    """The networks of a file's contents. Raises KeyError, TypeError, RuntimeError or UsageError if they do not fit."""
    shape = AutoencoderConfig.from_dict(metadata["autoencoder"])
    network = with_weights(lambda: Autoencoder(shape), _part(tensors, "autoencoder.")).to(device)
    space = Space(network, tensors["moments.shift"].float(), tensors["moments.scale"].float(), device)
    if not space.shift.shape == space.scale.shape == (space.channels,):
        raise UsageError(f"moments of {tuple(space.shift.shape)} channels for latents of {space.channels}")
    if "config" not in metadata:
        return space, None
    config = PriorConfig.from_dict(metadata["config"])
    if config.channels != space.channels:
        raise UsageError(f"a denoiser of {config.channels} channels for latents of {space.channels}")
    return space, Denoiser(with_weights(lambda: Prior(config), _part(tensors, "denoiser.")).to(device), device)


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
    return checkpoint.fingerprint(
        {name: tensor for name, tensor in tensors.items() if not name.startswith("denoiser.")}
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _batch(picture: Tensor, device: torch.device) -> Tensor:
    return picture[None].to(device).contiguous(memory_format=torch.channels_last)
