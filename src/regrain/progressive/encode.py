"""Picture -> a section a step: the sender (Ho et al. 2020, algorithm 3).

x_hat = prior(x_t)    shift = gain (x_0 - x_hat)    message = send(shift)    x_s = as the receiver has it
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from regrain.bitstream import MOST_STEPS
from regrain.diffusion.prior import STRIDE
from regrain.image import pad_edge, to_signed
from regrain.progressive import channel, sections, walk
from regrain.progressive.model import Model

__all__ = ["stream"]


def stream(model: Model, pixels: NDArray[np.uint8], tile: int) -> Iterator[bytes]:
    """The payloads of all steps, each made when it is asked for. pixels (H, W, 1 or 3), tile in pixels."""
    x_0 = torch.from_numpy(pad_edge(to_signed(pixels), STRIDE))
    tiles = walk.places(x_0.shape[1], x_0.shape[2], tile)
    x_t = torch.zeros_like(x_0)
    for number, step in enumerate(walk.steps(MOST_STEPS)):
        x_hat = walk.estimate(model, x_t, step.before)
        shift = step.gain * (x_0 - x_hat)
        messages = [
            channel.send(shift[:, *place].reshape(-1).numpy(), walk.SEED, number * len(tiles) + index)
            for index, place in enumerate(tiles)
        ]
        yield sections.pack(messages)
        x_t = walk.arrive(step, number, x_hat, x_t, tiles, messages)
