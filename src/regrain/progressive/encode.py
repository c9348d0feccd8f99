"""Picture -> one payload a step: the sender (Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithm 3).

x_hat = denoise(x_t)    shift = gain (x_0 - x_hat)    message = send(shift)    x_s as the receiver computes it
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import MOST_STEPS
from regrain.diffusion.unconditional_config import STRIDE
from regrain.image import pad_edge, to_signed
from regrain.progressive import reverse_process
from regrain.progressive.payload import pack
from regrain.progressive.reverse_channel_coding import divergence, send
from regrain.progressive.reverse_process import SEED, Denoiser, Image
from regrain.tiles import places

__all__ = ["EncodedStep", "stream"]


class EncodedStep(NamedTuple):
    """One step: its payload; the estimate x_hat (3, H, W) before it, and its KL divergence in bits."""

    payload: bytes
    x_hat: Image
    divergence: float


def stream(denoiser: Denoiser, pixels: NDArray[np.uint8], tile: int) -> Iterator[EncodedStep]:
    """All steps, each computed when it is asked for. pixels (H, W, 1 or 3), tile in pixels."""
    x_0 = pad_edge(to_signed(pixels), STRIDE)
    tiles = places(x_0.shape[1], x_0.shape[2], tile)
    x_t = np.zeros_like(x_0)
    for number, step in enumerate(reverse_process.steps(MOST_STEPS)):
        x_hat = reverse_process.estimate(denoiser, x_t, step.log_snr_before)
        shift = step.gain * (x_0 - x_hat)
        shifts = [shift[:, *place].reshape(-1) for place in tiles]
        messages = [send(part, SEED, number * len(tiles) + index) for index, part in enumerate(shifts)]
        yield EncodedStep(pack(messages, number), x_hat, sum(map(divergence, shifts)))
        x_t = reverse_process.reverse_step(step, number, x_hat, x_t, tiles, messages)
