"""Bytes -> colours -> latents -> picture, one line a station.

levels = palette[indices]    latents = levels in unit variance    repaired = denoise(latents, error)    x = decode
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from regrain.image import to_bytes
from regrain.palette import sections
from regrain.palette.levels import from_levels
from regrain.palette.model import Image, LatentDenoiser, LatentSpace
from regrain.palette.repair import Repair, of_latents
from regrain.palette.sections import Channel
from regrain.palette.surroundings import margins, repeat_edges
from regrain.tiles import apply_in_windows, decode_each, places

__all__ = ["decode_tiles", "reconstruct"]

SIDE = 64
"""Of the squares of latents that are decoded at once."""
LOST = 128
"""The level of lost latents: 0, nearly."""


def decode_tiles(
    space: LatentSpace, payloads: Sequence[bytes | None], size: tuple[int, int], tile: int, *, partial: bool = False
) -> tuple[NDArray[np.uint8], Channel]:
    """Levels (h, w, C) of a picture of `size` (height, width), and how they follow its latents, tiles together.

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: its
    latents are 0, a logged warning names it, and Corrupt is raised only where no tile is left.
    """
    rows, columns = (-(-side // space.stride) for side in size)
    levels, found = np.full((rows, columns, space.channels), LOST, np.uint8), list[Channel]()
    regions = places(rows, columns, tile // space.stride)

    def decode(index: int, payload: bytes) -> None:
        """One tile."""
        height, width, channels = levels[regions[index]].shape
        levels[regions[index]], channel = sections.unpack(payload, (height, width), channels, index)
        found.append(channel)

    decode_each(dict(enumerate(payloads)), decode, partial=partial)
    return levels, Channel(fmean(one.gain for one in found), fmean(one.error for one in found))


def reconstruct(
    space: LatentSpace,
    denoiser: LatentDenoiser | None,
    levels: NDArray[np.uint8],
    channel: Channel,
    size: tuple[int, int],
    *,
    grey: bool,
    repair: Repair,
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3): latents repaired if there is a denoiser, and decoded window by window."""
    latents, stride = from_levels(levels), space.stride
    up, left = margins(*latents.shape[1:])
    latents = repeat_edges(latents, up, left)
    if denoiser is not None:
        latents = of_latents(denoiser, latents, channel, repair)

    def pixels(part: Image) -> NDArray[np.uint8]:
        """The picture of a window of latents, uint8 (1 or 3, h, w)."""
        return to_bytes(space.decode(part), grey).transpose(2, 0, 1)

    whole = apply_in_windows(pixels, latents, side=SIDE, halo=space.halo, scale=stride)[
        :, up * stride :, left * stride :
    ]
    return np.ascontiguousarray(whole[:, : size[0], : size[1]].transpose(1, 2, 0))
