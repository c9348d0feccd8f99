"""Real encoders to measure against, each a pair of functions: picture and quality to the bytes of a file, and back.

The rate of a baseline is `len(encode(picture, quality))`: a whole file, header and all. A codec is data, so one more is
one more `Codec` in a tuple; its functions may call a library or another program. `BASELINES` are the three that every
Pillow carries; `ALL` has those that need a package more. Nothing is looked for before it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata, util
from io import BytesIO
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from regrain.errors import ImageError, UsageError
from regrain_lab.evaluation import hevc, mozjpeg

__all__ = [
    "ALL",
    "AVIF",
    "AVIF_420",
    "AVIF_SSIM",
    "BASELINES",
    "HEVC",
    "JPEG",
    "JPEG_2000",
    "JPEG_XL",
    "MOZJPEG",
    "WEBP",
    "Codec",
    "Fitted",
    "at_size",
    "present",
]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Codec:
    """One encoder with its settings fixed; only the quality varies.

    `encode` takes a uint8 (h, w, 3) sRGB picture and a member of `qualities`, and returns a file; `decode` inverts it.
    `qualities` runs from the smallest file to the largest (a range with a negative step where high means coarse).
    `installed` says whether it can run here; if not, `package` is what to install. `version` names the encoder's
    version, empty where it is missing. `threads` is how many it uses, None for as many as the machine has.
    """

    name: str
    settings: str
    qualities: range
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes], Pixels]
    installed: Callable[[], bool]
    package: str
    version: Callable[[], str] = str
    threads: int | None = 1


class Fitted(NamedTuple):
    """A file made to fit: its bytes, the quality that gave it, and whether it is no larger than was asked."""

    data: bytes
    quality: int
    fits: bool


Options = Callable[[int], dict[str, object]]


def _checked(encode: Callable[[Pixels, int], bytes], picture: Pixels, quality: int) -> bytes:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(f"picture is {picture.dtype} {picture.shape}: a baseline takes uint8 (h, w, 3)")
    return encode(np.ascontiguousarray(picture), quality)


def _encode(kind: str, options: Options, plugin: str | None, picture: Pixels, quality: int) -> bytes:
    file = BytesIO()
    _load(plugin)
    try:
        Image.fromarray(picture).save(file, format=kind, **options(quality))
    except (OSError, ValueError) as error:
        height, width = picture.shape[:2]
        raise ImageError(f"{kind} cannot hold a picture of {width}x{height}: {error}") from error
    return file.getvalue()


def _decode(data: bytes, plugin: str | None = None) -> Pixels:
    _load(plugin)
    with Image.open(BytesIO(data)) as file:
        return np.array(file.convert("RGB"))


def _load(plugin: str | None) -> None:
    """A Pillow plugin announces its format when it is imported."""
    if plugin is not None:
        import_module(plugin)


def _pillow(
    name: str, settings: str, qualities: range, needs: str, options: Options, *, kind: str = "", threads: int | None = 1
) -> Codec:
    """A codec that Pillow carries; `needs` is Pillow's name of the feature behind it, `kind` that of the format."""
    return Codec(
        name=name,
        settings=settings,
        qualities=qualities,
        encode=partial(_checked, partial(_encode, kind or name.upper(), options, None)),
        decode=_decode,
        installed=partial(_built_in, needs),
        package=f"Pillow >= 11.3 built with {needs}",
        version=partial(_library, needs),
        threads=threads,
    )


def _fixed(**options: object) -> Options:
    """Pillow's options at any quality: `quality` itself beside fixed ones."""
    return lambda quality: {"quality": quality, **options}


def _built_in(feature: str) -> bool:
    return bool(features.check(feature))


def _library(feature: str) -> str:
    """Pillow's version, which fixes that of the encoder, and the version of the library as far as Pillow knows it."""
    if not _built_in(feature):
        return ""
    library = "libjpeg_turbo" if feature == "jpg" and features.check("libjpeg_turbo") else feature
    return f"{library} {features.version(library)} in Pillow {PIL.__version__}"


def _layer(quality: int) -> dict[str, object]:
    """One quality layer: OpenJPEG takes the ratio of 24 bits a pixel to the rate, here `quality` / 100 bits a pixel."""
    return {"irreversible": True, "mct": 1, "quality_mode": "rates", "quality_layers": [2400 / quality]}


def _jxl_version() -> str:
    return f"{_JXL} {metadata.version(_JXL)}" if _found(_JXL_MODULE) else ""


def _found(module: str) -> bool:
    return util.find_spec(module) is not None


_JXL, _JXL_MODULE = "pillow-jxl-plugin", "pillow_jxl"

JPEG = _pillow(
    "JPEG",
    "4:2:0 optimised progressive",
    range(1, 101),
    "jpg",
    _fixed(subsampling="4:2:0", optimize=True, progressive=True),
)
WEBP = _pillow("WebP", "method 6", range(101), "webp", _fixed(method=6))
AVIF = _pillow("AVIF", "4:4:4 speed 4", range(101), "avif", _fixed(subsampling="4:4:4", speed=4), threads=None)
"""As libavif tunes it by itself: from 1.4 on for looks (`iq`)."""

BASELINES: tuple[Codec, ...] = (JPEG, WEBP, AVIF)

AVIF_420 = _pillow(
    "AVIF 4:2:0",
    "4:2:0 speed 4",
    range(101),
    "avif",
    _fixed(subsampling="4:2:0", speed=4),
    kind="AVIF",
    threads=None,
)
AVIF_SSIM = _pillow(
    "AVIF tune ssim",
    "4:4:4 speed 4 tune ssim",
    range(101),
    "avif",
    _fixed(subsampling="4:4:4", speed=4, advanced={"tune": "ssim"}),
    kind="AVIF",
    threads=None,
)
JPEG_2000 = _pillow(
    "JPEG 2000",
    "irreversible 9/7, one layer, quality in 1/100 bit a pixel, JP2",
    range(2, 801),
    "jpg_2000",
    _layer,
    kind="JPEG2000",
)
JPEG_XL = Codec(
    name="JPEG XL",
    settings="effort 7, codestream",
    qualities=range(100),
    encode=partial(_checked, partial(_encode, "JXL", _fixed(effort=7), _JXL_MODULE)),
    decode=partial(_decode, plugin=_JXL_MODULE),
    installed=partial(_found, _JXL_MODULE),
    package=f"{_JXL} from PyPI",
    version=_jxl_version,
    threads=None,
)
MOZJPEG = Codec(
    name="mozjpeg",
    settings=mozjpeg.SETTINGS,
    qualities=range(1, 101),
    encode=partial(_checked, mozjpeg.encode),
    decode=_decode,
    installed=mozjpeg.available,
    package=mozjpeg.PACKAGE,
    version=mozjpeg.version,
)
HEVC = Codec(
    name="HEVC",
    settings=hevc.SETTINGS,
    qualities=range(51, -1, -1),
    encode=partial(_checked, hevc.encode),
    decode=hevc.decode,
    installed=hevc.available,
    package="ffmpeg with libx265 (Debian: ffmpeg)",
    version=hevc.version,
)

ALL: tuple[Codec, ...] = (JPEG, MOZJPEG, WEBP, JPEG_2000, JPEG_XL, AVIF, AVIF_SSIM, AVIF_420, HEVC)


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
