"""Where the bytes of a photo's .rgn file go: sections, coding steps of the latents, and places in the picture.

The sections are measured in the file. Within the latents a symbol has the bits that its frozen table gives it
(`entropy.coder.ideal_bits`); the entropy coder writes a few bytes more than their sum.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain import bitstream, codec, image, registry
from regrain.conditional import grid
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import STRIDE
from regrain.conditional.encode import analysis_transform, tile_parts
from regrain.entropy.coder import ideal_bits
from regrain.errors import UsageError

__all__ = ["Group", "Spending", "spend"]


_PARITIES = {None: "", 0: ", black fields", 1: ", white fields"}
"""Of the chequerboard."""


class Group(NamedTuple):
    """What a coding step has: its name, the channel of y after its last, symbols, those that are not 0, and bits."""

    name: str
    last: int
    symbols: int
    nonzero: int
    bits: float


class Spending(NamedTuple):
    """Of a file: what it says of itself, z and the coding steps in their order, and bits by squares of 16 pixels."""

    info: codec.Info
    groups: list[Group]
    places: NDArray[np.float32]


def spend(photo: image.Picture, **rate: Any) -> Spending:  # noqa: ANN401 - whatever `regrain.encode` takes
    """Encode the photo by the default method; `rate` is that of `regrain.encode`. Raises what that raises."""
    data = codec.encode(photo, **rate)
    header = bitstream.read_header(data)
    model = registry.model_for(None, header.method, None)
    if not isinstance(model, ConditionalModel):
        raise UsageError(f"the default method is {header.method.name.lower()}; allowed is conditional")
    pixels = photo.pixels if photo.alpha is None else image.fill_hidden(photo.pixels, photo.alpha)
    y = analysis_transform(model.denoiser.networks, pixels)
    places = np.zeros(y.shape[1:], np.float32)
    order = model.latents.order
    names = [f"channels {step.first + 1} to {step.last}{_PARITIES[step.parity]}" for step in order]
    totals = np.zeros((1 + len(order), 3))
    for region in grid.tiles(y.shape[1], y.shape[2], header.tile // STRIDE):
        parts = tile_parts(model.latents, region, y[:, *region.latents], header.quality)[0]
        for number, part in enumerate(parts):
            bits = ideal_bits(part)
            totals[number] += part[0].size, np.count_nonzero(part[0]), bits.sum()
            if number:
                step = order[number - 1]
                mask = step.mask(region.height, region.width)
                places[region.latents][mask] += bits.reshape(step.last - step.first, mask.sum()).sum(0)
    lasts = [0, *(step.last for step in order)]
    groups = [
        Group(name, last, int(count), int(nonzero), float(bits))
        for name, last, (count, nonzero, bits) in zip(["z", *names], lasts, totals, strict=True)
    ]
    return Spending(codec.inspect(data), groups, places)
