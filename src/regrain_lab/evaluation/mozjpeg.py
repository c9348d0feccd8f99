"""mozjpeg through libvips, with all that libvips turns on in it: a JPEG whose coefficients are chosen for their rate.

4:2:0, progressive with the best of its scan scripts, trellis quantisation, overshoot deringing, and mozjpeg's default
quantiser table, number 3. The files are plain JPEG: any JPEG decoder reads them. The libvips of PyPI's `pyvips-binary`
is built with mozjpeg; one without it falls back to libjpeg-turbo without a word, so whether trellis quantisation
changes the file is tried before it is believed.
"""

from functools import cache
from importlib import import_module, metadata

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ImageError

__all__ = ["OPTIONS", "PACKAGE", "encode", "version"]

OPTIONS = "4:2:0 progressive trellis, optimised scans, overshoot deringing, quantiser table 3"
PACKAGE = "pyvips[binary] from PyPI, whose libvips holds mozjpeg"

Pixels = NDArray[np.uint8]


@cache
def version() -> str:
    """The versions of libvips and of its package; empty without pyvips, or where libvips was built without mozjpeg."""
    trial = (np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3) ** 2 % 251).astype(np.uint8)
    try:
        vips = import_module("pyvips")
        if len({encode(trial, 50, trellis=trellis) for trellis in (True, False)}) == 1:
            return ""
    except (ImportError, OSError, ImageError):
        return ""
    try:
        carrier = f"pyvips-binary {metadata.version('pyvips-binary')}"
    except metadata.PackageNotFoundError:
        carrier = "the system's"
    return f"mozjpeg in libvips {'.'.join(str(vips.version(place)) for place in range(3))} ({carrier})"


def encode(picture: Pixels, quality: int, *, trellis: bool = True) -> bytes:
    """A JPEG file of a uint8 (h, w, 3) sRGB picture, `quality` from 1 to 100.

    Raises ImportError or OSError without pyvips and its libvips, and ImageError for a picture that JPEG cannot hold.
    """
    vips = import_module("pyvips")
    height, width = picture.shape[:2]
    pixels = vips.Image.new_from_memory(picture.tobytes(), width, height, 3, "uchar").copy(interpretation="srgb")
    try:
        data: bytes = pixels.jpegsave_buffer(
            Q=quality,
            subsample_mode="on",
            interlace=True,
            optimize_coding=True,
            optimize_scans=True,
            trellis_quant=trellis,
            overshoot_deringing=True,
            quant_table=3,
            keep="none",
        )
    except vips.Error as error:
        reason = str(error).strip().replace("\n", " ")
        raise ImageError(f"mozjpeg cannot hold a picture of {width}x{height}: {reason}") from error
    return data
