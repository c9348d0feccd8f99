"""Bytes -> colours -> latents -> picture, one line a station.

    levels = palette[indices]    latents = levels in unit variance    repaired = repair(latents, error)    x = decode

What quantisation has done to latents is undone by denoising them:

    latents = gain (z + r eps) = gain sqrt(1 + r^2) z_t,    log_snr = -2 ln r,    z_0 = descend(denoise, z_t)

The sender tells gain and r, so the noise level is matched and not guessed; strength and realism take a part of r.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.diffusion.budget import choose_steps
from regrain.diffusion.sampler import descend
from regrain.image import to_bytes
from regrain.options import DecodeOptions
from regrain.palette import sections
from regrain.palette.model import MARGIN, Image, LatentDenoiser, LatentSpace
from regrain.palette.sections import Channel, Levels, from_levels
from regrain.tiles import apply_in_windows, decode_each, places

__all__ = ["decode_tiles", "reconstruct", "repair"]

SIDE = 64
"""Of the squares of latents that are decoded at once."""
LOST = 128
"""The level of lost latents: 0, nearly."""
LOG_SNR_LAST = 7.0
"""Where there is nothing to repair, and where steps lead to."""
REPAIR_SIDE, REPAIR_HALO = 128, 32
"""Of the squares in which latents are denoised, and how much of their surroundings is seen."""


def decode_tiles(
    space: LatentSpace, payloads: Sequence[bytes | None], size: tuple[int, int], tile: int, *, partial: bool = False,
    missing: set[int] | None = None,
) -> tuple[Levels, Channel]:  # fmt: skip
    """Levels (h, w, C) of a picture of `size` (height, width), and how they follow its latents, tiles together.

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: its
    latents are 0, a logged warning names it, its number goes into `missing`, and Corrupt is raised only where no tile
    is left.
    """
    rows, columns = (-(-side // space.stride) for side in size)
    levels, channels = np.full((rows, columns, space.channels), LOST, np.uint8), list[Channel]()
    regions = places(rows, columns, tile // space.stride)

    def decode(index: int, payload: bytes) -> None:
        height, width, _ = levels[regions[index]].shape
        levels[regions[index]], channel = sections.unpack(payload, (height, width), space.channels, index)
        channels.append(channel)

    decode_each(dict(enumerate(payloads)), decode, partial=partial, missing=missing)
    return levels, Channel(fmean(each.gain for each in channels), fmean(each.error for each in channels))


def reconstruct(
    space: LatentSpace, denoiser: LatentDenoiser | None, levels: Levels, channel: Channel, size: tuple[int, int],
    options: DecodeOptions, *, grey: bool,
) -> NDArray[np.uint8]:  # fmt: skip
    """The picture, uint8 (*size, 1 or 3): latents repaired if there is a denoiser, and decoded window by window."""
    latents = from_levels(levels)
    top, left = (MARGIN * space.stride * (side == 1) for side in latents.shape[1:])
    latents = latents.repeat(2 * MARGIN + 1, 1) if top else latents
    latents = latents.repeat(2 * MARGIN + 1, 2) if left else latents
    if denoiser is not None and options.repair != "image":
        latents = repair(denoiser, latents, channel, options)
    whole = apply_in_windows(
        lambda part: to_bytes(space.decode(part), grey).transpose(2, 0, 1),
        latents, side=SIDE, halo=space.halo, scale=space.stride,
    )  # fmt: skip
    return np.ascontiguousarray(whole[:, top : top + size[0], left : left + size[1]].transpose(1, 2, 0))


def repair(denoiser: LatentDenoiser, latents: Image, channel: Channel, options: DecodeOptions) -> Image:
    """Latents (C, h, w) as they came through `channel`, repaired; one step is the estimate of least square error.

    At full strength pictures are smoother than at half of it, which is the default, and no nearer to the original.
    """
    r = options.repair_strength * options.realism * channel.error
    if r <= math.exp(-LOG_SNR_LAST / 2):
        return latents

    def estimate(z_t: Image, log_snr: float) -> Image:
        return apply_in_windows(lambda part: denoiser.denoise(part, log_snr), z_t, side=REPAIR_SIDE, halo=REPAIR_HALO)

    def fresh(step: int) -> Image:
        channels, height, width = latents.shape
        return noise.normal(options.seed, step, 0, 0, height, width, channels)

    z_t: Image = latents / (channel.gain * math.sqrt(1 + r * r))
    log_snrs = -2 * math.log(r), LOG_SNR_LAST
    steps, denoise = choose_steps(options.steps, estimate, z_t, log_snrs[0])
    return descend(denoise, z_t, log_snrs, steps=steps, eta=options.step_noise, noise=fresh, order=options.order)
