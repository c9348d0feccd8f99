"""Pictures from noise alone: the prior of the progressive method, without any file.

    x_1 ~ N(0, 1)    x_0 = denoise(x_t, t)    x_s = a step of the sampler towards x_0    ...    picture = x_0

(Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithm 2, and the other rules of `diffusion.sampler`.)
Invariant: the k-th picture of a seed is the first one of seed + k, however many are drawn.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regrain import memory, registry
from regrain.bitstream import Header, Method
from regrain.diffusion import noise, sampler
from regrain.diffusion.schedule import REACH, Schedule, get
from regrain.diffusion.unconditional_config import STRIDE
from regrain.errors import UsageError
from regrain.image import to_bytes
from regrain.options import DecodeOptions
from regrain.progressive.reverse_process import Denoiser, Image, estimate, for_steps

if TYPE_CHECKING:
    from regrain.registry import Codec

__all__ = ["SEEDS", "draw"]

SEEDS = 2**64
EVEN = "log-linear"
"""The schedule whose grids are even in log-SNR, as a student of few steps knows them."""


def draw(
    count: int,
    size: tuple[int, int],
    options: DecodeOptions,
    *,
    schedule: str = EVEN,
    model: "Codec | str | os.PathLike[str] | None" = None,
    device: str | None = None,
    max_memory: int | None = None,
    step_done: Callable[[int], None] = lambda done: None,
) -> NDArray[np.uint8]:
    """`count` pictures, uint8 (count, height, width, 3), of `size` (width, height), from `options.seed` on.

    Of the options seed, steps, eta and sampler count. Where the weights have a student, it takes 2 to 16 steps of DDIM
    with eta 0 along the log-linear schedule. `step_done` is told how many steps of all pictures are done.
    Raises UsageError for weights of another method or a schedule without a name, LimitError above `max_memory`.
    """
    if not isinstance(options.steps, int):
        raise UsageError("steps is 'auto'; allowed is a whole number from 1 to 1000")
    width, height = size
    levels = get(schedule)
    header = Header(width, height, 0, bytes(4), Method.PROGRESSIVE)
    given = registry.resolve_model(model, device)
    torch = registry.needs_torch(given, device)
    held = 9 * count * width * height  # as they are, as a sheet, and while that is made
    memory.check("sampling", header, steps=options.steps, limit=max_memory, torch=torch, beside=held)
    prior, pixels, done = registry.prior_for(given, device), np.empty((count, height, width, 3), np.uint8), 0
    denoiser: Denoiser = prior.denoiser
    if schedule == EVEN and options.step_noise == 0 and options.order == 1:
        denoiser = for_steps(prior.denoiser, prior.student, (-REACH, REACH), options.steps)

    def advance() -> None:
        nonlocal done
        done += 1
        step_done(done)

    with registry.torch_defaults():
        for index in range(count):
            seed = (options.seed + index) % SEEDS
            pixels[index] = to_bytes(_picture(denoiser, size, levels, options, seed, advance), grey=False)
    return pixels


def _picture(
    denoiser: Denoiser,
    size: tuple[int, int],
    schedule: Schedule,
    options: DecodeOptions,
    seed: int,
    advance: Callable[[], None],
) -> Image:
    """One picture (3, height, width)."""
    width, height = size
    rows, columns = (-(-side // STRIDE) * STRIDE for side in (height, width))

    def normal(step: int) -> Image:
        return noise.normal(seed, step, 0, 0, rows, columns)

    def denoise(x_t: Image, t: float) -> Image:
        advance()
        return estimate(denoiser, x_t, min(max(schedule.log_snr_at(t), -REACH), REACH))

    steps = options.steps if isinstance(options.steps, int) else 1
    x_0 = sampler.sample(
        denoise, normal(0), schedule, steps=steps, eta=options.step_noise, noise=normal, order=options.order
    )
    return x_0[:, :height, :width]
