"""The payloads of a file -> a picture: the receiver (Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithm 4).

x_hat = denoise(x_t)    z = receive(message)    x_s = A x_hat + B x_t + std z    ...    pixels = sample(x_t)
"""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.diffusion.budget import choose_steps
from regrain.diffusion.sampler import descend
from regrain.diffusion.unconditional_config import STRIDE
from regrain.errors import Corrupt
from regrain.image import to_bytes
from regrain.options import DecodeOptions
from regrain.progressive import reverse_process
from regrain.progressive.payload import unpack
from regrain.progressive.reverse_process import LOG_SNR, Denoiser, Image, Student, estimate, for_steps
from regrain.tiles import places

__all__ = ["receive", "reconstruct"]

FINAL_NOISE: Final = 2**62
"""The noise of the final sampling has numbers from here on, which no candidate has."""


def receive(
    denoiser: Denoiser, payloads: Sequence[bytes], size: tuple[int, int], tile: int, *, partial: bool = False
) -> tuple[Image, int]:
    """x_t (3, H, W) and the number of steps that it took. H and W are the `size` rounded up to multiples of 8.

    All payloads are decoded, one a step. Raises Corrupt naming the step that does not decode; under `partial`, the
    steps before it are the result, if there are any.
    """
    height, width = (-(-side // STRIDE) * STRIDE for side in size)
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
        x_hat = estimate(denoiser, x_t, step.log_snr_before)
        x_t = reverse_process.reverse_step(step, number, x_hat, x_t, tiles, messages)
    return x_t, len(payloads)


def reconstruct(
    denoiser: Denoiser, x_t: Image, received: int, size: tuple[int, int], options: DecodeOptions, *, grey: bool,
    student: Student | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """The picture, uint8 (*size, 1 or 3), from x_t after `received` steps, 1 or more, by DDIM steps.

    One step gives the estimate of x_0: the least squared error. More steps draw the detail that the stream has not
    sent, along the probability flow (eta 0, DiffC-F of Theis et al. 2022) or by ancestral sampling (eta 1, DiffC-A).
    Few steps along the flow are the student's, where the weights have one.
    """

    def fresh(number: int) -> Image:
        return noise.normal(options.seed, FINAL_NOISE + number, 0, 0, *x_t.shape[1:])

    log_snrs = reverse_process.steps(received)[-1].log_snr_after, LOG_SNR[1]
    if isinstance(options.steps, int) and options.step_noise == 0 and options.order == 1:
        denoiser = for_steps(denoiser, student, log_snrs, options.steps)
    count, denoise = choose_steps(options.steps, functools.partial(estimate, denoiser), x_t, log_snrs[0])
    x_0 = descend(denoise, x_t, log_snrs, steps=count, eta=options.step_noise, noise=fresh, order=options.order)
    return to_bytes(x_0[:, : size[0], : size[1]], grey)
