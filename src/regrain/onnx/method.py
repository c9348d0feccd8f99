"""The conditional codec without torch as `codec` sees it: the picture of payloads, and no payloads of pictures."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Stream
from regrain.diffusion.budget import Budget
from regrain.errors import UsageError
from regrain.onnx.decode import decode_tiles, regrow
from regrain.onnx.model import Model

__all__ = ["decode", "encoder", "load"]

load = Model.load


def encoder(model: Model, pixels: NDArray[np.uint8], tile: int) -> Callable[[int], list[bytes]]:
    """Raises UsageError: encoding is left to torch."""
    raise UsageError("encoding needs torch (pip install torch); ONNX Runtime decodes alone")


def decode(
    model: Model, stream: Stream, *, steps: int | Budget, realism: float, eta: float, seed: int, partial: bool
) -> NDArray[np.uint8]:
    """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode."""
    header = stream.header
    size, quality = (header.height, header.width), header.quality
    y_hat = decode_tiles(model, stream.tiles, size, quality, header.tile, partial=partial)
    return regrow(model, y_hat, size, quality, grey=header.grey, steps=steps, realism=realism, eta=eta, seed=seed)
