"""A codec under test: a pair of functions, from pixels to a whole file and back, with the settings to measure it at.

Every codec gets the same pixels, uint8 (h, w, 3) RGB: grey becomes three equal channels, 16 bit become 8, and alpha is
dropped, because the old formats of the comparison have none. Its rate is the size of the file, header and all.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import regrain
from regrain import registry
from regrain.errors import ModelError
from regrain.loading import thread_count
from regrain_lab.evaluation.table import DecodeSetting, Series

if TYPE_CHECKING:
    from regrain.bitstream import Method, Stream
    from regrain.options import DecodeOptions

__all__ = ["AS_STORED", "REGRAIN", "BenchmarkCodec", "DecodeSetting", "Pixels", "regrain_codec"]

REGRAIN = "regrain"
_DEFAULT_RECIPE = "default"
_ON_CPU = ("cpu", "onnx")
Pixels = NDArray[np.uint8]

AS_STORED = DecodeSetting()
"""The only way to decode a file of a codec without choices."""


@dataclass(frozen=True)
class BenchmarkCodec:
    """A codec with its options fixed, to be measured at `settings`, smallest files first.

    `encode(pixels, setting)` gives a whole file and `decode(file, decode_setting)` pixels (h, w, 3) of the same shape;
    both may raise. `version()` names the program, empty where it is missing. `fingerprint` is of the weights, empty
    for a codec without. `threads` says how many the codec uses, None for as many as the machine has. `stages` are
    filled by a codec that times its own: seconds of the last call by name, `analyse` of encoding (pixels to latents)
    and `symbols` of decoding (the file to latents).

    An encoder that may be missing names the `package` to install. `qualities` are all settings that it takes, from the
    smallest file to the largest.
    """

    name: str
    version: Callable[[], str]
    settings: Sequence[float]
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes, DecodeSetting], Pixels]
    options: str = ""
    fingerprint: str = ""
    threads: int | None = 1
    decode_settings: Sequence[DecodeSetting] = (AS_STORED,)
    stages: dict[str, float] = field(default_factory=dict, compare=False)
    qualities: range = range(0)
    package: str = ""

    @property
    def thread_count(self) -> int:
        """The number of threads that the codec uses on this machine."""
        return self.threads or os.cpu_count() or 1

    def installed(self) -> bool:
        """Whether the codec can run here."""
        return bool(self.version())

    def series(self, decode_setting: DecodeSetting) -> Series:
        """The curve of this codec where its files are decoded so."""
        return Series(self.name, self.version(), self.options, *decode_setting, self.fingerprint)


def regrain_codec(
    model: registry.Codec,
    qualities: Sequence[float],
    decode_settings: Sequence[DecodeSetting],
    weights: Path | None = None,
) -> BenchmarkCodec:
    """Regrain with the weights of `model`, which were read from the file `weights`, None for the package's.

    Its fingerprint is that of the latents, a dash, and one of the whole file. Its options name the recipe of the
    weights, if that is not the default one, and the device, if that is no CPU.
    """
    options = [model.recipe] * (model.recipe != _DEFAULT_RECIPE) + [model.device] * (model.device not in _ON_CPU)
    stages: dict[str, float] = {}
    timed = _TimedModel(model, stages, model.method, model.fingerprint, model.recipe, model.device)
    return BenchmarkCodec(
        name=REGRAIN,
        version=lambda: regrain.__version__,
        settings=sorted(set(qualities)),
        encode=partial(_encode, timed),
        decode=partial(_decode, timed),
        options=" ".join(options),
        fingerprint=_fingerprint(model, weights),
        threads=_threads(model.device),
        decode_settings=decode_settings,
        stages=stages,
    )


def _encode(model: registry.Codec, pixels: Pixels, setting: float) -> bytes:
    return regrain.encode(pixels, quality=setting, model=model)


def _decode(model: registry.Codec, data: bytes, decode_setting: DecodeSetting) -> Pixels:
    choices = {name: value for name, value in decode_setting._asdict().items() if value is not None}
    return np.asarray(regrain.decode(data, **choices, model=model).convert("RGB"))


@dataclass(frozen=True)
class _TimedModel:
    """A model that writes down the seconds of its stages, and otherwise does what `model` does.

    The conditional codec's rooms are imported late, so that the first calls of other codecs do not wait for them.
    """

    model: registry.Codec
    stages: dict[str, float]
    method: "Method"
    fingerprint: bytes
    recipe: str
    device: str

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> registry.Prepared:
        start = perf_counter()
        prepared = self.model.prepare(pixels, tile)
        self.stages["analyse"] = perf_counter() - start
        return prepared

    def decode(self, stream: "Stream", options: "DecodeOptions") -> NDArray[np.uint8]:
        from regrain.conditional.codec import ConditionalModel
        from regrain.conditional.decode import decode_latents, reconstruct

        if not isinstance(self.model, ConditionalModel):
            return self.model.decode(stream, options)
        header, start = stream.header, perf_counter()
        size = header.height, header.width
        y_hat = decode_latents(
            self.model.latents, stream.tiles, size, header.quality, header.tile, partial=options.partial
        )
        self.stages["symbols"] = perf_counter() - start
        return reconstruct(self.model.denoiser, y_hat, size, header.quality, options, grey=header.grey)


def _threads(device: str) -> int:
    if device == "onnx":
        return thread_count()
    import torch

    return torch.get_num_threads()


def _fingerprint(model: registry.Codec, weights: Path | None) -> str:
    """The fingerprint of latents, and that of the file: rows of another denoiser of the same latents are others."""
    latents = model.fingerprint.hex()
    with suppress(ModelError):
        path = weights or registry.shipped_weights(model.method, model.fingerprint)
        return f"{latents}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    return latents
