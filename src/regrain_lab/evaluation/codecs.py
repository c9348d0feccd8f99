"""A codec under test: a pair of functions, from pixels to a whole file and back, with the settings to measure it at.

Every codec gets the same pixels, uint8 (h, w, 3) RGB: grey becomes three equal channels, 16 bit become 8, and alpha is
dropped, because the old formats of the comparison have none. Its rate is the size of the file, header and all.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import regrain
from regrain import registry
from regrain.registry import Codec
from regrain_lab.evaluation.table import Series

__all__ = ["AS_STORED", "REGRAIN", "BenchmarkCodec", "DecodeSetting", "Pixels", "regrain_codec"]

REGRAIN = "regrain"
_DEFAULT_RECIPE = "default"
_ON_CPU = ("cpu", "onnx")
Pixels = NDArray[np.uint8]


class DecodeSetting(NamedTuple):
    """How to decode one file; None where the codec has no such choice."""

    seed: int | None = None
    steps: int | None = None
    realism: float | None = None


AS_STORED = DecodeSetting()
"""The only way to decode a file of a codec without choices."""


@dataclass(frozen=True)
class BenchmarkCodec:
    """A codec with its options fixed, to be measured at `settings`, smallest files first.

    `encode(pixels, setting)` gives a whole file and `decode(file, decode_setting)` pixels (h, w, 3) of the same shape;
    both may raise. `version()` names the program, empty where it is missing. `fingerprint` is of the weights, empty
    for a codec without. `threads` says how many the codec uses, None for as many as the machine has.

    An encoder that may be missing says so by `installed()`, and names the `package` to install. `qualities` are all
    settings that it takes, from the smallest file to the largest.
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
    qualities: range = range(0)
    installed: Callable[[], bool] = lambda: True
    package: str = ""

    @property
    def thread_count(self) -> int:
        """The number of threads that the codec uses on this machine."""
        return self.threads or os.cpu_count() or 1

    def series(self, decode_setting: DecodeSetting) -> Series:
        """The curve of this codec where its files are decoded so."""
        return Series(self.name, self.version(), self.options, *decode_setting, self.fingerprint)


def regrain_codec(
    model: Codec,
    qualities: Sequence[float],
    decode_settings: Sequence[DecodeSetting],
    weights: Path | None = None,
) -> BenchmarkCodec:
    """Regrain with the weights of `model`, which were read from the file `weights` if that is known.

    Its fingerprint is that of the latents, a dash, and one of all networks. Its options name the recipe of the weights,
    if that is not the default one, and the device, if that is no CPU.
    """
    import torch

    device = str(model.device)
    options = [model.recipe] * (model.recipe != _DEFAULT_RECIPE) + [device] * (device not in _ON_CPU)
    return BenchmarkCodec(
        name=REGRAIN,
        version=lambda: regrain.__version__,
        settings=sorted(set(qualities)),
        encode=partial(_encode, model),
        decode=partial(_decode, model),
        options=" ".join(options),
        fingerprint=_fingerprint(model, weights),
        threads=torch.get_num_threads(),
        decode_settings=decode_settings,
    )


def _encode(model: Codec, pixels: Pixels, setting: float) -> bytes:
    return regrain.encode(pixels, quality=setting, model=model)


def _decode(model: Codec, data: bytes, decode_setting: DecodeSetting) -> Pixels:
    choices = {name: value for name, value in decode_setting._asdict().items() if value is not None}
    return np.asarray(regrain.decode(data, **choices, model=model).convert("RGB"))


def _fingerprint(model: Codec, weights: Path | None) -> str:
    """The fingerprint of a file names its latents alone; rows of another denoiser of theirs need one of all weights."""
    path = weights or registry.shipped_weights(model.method, model.fingerprint)
    return f"{model.fingerprint.hex()}-{hashlib.sha256(path.read_bytes()).digest()[:4].hex()}"
