"""The door of the room: a picture in, the repaired one out, by the package's own prior or another one."""

import os
from collections.abc import Callable
from dataclasses import replace

from regrain import memory, registry
from regrain.bitstream import Stream
from regrain.diffusion.budget import Budget
from regrain.image import Picture, to_signed
from regrain.options import Box, DecodeOptions
from regrain.registry import Codec
from regrain.restoration.denoise import Pixels, Repair, repair
from regrain.restoration.fill import fill
from regrain.restoration.noise_level import noise_level
from regrain.tiles import Place, places

__all__ = ["DECODED_ERROR", "decode_filled", "decode_repaired", "repair_picture"]

DECODED_ERROR = 0.16
"""The deviation of what a palette leaves out of a picture, in [-1, 1], about: 20 levels."""
AREA = 1024
"""Of a larger picture the error is that of so many columns and rows of its middle, from the corner of a block on."""


def repair_picture(
    picture: Picture,
    how: Repair,
    *,
    model: Codec | str | os.PathLike[str] | None = None,
    device: str | None = None,
    max_memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Picture, float]:
    """The picture repaired, alpha and metadata as they were, and the deviation of its error in levels of 255.

    Raises UsageError for weights of another method, LimitError above `max_memory`, ModelError.
    """
    given = registry.resolve_model(model, device)
    size, torch = (picture.width, picture.height), registry.needs_torch(given, device)
    wanted = memory.repair_need(*size, alpha=picture.alpha is not None, torch=torch)
    memory.check_bytes(f"repairing {size[0]} x {size[1]}", wanted, max_memory)
    error = noise_level(to_signed(_middle(picture.pixels)), picture.luma_steps)
    prior = registry.prior_for(given, device)
    with registry.torch_defaults():
        pixels = repair(prior, picture.pixels, error, how, picture.luma_steps, progress)
    return replace(picture, pixels=pixels, luma_steps=None), 127.5 * error


def decode_repaired(model: Codec, stream: Stream, options: DecodeOptions, device: str | None) -> Pixels:
    """The pixels (h, w, 1 or 3) of a palette file, repaired by the package's prior once they are decoded.

    What a decoder draws shows neither noise nor blocks, so that its error is taken to be DECODED_ERROR.
    """
    whole = model.decode(stream, replace(options, region=None, reduction=1))
    steps = options.steps.steps if isinstance(options.steps, Budget) else options.steps
    how = Repair(options.repair_strength * options.realism, steps, options.step_noise, options.seed)
    return options.cut(repair(registry.prior_for(None, device), whole, DECODED_ERROR, how))


def decode_filled(
    model: Codec, stream: Stream, options: DecodeOptions, device: str | None
) -> tuple[Pixels, tuple[Box, ...]]:
    """The pixels (h, w, 1 or 3) of a file whose lost tiles the package's prior draws, and the boxes that it drew.

    The whole picture is decoded and drawn, whatever part of it is wanted, so that the part is the same in all of them.
    Boxes are in pixels of the whole picture.
    """
    header, missing = stream.header, set[int]()
    whole = replace(options, region=None, reduction=1, missing=missing)
    repaired = options.repair != "latent"
    pixels = decode_repaired(model, stream, whole, device) if repaired else model.decode(stream, whole)
    tiles = places(header.height, header.width, header.tile)
    lost = [tiles[number] for number in sorted(missing)]
    if lost:
        fill(registry.prior_for(None, device).denoiser, pixels, lost, options.seed)
    wanted = options.region or (0, 0, header.width, header.height)
    return options.cut(pixels), tuple(box for box in (_common(place, wanted) for place in lost) if box)


def _common(place: Place, box: Box) -> Box | None:
    """What a place and a box have in common, as a box, or None."""
    (down, across), (left, top, width, height) = place, box
    first, last = max(across.start, left), min(across.stop, left + width)
    upper, lower = max(down.start, top), min(down.stop, top + height)
    return (first, upper, last - first, lower - upper) if first < last and upper < lower else None


def _middle(pixels: Pixels) -> Pixels:
    """AREA rows and columns of the middle of larger pixels (h, w, C), from a multiple of 8 on."""
    top, left = (max(0, side - AREA) // 2 // 8 * 8 for side in pixels.shape[:2])
    return pixels[top : top + AREA, left : left + AREA]
