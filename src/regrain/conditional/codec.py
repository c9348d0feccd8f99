"""The conditional codec, ready for use: its context model, its networks, and the picture's road through both."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import NDArray

from regrain import adapter, checkpoint
from regrain.bitstream import Header, Method, Stream
from regrain.checkpoint import Arrays
from regrain.conditional.config import STRIDE, ModelConfig
from regrain.conditional.context_model import ContextModel
from regrain.conditional.dct import REDUCTION_CHANNELS, reduced_picture
from regrain.conditional.decode import HALO, decode_latents, reconstruct
from regrain.conditional.denoising import Denoiser, FastDenoiser
from regrain.conditional.encode import analysis_transform, encode_tiles
from regrain.conditional.grid import Region, latent_size
from regrain.conditional.latents import Latents, coded_latents
from regrain.conditional.networks import Image, Networks
from regrain.conditional.refine import refine
from regrain.errors import ModelError, UsageError
from regrain.image import to_bytes
from regrain.loading import TURN
from regrain.onnx.network import matrix_product
from regrain.options import DecodeOptions
from regrain.shipped import shipped_weights

if TYPE_CHECKING:
    from regrain.conditional.torch_backend import TorchNetworks

__all__ = ["ConditionalModel", "Prepared"]

MARGIN_STEPS = 4
"""Each step reads a halo around what it writes; that of more steps than these changes no pixel by more than a level."""


@dataclass(frozen=True)
class Prepared:
    """A picture's latents y (C, H, W): what is heavy is done, and does not depend on quality."""

    model: "ConditionalModel"
    pixels: NDArray[np.uint8]
    y: Image
    tile: int

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile, at quality q times 256."""
        with _quiet():
            return encode_tiles(self.model.latents, self.y, quality, self.tile)

    def latents(self, quality: int) -> Latents:
        """What a file at quality q times 256 would hold, and the bits of each place."""
        (height, width), grey = self.pixels.shape[:2], self.pixels.shape[2] == 1
        with _quiet():
            arrays = coded_latents(self.model.latents, self.y, quality, self.tile)
        return Latents(*arrays, width, height, quality / 256, grey, self.model.fingerprint)

    def refined(self, quality: int, iterations: int) -> Iterator[tuple[float, Self]]:
        """See `registry.Refinable`."""
        model = self.model
        decoder = cast("TorchNetworks", model.denoiser.networks)
        if model.device == "onnx":
            decoder = _torch_networks(model.arrays, model.config, "cpu")
        with _quiet():
            for trial in refine(model.latents, decoder, self.y, self.pixels, quality, self.tile, iterations):
                yield trial.gain, replace(self, y=trial.y)


@dataclass(frozen=True)
class ConditionalModel:
    """Weights ready for use, as `regrain.load` returns them.

    `recipe` is the name of the one that trained them, `fingerprint` the latent fingerprint, 4 bytes.
    """

    config: ModelConfig
    recipe: str
    fingerprint: bytes
    latents: ContextModel
    denoiser: Denoiser
    arrays: Arrays
    method = Method.CONDITIONAL

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @property
    def device(self) -> str:
        """Where the networks run: "onnx", or a device of torch's."""
        return self.denoiser.networks.device

    @classmethod
    def load(cls, path: Path, device: str | None = None, base: Path | None = None) -> Self:
        """Read a shipped weights file, or an adapter of the one at `base`, by default of the package's that it names.

        Raises ModelError if one is missing, damaged or of another kind.
        """
        arrays: Arrays
        arrays, about = checkpoint.load(path)
        try:
            if (fingerprint := adapter.base_fingerprint(about)) is not None:
                with nullcontext(base) if base else as_file(shipped_weights(cls.method, fingerprint)) as where:
                    arrays, about = adapter.load_adapted(where, arrays, about)
            return cls.build(arrays, about.get("config"), device, checkpoint.text(about, "recipe"))
        except (KeyError, ModelError, UsageError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"{path}: not weights of the conditional codec: {reason}") from None

    @classmethod
    def build(cls, arrays: Arrays, config: object, device: str | None = None, recipe: str = "") -> Self:
        """The model of a file's arrays. Raises ModelError, UsageError or KeyError where they are of another shape."""
        shape = ModelConfig.from_dict(config)
        networks = _networks(arrays, shape, device)
        own = {name: array for name, array in arrays.items() if name.startswith("latents.")}
        return cls(
            config=shape,
            recipe=recipe,
            fingerprint=checkpoint.fingerprint(own),
            latents=ContextModel(arrays, shape.transform, networks, matrix_product()),
            denoiser=Denoiser(shape, networks),
            arrays=arrays,
        )

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); tile in pixels."""
        with _quiet():
            return Prepared(self, pixels, analysis_transform(self.denoiser.networks, pixels), tile)

    def decode(self, stream: Stream, options: DecodeOptions) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode."""
        header = stream.header

        def read(area: Region, channels: int) -> Image:
            return decode_latents(
                self.latents, stream.tiles, (header.height, header.width), header.quality, header.tile,
                partial=options.partial, area=area, channels=channels, missing=options.missing,
            )  # fmt: skip

        return self._pixels(read, header, options, self._denoiser(options))

    def draw(self, latents: Latents, options: DecodeOptions, denoiser: Denoiser | None = None) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of latents, by another denoiser if one is given. Raises UsageError as `checked`."""
        y_hat = latents.checked(self.config.transform.latent)

        def read(area: Region, channels: int) -> Image:
            return y_hat[:channels, *area.latents]

        return self._pixels(read, latents.header, options, denoiser or self._denoiser(options))

    def _denoiser(self, options: DecodeOptions) -> Denoiser:
        """What draws under these options. Raises UsageError where a fast decoder is asked for and there is none."""
        return FastDenoiser.of(self.denoiser) if options.fast else self.denoiser

    def _pixels(
        self, read: Callable[[Region, int], Image], header: Header, options: DecodeOptions, denoiser: Denoiser
    ) -> NDArray[np.uint8]:
        """The pixels that the options name; `read` gives y_hat of an area in so many of the first channels."""
        channels = self.config.transform.latent
        with _quiet():
            if options.reduction > 1:
                return _reduced(read, min(REDUCTION_CHANNELS[options.reduction], channels), header, options.reduction)
            area = _area_of(header, options)
            y_hat = read(area, channels)
            pixels = _draw(denoiser, y_hat, area, header, options)
            if options.realism_map is None:
                return pixels
            faithful = _draw(denoiser, y_hat, area, header, replace(options, realism=0.0, steps=1))
            return _mix(pixels, faithful, options.cut(options.realism_map))


def _reduced(read: Callable[[Region, int], Image], channels: int, header: Header, reduction: int) -> NDArray[np.uint8]:
    """A thumbnail, from the first channels of the latents alone."""
    rows, columns = latent_size(header.height, header.width)
    height, width = (-(-side // reduction) for side in (header.height, header.width))
    y_hat = read(Region(0, rows, 0, columns), channels)
    return to_bytes(reduced_picture(y_hat, reduction)[:, :height, :width], header.grey)


def _draw(denoiser: Denoiser, y_hat: Image, area: Region, header: Header, options: DecodeOptions) -> NDArray[np.uint8]:
    """The pixels of the box of the options from y_hat of the area around it."""
    left, top, width, height = _box(header, options)
    top, left = top - area.top * STRIDE, left - area.left * STRIDE
    bottom, right = min(area.bottom * STRIDE, header.height), min(area.right * STRIDE, header.width)
    size, origin = (bottom - area.top * STRIDE, right - area.left * STRIDE), (area.top, area.left)
    pixels = reconstruct(denoiser, y_hat, size, header.quality, options, grey=header.grey, origin=origin)
    return pixels[top : top + height, left : left + width]


def _box(header: Header, options: DecodeOptions) -> tuple[int, int, int, int]:
    """The region of the options, or the whole picture: left, top, width and height."""
    return options.region or (0, 0, header.width, header.height)


def _area_of(header: Header, options: DecodeOptions) -> Region:
    """The latents that the box of the options is drawn from: its own, and those that its steps see around it."""
    steps = options.steps if isinstance(options.steps, int) else MARGIN_STEPS
    rows, columns = latent_size(header.height, header.width)
    return Region.around(_box(header, options), HALO * min(steps, MARGIN_STEPS), rows, columns)


def _mix(drawn: NDArray[np.uint8], faithful: NDArray[np.uint8], weights: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(w drawn + (255 - w) faithful) / 255, rounded, in the place of `drawn`, row by row, which takes little memory."""
    for row, other, weight in zip(drawn, faithful, weights[..., None].astype(np.uint16), strict=True):
        row[...] = (row * weight + other * (255 - weight) + 127) // 255
    return drawn


def _quiet() -> np.errstate:
    """NumPy without a warning where weights that are broken, though of the right shape, lead to infinity or NaN.

    It is without errors, too, where the caller has asked NumPy to raise them, and a tiny realism underflows.
    """
    return np.errstate(all="ignore")


def _networks(arrays: Arrays, config: ModelConfig, device: str | None) -> Networks:
    """The networks on ONNX Runtime, for None and "onnx", or on a device of torch's."""
    if device in (None, "onnx"):
        from regrain.conditional.onnx_backend import OnnxNetworks

        return OnnxNetworks(arrays, config)
    return _torch_networks(arrays, config, str(device))


def _torch_networks(arrays: Arrays, config: ModelConfig, device: str) -> "TorchNetworks":
    """The networks on torch, which is imported now."""
    with TURN:
        from regrain.conditional.torch_backend import TorchNetworks

        return TorchNetworks.build(arrays, config, device)
