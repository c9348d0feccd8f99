"""The conditional codec as `codec` sees it: payloads of a picture at any quality, and the picture of payloads."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Stream
from regrain.conditional.decode import Knobs, decode_tiles, regrow
from regrain.conditional.encode import analyse, encode_tiles
from regrain.conditional.frozen import Model
from regrain.diffusion.budget import Budget

__all__ = ["decode", "encoder", "load"]

load = Model.load


def encoder(model: Model, pixels: NDArray[np.uint8], tile: int) -> Callable[[int], list[bytes]]:
    """pixels (H, W, 1 or 3) -> (quality q times 256 -> a payload a tile); what is heavy is done once."""
    y = analyse(model, pixels)
    return lambda quality: encode_tiles(model, y, quality, tile)


def decode(
    model: Model, stream: Stream, *, steps: int | Budget, realism: float, eta: float, seed: int, partial: bool
) -> NDArray[np.uint8]:
    """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode."""
    header = stream.header
    size = (header.height, header.width)
    y_hat = decode_tiles(model, stream.tiles, size, header.quality, header.tile, partial=partial)
    return regrow(model, y_hat, size, header.quality, grey=header.grey, knobs=Knobs(steps, realism, eta, seed))
