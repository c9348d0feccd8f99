"""What a picture is here: 8-bit pixels, perhaps alpha, and metadata that travels beside them byte for byte.

Invariant: a `Picture` that exists has at least one pixel and the types and shapes that its docstring states.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from regrain.errors import ImageError

U8 = npt.NDArray[np.uint8]
EXIF_MARK = b"Exif\0\0"


@dataclass(frozen=True)
class Metadata:
    """ICC profile, EXIF and XMP as bytes; `exif` is the TIFF block alone, without the mark that JPEG puts before it."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def info(self) -> dict[str, bytes]:
        """The same under Pillow's names (icc_profile, exif with its mark, xmp), without what is missing or empty."""
        exif = EXIF_MARK + self.exif if self.exif else None
        named = {"icc_profile": self.icc, "exif": exif, "xmp": self.xmp}
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture: `pixels` uint8 (height, width, 1 grey or 3 RGB), `alpha` uint8 (height, width) or None (opaque).

    Raises `ImageError` when built from arrays of another type or shape, or without a pixel.

    >>> Picture(np.zeros((2, 3, 1), np.uint8)).grey
    True
    """

    pixels: U8
    alpha: U8 | None = None
    metadata: Metadata = field(default_factory=Metadata)
    luma_steps: npt.NDArray[np.float32] | None = None
    """Where it comes of a JPEG, the quantisation steps of its brightness, (8, 8), 1 or more."""
    invented: tuple[tuple[int, int, int, int], ...] = ()
    """Boxes (left, top, width, height) that no file tells of, in pixels of the whole picture."""

    def __post_init__(self) -> None:
        """Hold the types and shapes above."""
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3) or not self.pixels.size:
            raise ImageError(f"pixels are {self.pixels.dtype} {shape}; allowed is uint8 (height, width, 1 or 3)")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != shape[:2]):
            raise ImageError(f"alpha is {self.alpha.dtype} {self.alpha.shape}; allowed is uint8 {shape[:2]}")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def grey(self) -> bool:
        """Whether there is one channel."""
        return int(self.pixels.shape[2]) == 1

    def to_pillow(self) -> Image.Image:
        """The picture in Pillow's mode L, LA, RGB or RGBA, with icc_profile, exif and xmp in `info` where it has them.

        Pillow's writers take some of these from `info` and some only as options; `regrain.image.write` passes all.
        """
        planes = self.pixels if self.alpha is None else np.concatenate([self.pixels, self.alpha[..., None]], axis=2)
        image = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
        image.info.update(self.metadata.info() | ({"invented": self.invented} if self.invented else {}))
        return image
