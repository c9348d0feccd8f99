"""The payloads of a file -> a picture: the receiver (Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithm 4).

x_hat = denoise(x_t)    z = receive(message)    x_s = A x_hat + B x_t + std z    ...    pixels = final_sample(x_t)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regrain.errors import Corrupt
from regrain.image import to_bytes
from regrain.options import DecodeOptions
from regrain.progressive import reverse_process
from regrain.progressive.model import Image, Model
from regrain.progressive.payload import unpack
from regrain.tiles import places

__all__ = ["receive", "reconstruct"]


def receive(
    model: Model, payloads: Sequence[bytes], size: tuple[int, int], tile: int, *, partial: bool = False
) -> tuple[Image, int]:
    """x_t (3, H, W) and the number of steps that it took. H and W are the `size` rounded up to multiples of 8.

    All payloads are decoded, one a step. Raises Corrupt naming the step that does not decode; under `partial`, the
    steps before it are the result, if there are any.
    """
    height, width = (reverse_process.pad_side(side) for side in size)
    x_t = np.zeros((3, height, width), np.float32)
    tiles = places(height, width, tile)
    sizes = [x_t[:, *place].size for place in tiles]
    for number, (step, payload) in enumerate(zip(reverse_process.steps(len(payloads)), payloads, strict=True)):
        try:
            messages = unpack(payload, sizes, number)
        except Corrupt as error:
            if partial and number:
                return x_t, number
            raise Corrupt(f"latents, step {number}: {error}") from None
        x_hat = reverse_process.estimate(model, x_t, step.log_snr_before)
        x_t = reverse_process.reverse_step(step, number, x_hat, x_t, tiles, messages)
    return x_t, len(payloads)


def reconstruct(
    model: Model, x_t: Image, received: int, size: tuple[int, int], *, grey: bool, options: DecodeOptions
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3), from x_t after `received` steps, sampled as `options` say."""
    log_snr = reverse_process.steps(received)[-1].log_snr_after if received else None
    x_hat = reverse_process.final_sample(model, x_t, log_snr, options)
    return to_bytes(x_hat[:, : size[0], : size[1]], grey)
