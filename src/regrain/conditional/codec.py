"""The conditional codec, ready for use: its context model, its networks, and the picture's road through both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Method, Stream
from regrain.conditional.config import SAMPLING_SCHEDULE, ModelConfig
from regrain.conditional.context_model import ContextModel
from regrain.conditional.decode import decode_latents, reconstruct
from regrain.conditional.encode import analysis_transform, encode_tiles
from regrain.conditional.networks import Context, Image, Networks
from regrain.diffusion import schedule
from regrain.entropy.integer import QUALITY_TOP
from regrain.errors import ModelError, UsageError
from regrain.onnx import weights
from regrain.onnx.network import matrix_product
from regrain.options import DecodeOptions

__all__ = ["Model", "Prepared"]


@dataclass(frozen=True)
class Prepared:
    """A picture's latents y (C, H, W): what is heavy is done, and does not depend on quality."""

    model: ContextModel
    y: Image
    tile: int

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile, at quality q times 256."""
        return encode_tiles(self.model, self.y, quality, self.tile)


@dataclass(frozen=True)
class Model:
    """Weights ready for use, as `regrain.load` returns them.

    `recipe` is the name of the one that trained them, `fingerprint` the latent fingerprint, 4 bytes.
    """

    config: ModelConfig
    recipe: str
    fingerprint: bytes
    networks: Networks
    latents: ContextModel
    method = Method.CONDITIONAL

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @property
    def device(self) -> str:
        """Where the networks run: "onnx", or a device of torch's."""
        return self.networks.device

    @property
    def init_noise(self) -> float:
        """Standard deviation of x_1 at realism 1, of weights without a sampler."""
        return self.config.init_noise

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
        arrays, about = weights.load(path)
        try:
            return cls.build(arrays, about.get("config"), device, weights.text(about, "recipe"))
        except (KeyError, ModelError, UsageError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"{path}: not weights of the conditional codec: {reason}") from None

    @classmethod
    def build(
        cls, arrays: dict[str, NDArray[Any]], config: object, device: str | None = None, recipe: str = ""
    ) -> Self:
        """The model of a file's arrays. Raises ModelError, UsageError or KeyError where they are of another shape."""
        shape = ModelConfig.from_dict(config)
        networks = _networks(arrays, shape, device)
        own = {name: array for name, array in arrays.items() if name.startswith("latents.")}
        return cls(
            config=shape,
            recipe=recipe,
            fingerprint=weights.fingerprint(own),
            networks=networks,
            latents=ContextModel(arrays, shape.transform, networks, matrix_product()),
        )

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); tile in pixels."""
        return Prepared(self.latents, analysis_transform(self.networks, pixels), tile)

    def decode(self, stream: Stream, options: DecodeOptions) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode."""
        header = stream.header
        size, quality = (header.height, header.width), header.quality
        y_hat = decode_latents(self.latents, stream.tiles, size, quality, header.tile, partial=options.partial)
        return reconstruct(self, y_hat, size, quality, options, grey=header.grey)

    def samples(self, realism: float) -> bool:
        """Whether pictures at this realism are drawn by the sampler; without one the denoiser makes them all."""
        return self.config.sampler and realism > 0

    def schedule(self, realism: float) -> schedule.Schedule:
        """The noise schedule of decoding at this realism."""
        return schedule.get(SAMPLING_SCHEDULE if self.samples(realism) else self.config.schedule)

    def context(self, y_hat: Image, quality: int, realism: float) -> Context | None:
        """What the sampler computes of latents (C, H, W) once for all steps; None where it does not draw."""
        if not self.samples(realism):
            return None
        return self.networks.sampling_context(y_hat, quality / QUALITY_TOP, realism)

    def start(self, noise: Image, context: Context | None, realism: float) -> Image:
        """x_1 (3, 16 H, 16 W) of standard normal noise of the same shape."""
        if context is None:
            return noise * np.float32(realism * self.init_noise)
        alpha, sigma = self.schedule(realism).at(1.0)
        return np.float32(alpha) * context.sketch + np.float32(sigma) * noise

    def denoise(
        self, x_t: Image, t: float, y_hat: Image, quality: int, realism: float, context: Context | None
    ) -> Image:
        """The estimate of x_0, in [-1, 1], from x_t (3, 16 H, 16 W) and y_hat (C, H, W)."""
        if context is None:
            x_0 = self.networks.denoise(x_t, t, y_hat, quality / QUALITY_TOP, realism)
        else:
            x_0 = self.networks.sample(x_t, t, y_hat, quality / QUALITY_TOP, realism, context)
        return x_0.clip(-1, 1)


def _networks(arrays: dict[str, NDArray[Any]], config: ModelConfig, device: str | None) -> Networks:
    """The networks on ONNX Runtime, for None and "onnx", or on a device of torch's."""
    if device in (None, "onnx"):
        from regrain.conditional.onnx_backend import OnnxNetworks

        return OnnxNetworks(arrays, config)
    from regrain.conditional.torch_backend import TorchNetworks

    return TorchNetworks.build(arrays, config, str(device))
