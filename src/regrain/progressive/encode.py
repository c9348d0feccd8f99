"""Picture -> a section a step: the sender (Ho et al. 2020, algorithm 3).

x_hat = prior(x_t)    shift = gain (x_0 - x_hat)    message = send(shift)    x_s = as the receiver has it
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.bitstream import MOST_STEPS
from regrain.diffusion.prior import STRIDE
from regrain.image import pad_edge, to_signed
from regrain.progressive import channel, sections, walk
from regrain.progressive.model import Model
from regrain.tiles import places

__all__ = ["Sent", "stream"]


class Sent(NamedTuple):
    """One step: its payload; the estimate x_hat (3, H, W) before it, and its KL divergence in bits."""

    payload: bytes
    x_hat: Tensor
    divergence: float


def stream(model: Model, pixels: NDArray[np.uint8], tile: int) -> Iterator[Sent]:
    """All steps, each taken when it is asked for. pixels (H, W, 1 or 3), tile in pixels."""
    x_0 = torch.from_numpy(pad_edge(to_signed(pixels), STRIDE))
    tiles = places(x_0.shape[1], x_0.shape[2], tile)
    x_t = torch.zeros_like(x_0)
    for number, step in enumerate(walk.steps(MOST_STEPS)):
        x_hat = walk.estimate(model, x_t, step.before)
        shift = step.gain * (x_0 - x_hat)
        shifts = [shift[:, *place].reshape(-1).numpy() for place in tiles]
        messages = [channel.send(part, walk.SEED, number * len(tiles) + index) for index, part in enumerate(shifts)]
        yield Sent(sections.pack(messages, number), x_hat, sum(map(channel.divergence, shifts)))
        x_t = walk.arrive(step, number, x_hat, x_t, tiles, messages)
