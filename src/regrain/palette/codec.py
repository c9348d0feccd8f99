"""The palette codec, ready for use: payloads of a picture at any quality, and the picture of payloads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from regrain import checkpoint, configuration
from regrain.bitstream import Method, Stream
from regrain.checkpoint import Arrays
from regrain.diffusion.unconditional_config import SIDE, PriorConfig
from regrain.errors import ModelError, UsageError
from regrain.options import DecodeOptions
from regrain.palette.decode import decode_tiles, reconstruct
from regrain.palette.encode import Prepared, analyse
from regrain.palette.model import AutoencoderConfig, LatentDenoiser, LatentSpace, Network, check_networks, moments
from regrain.palette.sections import to_levels
from regrain.tiles import places

__all__ = ["KIND", "PaletteModel"]

KIND: Final = "palette"
ONNX: Final = "onnx"


@dataclass(frozen=True)
class PaletteModel:
    """Weights ready for use, as `regrain.load` returns them; the fingerprint, 4 bytes, is that of the autoencoder.

    `device` is "onnx", or one of torch's. The denoiser may change under a file.
    """

    space: LatentSpace
    denoiser: LatentDenoiser | None
    recipe: str
    fingerprint: bytes
    device: str
    method = Method.PALETTE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """A weights file of this package, or a Stable Diffusion's folder or hub id, whose networks torch runs.

        `device` is None or "onnx" for ONNX Runtime, which runs weights files, or else one of torch's. Raises ModelError
        for weights that cannot be used, UsageError for a device or a runtime that cannot run them.
        """
        pipeline = path.suffix != ".safetensors" and not path.is_file()
        if pipeline and device == ONNX:
            raise UsageError(f"{path}: ONNX Runtime runs no pipeline of diffusers: name a device of torch's, as cpu is")
        if pipeline:
            from regrain.palette import diffusers_adapter

            return cls(*diffusers_adapter.load(path, device or "cpu"), device or "cpu")
        arrays, about = checkpoint.load(path)
        if about.get("kind") != KIND:
            raise ModelError(f"{path}: not weights of the palette codec")
        try:
            space, denoiser = _networks(arrays, about, device or ONNX)
            check_networks(space, denoiser)
        except (ModelError, UsageError) as error:
            raise ModelError(f"{path}: not weights of the palette codec: {error}") from None
        own = {name: array for name, array in arrays.items() if not name.startswith("denoiser.")}
        return cls(space, denoiser, checkpoint.text(about, "recipe"), checkpoint.fingerprint(own), device or ONNX)

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); tile in pixels."""
        levels = to_levels(analyse(self.space, pixels))
        side = tile // self.space.stride
        return Prepared([levels[place] for place in places(levels.shape[0], levels.shape[1], side)])

    def decode(self, stream: Stream, options: DecodeOptions) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode.

        Realism is how strong the repair is; 0 decodes what is stored as it is.
        """
        header = stream.header
        size = (header.height, header.width)
        levels, channel = decode_tiles(
            self.space, stream.tiles, size, header.tile, partial=options.partial, missing=options.missing
        )
        pixels = reconstruct(self.space, self.denoiser, levels, channel, size, options, grey=header.grey)
        return options.cut(pixels)


def _networks(arrays: Arrays, about: dict[str, object], device: str) -> tuple[LatentSpace, LatentDenoiser | None]:
    """The networks of a file's contents. Raises ModelError or UsageError if they do not fit."""
    config = configuration.read(AutoencoderConfig, about.get("autoencoder"), "autoencoder")
    encoder, decoder = _autoencoder(config, checkpoint.part(arrays, "autoencoder."), device)
    space = LatentSpace(encoder, decoder, *moments(arrays, config.channels), config.channels)
    if "config" not in about:
        return space, None
    shape = PriorConfig.from_dict(about["config"])
    if shape.channels != config.channels:
        raise UsageError(f"a denoiser of {shape.channels} channels for latents of {config.channels}")
    return space, _denoiser(shape, checkpoint.part(arrays, "denoiser."), device)


def _autoencoder(config: AutoencoderConfig, weights: Arrays, device: str) -> tuple[Network, Network]:
    """x (3, H, W) -> raw latents (C, H/8, W/8), and what else comes after them; raw latents -> x_hat, not clamped."""
    configuration.check_depth(config, len(weights))
    if device != ONNX:
        from regrain.palette import autoencoder

        return autoencoder.on_device(config, weights, device)
    from regrain.onnx import palette

    parts = [checkpoint.part(weights, name) for name in ("encoder.", "decoder.")]
    if sum(map(len, parts)) < len(weights):
        raise ModelError("tensors of an autoencoder that are neither its encoder's nor its decoder's")
    encoder = palette.encoder(parts[0], config.channels, config.encoder, config.encoder_depths)
    decoder = palette.decoder(parts[1], config.channels, config.decoder, config.decoder_depths, config.half)
    return lambda x: encoder(x)[0], lambda latents: decoder(latents)[0]


def _denoiser(config: PriorConfig, weights: Arrays, device: str) -> LatentDenoiser:
    if device == ONNX:
        from regrain.onnx import unconditional

        return LatentDenoiser(unconditional.Denoiser(config, weights).denoise, SIDE)
    from regrain.diffusion import prior

    return LatentDenoiser(prior.TorchDenoiser.build(config, weights, device).denoise, SIDE)
