"""The photo, and the small copy of it that the diffusion model works on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regrain import image
from regrain.diffusion.unconditional_config import STRIDE
from regrain.progressive.reverse_process import Image

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A photo by its name, and its copy, no side of which is over `side` pixels."""

    name: str
    photo: image.Picture
    side: int

    @cached_property
    def copy(self) -> NDArray[np.uint8]:
        """The pixels of the copy, (H, W, 1 or 3); what alpha hides is filled as the codec fills it."""
        photo = self.photo
        pixels = photo.pixels if photo.alpha is None else image.fill_hidden(photo.pixels, photo.alpha)
        return image.shrink(image.Picture(pixels), self.side).pixels

    @cached_property
    def x_0(self) -> Image:
        """The copy as the model sees it: (3, H, W) in [-1, 1], its edges repeated up to multiples of 8."""
        return image.pad_edge(image.to_signed(self.copy), STRIDE)

    def to_pixels(self, x: Image) -> NDArray[np.uint8]:
        """An x_t or an estimate as uint8 pixels (H, W, 3) of the copy's size; what is beyond [-1, 1] is clipped."""
        return image.to_bytes(x[:, : self.copy.shape[0], : self.copy.shape[1]], grey=False)
