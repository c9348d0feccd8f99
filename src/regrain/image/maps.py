"""Maps over a picture, a mask or figures by place drawn as one; and a picture made smaller."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regrain.errors import UsageError
from regrain.image.picture import Picture
from regrain.image.reading import read

__all__ = ["draw_map", "read_mask", "shrink"]

_ANCHORS = ((0, 0, 4), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))
"""Colours from nothing to the most, evenly spaced: brightness rises throughout, so that grey prints read alike."""
_BAR, _TEXT = 24, 16
"""Height of the colour bar and of the line of figures below it, in pixels."""
_NARROWEST = 96
"""Pixels that the figures below the bar need."""


def read_mask(source: object, width: int, height: int, *, max_pixels: int = 250_000_000) -> NDArray[np.uint8]:
    """A mask, uint8 (height, width): anything that `regrain.encode` takes, in grey by its luma (ITU-R BT.601).

    Raises UsageError where its size is another one, ImageError where it is no picture, LimitError above `max_pixels`.
    """
    picture = read(source, max_pixels=max_pixels)
    if (picture.width, picture.height) != (width, height):
        raise UsageError(
            f"realism_map is {picture.width} x {picture.height}; allowed is the size of the picture, {width} x {height}"
        )
    grey = Picture(picture.pixels).to_pillow().convert("L")
    return np.asarray(grey)


def shrink(picture: Picture, size: int) -> Picture:
    """A picture no side of which is over `size` pixels: as it is, or smaller in its own proportions (Lanczos)."""
    if max(picture.width, picture.height) <= size:
        return picture
    image = picture.to_pillow()
    image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=None)
    planes = np.asarray(image).reshape(image.height, image.width, -1)
    colours = picture.pixels.shape[2]
    alpha = None if picture.alpha is None else planes[..., colours]
    return Picture(planes[..., :colours], alpha, picture.metadata, invented=picture.invented)


def draw_map(values: NDArray[np.float32], unit: str) -> Picture:
    """A map (height, width) of figures of at least 0 in false colours, over a bar with 0, its largest figure and unit.

    The bar ends at the next of 1, 2, 5, 10, 20, 50 and so on over the 99.5th percentile; what is above has its colour.
    """
    top = _round_up(float(np.percentile(values, 99.5)))
    width = max(values.shape[1], _NARROWEST)
    sheet = np.zeros((values.shape[0] + _BAR + _TEXT, width, 3), np.uint8)
    for target, row in zip(sheet, values, strict=False):  # a row at a time, since colours take 80 bytes a figure
        target[: values.shape[1]] = _colours(row / top)
    sheet[values.shape[0] : -_TEXT] = _colours(np.linspace(0, 1, width, dtype=np.float32)[None])
    image = Image.fromarray(sheet)
    draw, line = ImageDraw.Draw(image), values.shape[0] + _BAR + 2
    draw.text((2, line), "0", fill="white")
    draw.text((width - 2, line), f"{top:g} {unit}", fill="white", anchor="ra")
    return Picture(np.asarray(image))


def _colours(fractions: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fractions, 1 at most, as colours (..., 3)."""
    places, anchors = np.linspace(0, 1, len(_ANCHORS)), np.array(_ANCHORS, np.float64)
    channels = [np.interp(fractions, places, anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _round_up(value: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten, 1 at least, that is no smaller."""
    power = 1.0
    while 5 * power < value:
        power *= 10
    return next((step * power for step in (1, 2, 5) if step * power >= value), 10 * power)
