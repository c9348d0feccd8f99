"""Real encoders to measure against, each a pair of functions: picture and quality to the bytes of a file, and back.

The rate of a baseline is `len(encode(picture, quality))`: a whole file, header and all. A codec is data, so one more is
one more `Codec` in `BASELINES`; its functions may call a library or another program.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from regrain.errors import ImageError, UsageError

__all__ = ["AVIF", "BASELINES", "JPEG", "WEBP", "Codec", "Fitted", "at_size", "present"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Codec:
    """One encoder with its settings fixed; only the quality varies.

    `encode` takes a uint8 (h, w, 3) sRGB picture and a member of `qualities`, and returns a file; `decode` inverts it.
    `qualities` runs from the smallest file to the largest (a range with a negative step where high means coarse).
    `installed` says whether it can run here; if not, `package` is what to install.
    """

    name: str
    settings: str
    qualities: range
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes], Pixels]
    installed: Callable[[], bool]
    package: str


class Fitted(NamedTuple):
    """A file made to fit: its bytes, the quality that gave it, and whether it is no larger than was asked."""

    data: bytes
    quality: int
    fits: bool


def _encode(kind: str, options: dict[str, object], picture: Pixels, quality: int) -> bytes:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(f"picture is {picture.dtype} {picture.shape}: a baseline takes uint8 (h, w, 3)")
    file = BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(picture)).save(file, format=kind, quality=quality, **options)
    except (OSError, ValueError) as error:
        height, width = picture.shape[:2]
        raise ImageError(f"{kind} cannot hold a picture of {width}x{height}: {error}") from error
    return file.getvalue()


def _decode(data: bytes) -> Pixels:
    with Image.open(BytesIO(data)) as file:
        return np.array(file.convert("RGB"))


def _pillow(name: str, settings: str, qualities: range, needs: str, **options: object) -> Codec:
    """A codec that Pillow carries; `needs` is Pillow's name of the feature it is built with."""
    return Codec(
        name=name,
        settings=settings,
        qualities=qualities,
        encode=partial(_encode, name.upper(), options),
        decode=_decode,
        installed=partial(_built_in, needs),
        package=f"Pillow >= 11.3 built with {needs}",
    )


def _built_in(feature: str) -> bool:
    return bool(features.check(feature))


JPEG = _pillow(
    "JPEG",
    "4:2:0 optimised progressive",
    range(1, 101),
    "jpg",
    subsampling="4:2:0",
    optimize=True,
    progressive=True,
)
WEBP = _pillow("WebP", "method 6", range(101), "webp", method=6)
AVIF = _pillow("AVIF", "4:4:4 speed 4", range(101), "avif", subsampling="4:4:4", speed=4)

BASELINES: tuple[Codec, ...] = (JPEG, WEBP, AVIF)


def present(codecs: Sequence[Codec] = BASELINES) -> tuple[list[Codec], list[str]]:
    """The codecs that can run here, and for each that cannot one line to show, naming the package it needs."""
    installed = {codec.name: codec.installed() for codec in codecs}
    missing = [f"{codec.name} skipped: it needs {codec.package}" for codec in codecs if not installed[codec.name]]
    return [codec for codec in codecs if installed[codec.name]], missing


def at_size(codec: Codec, pixels: Pixels, target_bytes: int) -> Fitted:
    """The file of the highest quality that has at most `target_bytes` bytes, found by bisection over `codec.qualities`.

    File size is taken to grow with quality; where it does not quite, the file returned still fits. When even the lowest
    quality is too large, that file is returned with `fits` False. Raises UsageError for a target under 1 byte, and
    ImageError for a picture the format cannot hold.
    """
    if target_bytes < 1:
        raise UsageError(f"target of {target_bytes} bytes: at least 1 is allowed")
    qualities = codec.qualities
    best = codec.encode(pixels, qualities[0])
    if len(best) > target_bytes:
        return Fitted(best, qualities[0], fits=False)
    low, high = 0, len(qualities)
    while high - low > 1:
        middle = (low + high) // 2
        data = codec.encode(pixels, qualities[middle])
        if len(data) <= target_bytes:
            low, best = middle, data
        else:
            high = middle
    return Fitted(best, qualities[low], fits=True)
