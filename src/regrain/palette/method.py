"""The palette codec as `codec` sees it: payloads of a picture at any quality, and the picture of payloads."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Stream
from regrain.diffusion.budget import Budget
from regrain.errors import UsageError
from regrain.palette.decode import decode_tiles, regrow
from regrain.palette.encode import encoder
from regrain.palette.model import Model
from regrain.palette.repair import Repair

__all__ = ["decode", "encoder", "load"]

STRENGTH: Final = 0.5
"""Of the repair at realism 1: at full strength pictures are smoother, and no nearer to the original."""
ONNX: Final = "onnx"
"""The device's name: ONNX Runtime."""
EXTRAS: Final = {"torch": "torch", "onnxruntime": "onnx"}


def load(path: Path, device: str | None = None) -> Model:
    """A weights file of this package, or a Stable Diffusion's folder or hub id, whose networks torch runs.

    `device` is None or "onnx" for ONNX Runtime, which runs weights files, or else one of torch's; where ONNX Runtime is
    not installed None is torch's CPU. Raises ModelError for weights that cannot be used, UsageError for a device whose
    runtime is not installed.
    """
    if path.suffix != ".safetensors":
        with _needed("torch", f"{path}: a pipeline of diffusers"):
            from regrain.palette import torch_backend
        if device == ONNX:
            raise UsageError(f"{path}: ONNX Runtime runs no pipeline of diffusers: name a device of torch's, as cpu is")
        return torch_backend.load_pipeline(path, device)
    if device == ONNX or (device is None and find_spec("onnxruntime") is not None):
        with _needed("onnxruntime", f"device {ONNX!r}"):
            from regrain.palette import onnx_backend
        return onnx_backend.load(path)
    with _needed("torch", f"device {device or 'cpu'!r}"):
        from regrain.palette import torch_backend
    return torch_backend.load(path, device)


@contextmanager
def _needed(package: str, what: str) -> Iterator[None]:
    """An import of `package` that fails is a UsageError, which says how to install it."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise UsageError(f"{what} needs {package}: pip install 'regrain[{EXTRAS[package]}]'") from None


def decode(
    model: Model, stream: Stream, *, steps: int | Budget, realism: float, eta: float, seed: int, partial: bool
) -> NDArray[np.uint8]:
    """The pixels (H, W, 1 or 3) of a file; realism is how strong the repair is, 0 decodes what is stored as it is.

    Raises Corrupt naming the tile that does not decode.
    """
    header = stream.header
    size = (header.height, header.width)
    levels, channel = decode_tiles(model.space, stream.tiles, size, header.tile, partial=partial)
    how = Repair(STRENGTH * realism, steps, eta, seed)
    return regrow(model, levels, channel, size, grey=header.grey, how=how)
