"""Whatever a caller calls a picture -> what `read` reads, or an error that says what is allowed.

Arrays of other libraries (torch's tensors) come as NumPy's; whole numbers of a width that no picture has (int64) come
as uint8 where they are in its range: none is scaled by a guess.
"""

import io
import os
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from regrain.errors import ImageError, UsageError
from regrain.image.picture import PathName, one_line
from regrain.image.reading import Source

__all__ = ["Picturelike", "as_source"]


class SupportsArray(Protocol):
    """An array of another library, such as torch's tensor."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - NumPy's protocol
        """The same as an array of NumPy's."""


Picturelike: TypeAlias = PathName | bytes | BinaryIO | Image.Image | npt.NDArray[Any] | SupportsArray
"""What `regrain.encode` takes."""

_NATIVE = ("uint8", "uint16", "int32")


def as_source(image: object) -> Source:
    """A `Picturelike` as `read` takes it: raises UsageError for anything else, ImageError for numbers out of range.

    Tensors are (H, W[, 1, 3 or 4]) as arrays are; gradients and devices do not matter.
    """
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike | bytes | Image.Image):
        return image
    if isinstance(image, np.ndarray):
        return _eight_bit(image)
    if hasattr(image, "__array__"):
        return _eight_bit(_array(image))
    if hasattr(image, "read") and not isinstance(image, io.TextIOBase):
        return cast(BinaryIO, image)
    raise UsageError(
        f"image is a {type(image).__name__}; allowed are a path, the bytes of a file, a file opened in binary mode, "
        "a Pillow image, an array and a tensor"
    )


def _array(tensor: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - of any library
    """A tensor's values in main memory, its gradient left behind."""
    try:
        return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)
    except Exception as error:
        raise UsageError(
            f"image is a {type(tensor).__name__} that gives no array ({one_line(error)}); allowed are values of uint8 "
            "or float32"
        ) from None


def _eight_bit(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whole numbers from 0 to 255 of an unusual width as uint8; other arrays as they are."""
    if values.dtype.kind not in "iu" or values.dtype.name in _NATIVE or not values.size:
        return values
    least, most = values.min(), values.max()
    if least < 0 or most > 255:
        raise ImageError(f"values of {values.dtype} go from {least} to {most}; allowed is 0 to 255, or uint16")
    return values.astype(np.uint8)
