"""The progressive codec as `codec` calls it: the payloads of a picture at any quality, and the picture of payloads.

Quality is the number of steps and nothing else: a file of lower quality is the beginning of one of higher quality.
"""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Stream, step_count
from regrain.diffusion.budget import Budget
from regrain.errors import Corrupt
from regrain.progressive.decode import receive, reconstruct
from regrain.progressive.encode import stream as encoded_steps
from regrain.progressive.model import Model
from regrain.progressive.reverse_process import DecodeOptions

__all__ = ["decode", "encoder", "load"]

log = logging.getLogger(__name__)


def load(path: Path, device: str | None = None) -> Model:
    """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind.

    The network runs on ONNX Runtime where `device` is None or "onnx", and otherwise on torch's device of that name;
    where ONNX Runtime is not installed, None is torch's CPU.
    """
    if device == "onnx" or (device is None and find_spec("onnxruntime") is not None):
        from regrain.progressive import onnx_backend

        return onnx_backend.load(path)
    from regrain.progressive import torch_backend

    return torch_backend.load(path, device or "cpu")


def encoder(model: Model, pixels: NDArray[np.uint8], tile: int) -> Callable[[int], list[bytes]]:
    """pixels (H, W, 1 or 3) -> (quality q times 256 -> one payload a step); no step is computed twice."""
    coming, done = (step.payload for step in encoded_steps(model, pixels, tile)), list[bytes]()

    def at(quality: int) -> list[bytes]:
        """The first steps."""
        done.extend(islice(coming, max(0, step_count(quality) - len(done))))
        return done[: step_count(quality)]

    return at


def decode(
    model: Model, stream: Stream, *, steps: int | Budget, realism: float, eta: float, seed: int, partial: bool
) -> NDArray[np.uint8]:
    """The pixels (H, W, 1 or 3) of a file or, if `partial`, of its first steps that are whole.

    Realism 0 is the estimate of x_0 in one step; `seed` names the noise that eta > 0 adds. Raises Corrupt naming the
    step that does not decode.
    """
    whole = [payload for payload in takewhile(lambda part: part is not None, stream.tiles) if payload is not None]
    if not whole:
        raise Corrupt("latents, step 0: cut off or damaged")
    header = stream.header
    size = (header.height, header.width)
    x_t, received = receive(model, whole, size, header.tile, partial=partial)
    if received < len(stream.tiles):
        log.warning("latents: %d of %d steps are whole and decoded", received, len(stream.tiles))
    options = DecodeOptions(steps if realism else 1, eta, seed)
    return reconstruct(model, x_t, received, size, grey=header.grey, options=options)
