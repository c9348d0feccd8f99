"""The palette codec's networks on ONNX Runtime, on the CPU: the default, and it needs no torch.

    file -> arrays -> graphs (`onnx.palette`, `onnx.unconditional`) -> a latent space and a denoiser

Invariants: latents, pictures and estimates equal those of `torch_backend` with the same file, up to rounding; a file
that loads has networks that run.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regrain import checkpoint, configuration
from regrain.diffusion.unconditional_config import PriorConfig
from regrain.errors import ModelError, UsageError, quote
from regrain.image import pad_edge
from regrain.onnx import palette
from regrain.onnx.network import Network
from regrain.onnx.unconditional import Denoiser as Unconditional
from regrain.palette.autoencoder_config import HALO, STRIDE, AutoencoderConfig
from regrain.palette.model import KIND, SIDE, Image, Model, Moments

__all__ = ["DEVICE", "Denoiser", "Space", "load"]

DEVICE = "onnx"


@dataclass(frozen=True)
class Space:
    """The autoencoder of this package, with the moments of its latents."""

    channels: int
    moments: Moments
    encoder: Network
    decoder: Network
    stride: int = STRIDE
    halo: int = HALO

    def encode(self, x: Image) -> Image:
        """The posterior's mean, normalised."""
        (both,) = self.encoder(x)
        return self.moments.normalise(both[: self.channels])

    def decode(self, latents: Image) -> Image:
        """The picture."""
        (x_hat,) = self.decoder(self.moments.restore(latents))
        return x_hat.clip(-1, 1)


@dataclass(frozen=True)
class Denoiser:
    """The latent prior of this package."""

    prior: Unconditional

    def denoise(self, latents: Image, log_snr: float) -> Image:
        """One pass; sides are padded to what the network takes."""
        height, width = latents.shape[1:]
        return self.prior.denoise(pad_edge(latents, SIDE), log_snr)[:, :height, :width]


def load(path: Path) -> Model:
    """Read a weights file of this package. Raises ModelError if it is missing, damaged or of another kind."""
    arrays, about = checkpoint.load(path)
    if about.get("kind") != KIND:
        raise ModelError(f"{path}: not weights of the palette codec")
    recipe = checkpoint.text(about, "recipe")
    try:
        space = _space(arrays, about.get("autoencoder"))
        denoiser = _denoiser(arrays, about["config"], space.channels) if "config" in about else None
        _try(space, denoiser)
    except (ModelError, UsageError) as error:
        raise ModelError(f"{path}: not weights of the palette codec: {error}") from None
    own = {name: array for name, array in arrays.items() if not name.startswith("denoiser.")}
    return Model(space, denoiser, recipe, checkpoint.fingerprint(own), DEVICE)


def _space(arrays: checkpoint.Arrays, config: object) -> Space:
    """The autoencoder of a file's contents. Raises ModelError or UsageError if they do not fit."""
    shape = AutoencoderConfig.from_dict(config)
    part = checkpoint.part(arrays, "autoencoder.")
    if strangers := [name for name in part if not name.startswith(("encoder.", "decoder."))]:
        raise ModelError(f"{quote(strangers[0])} does not belong")
    _check_depth(shape, len(part))
    parts = [checkpoint.part(part, prefix) for prefix in ("encoder.", "decoder.")]
    encoder = palette.encoder(parts[0], shape.channels, shape.encoder, shape.encoder_depths)
    decoder = palette.decoder(parts[1], shape.channels, shape.decoder, shape.decoder_depths, shape.half)
    return Space(shape.channels, Moments.of(arrays, shape.channels), encoder, decoder)


def _denoiser(arrays: checkpoint.Arrays, config: object, channels: int) -> Denoiser:
    """The denoiser of a file's contents. Raises ModelError or UsageError if they do not fit."""
    shape, part = PriorConfig.from_dict(config), checkpoint.part(arrays, "denoiser.")
    _check_depth(shape, len(part))
    prior = Unconditional(shape, part)
    if shape.channels != channels:
        raise UsageError(f"a denoiser of {shape.channels} channels for latents of {channels}")
    return Denoiser(prior)


def _check_depth(config: object, tensors: int) -> None:
    """Raise ModelError for a configuration of more layers than there are tensors, before they are looked for."""
    if (layers := configuration.depth(config)) > tensors:
        raise ModelError(f"{layers} layers, and {tensors} tensors for them")


def _try(space: Space, denoiser: Denoiser | None) -> None:
    """Run every network once, on a few values. Raises ModelError where one does not run."""
    latents = space.encode(np.zeros((3, space.stride, space.stride), np.float32))
    space.decode(latents)
    if denoiser is not None:
        denoiser.denoise(latents, 0.0)
