"""The sections at hand -> a picture: the receiver (Ho et al. 2020, algorithm 4).

x_hat = prior(x_t)    z = receive(message)    x_s = A x_hat + B x_t + std z    ...    pixels = finish(x_t)
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.errors import Corrupt
from regrain.image import to_bytes
from regrain.progressive import sections, walk
from regrain.progressive.model import Model
from regrain.tiles import places

__all__ = ["receive", "regrow"]


def receive(
    model: Model, payloads: Sequence[bytes], size: tuple[int, int], tile: int, *, partial: bool = False
) -> tuple[Tensor, int]:
    """x_t (3, H, W), H and W the `size` rounded up to multiples of 8, and how many steps it took: all.

    Raises Corrupt naming the step that does not decode; under `partial`, if there are steps before it, stops there.
    """
    height, width = (walk.padded(side) for side in size)
    x_t = torch.zeros(3, height, width, dtype=torch.float32)
    tiles = places(height, width, tile)
    sizes = [x_t[:, *place].numel() for place in tiles]
    for number, (step, payload) in enumerate(zip(walk.steps(len(payloads)), payloads, strict=True)):
        try:
            messages = sections.unpack(payload, sizes, number)
        except Corrupt as error:
            if partial and number:
                return x_t, number
            raise Corrupt(f"latents, step {number}: {error}") from None
        x_t = walk.arrive(step, number, walk.estimate(model, x_t, step.before), x_t, tiles, messages)
    return x_t, len(payloads)


def regrow(
    model: Model, x_t: Tensor, received: int, size: tuple[int, int], *, grey: bool, way: walk.Finish
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3), from x_t after `received` steps, finished as `way` says."""
    log_snr = walk.steps(received)[-1].after if received else None
    x_hat = walk.finish(model, x_t, log_snr, way)[:, : size[0], : size[1]]
    return to_bytes(x_hat.numpy(), grey)
