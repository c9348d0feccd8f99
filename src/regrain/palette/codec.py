"""The palette codec, ready for use: payloads of a picture at any quality, and the picture of payloads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Stream
from regrain.errors import UsageError
from regrain.options import DecodeOptions
from regrain.palette.decode import decode_tiles, reconstruct
from regrain.palette.encode import tile_coders
from regrain.palette.model import Model
from regrain.palette.repair import Repair

__all__ = ["PaletteModel", "Prepared"]

STRENGTH: Final = 0.5
"""Of the repair at realism 1: at full strength pictures are smoother, and no nearer to the original."""
ONNX: Final = "onnx"
"""The device's name: ONNX Runtime."""


@dataclass(frozen=True)
class Prepared:
    """A picture's tiles, each a function from quality q times 256 to its payload; what is heavy is done."""

    coders: tuple[Callable[[int], bytes], ...]

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile."""
        return [coder(quality) for coder in self.coders]


class PaletteModel(Model):
    """Weights ready for use, as `regrain.load` returns them."""

    def default_steps(self, realism: float) -> int:
        """One, at any realism."""
        return 1

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """A weights file of this package, or a Stable Diffusion's folder or hub id, whose networks torch runs.

        `device` is None or "onnx" for ONNX Runtime, which runs weights files, or else one of torch's. Raises ModelError
        for weights that cannot be used, UsageError for a device whose runtime is not installed.
        """
        return cls(**vars(_open(path, device)))

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); tile in pixels."""
        return Prepared(tile_coders(self.space, pixels, tile))

    def decode(self, stream: Stream, options: DecodeOptions) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode.

        Realism is how strong the repair is; 0 decodes what is stored as it is.
        """
        header = stream.header
        size = (header.height, header.width)
        levels, channel = decode_tiles(self.space, stream.tiles, size, header.tile, partial=options.partial)
        repair = Repair(STRENGTH * options.realism, options.steps, options.step_noise, options.seed)
        pixels = reconstruct(self.space, self.denoiser, levels, channel, size, grey=header.grey, repair=repair)
        return options.cut(pixels)


def _open(path: Path, device: str | None) -> Model:
    if path.suffix != ".safetensors":
        with _require("torch", f"{path}: a pipeline of diffusers", "'regrain[stable-diffusion]'"):
            from regrain.palette import torch_backend
        if device == ONNX:
            raise UsageError(f"{path}: ONNX Runtime runs no pipeline of diffusers: name a device of torch's, as cpu is")
        return torch_backend.load_pipeline(path, device)
    if device in (None, ONNX):
        with _require("onnxruntime", f"device {ONNX!r}", "onnxruntime"):
            from regrain.palette import onnx_backend
        return onnx_backend.load(path)
    with _require("torch", f"device {device!r}", "'regrain[torch]'"):
        from regrain.palette import torch_backend
    return torch_backend.load(path, device)


@contextmanager
def _require(package: str, what: str, remedy: str) -> Iterator[None]:
    """An import of `package` that fails is a UsageError, which says what pip is to install: the `remedy`."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise UsageError(f"{what} needs {package}: pip install {remedy}") from None
