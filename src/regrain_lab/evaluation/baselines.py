"""Real encoders to measure against, and one picture through several of them at equal bytes.

The rate of a baseline is the length of the whole file that it makes, header and all. One more codec is one more
`BenchmarkCodec` in a tuple; its functions may call a library or another program. `BASELINES` are the three that every
Pillow carries, `ALL` has those that need a package more. Nothing is looked for before it is used.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module, metadata, util
from io import BytesIO
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, features

from regrain.errors import ImageError, RegrainError, UsageError
from regrain_lab.evaluation import hevc, mozjpeg
from regrain_lab.evaluation.codecs import AS_STORED, BenchmarkCodec, DecodeSetting, Pixels

__all__ = [
    "ALL", "AVIF", "AVIF_420", "AVIF_SSIM", "BASELINES", "HEVC", "JPEG", "JPEG_2000", "JPEG_XL", "MOZJPEG", "WEBP",
    "Encoded", "at_equal_bytes", "at_size", "available",
]  # fmt: skip

Options = Callable[[int], dict[str, object]]
_JXL, _JXL_MODULE = "pillow-jxl-plugin", "pillow_jxl"


class Encoded(NamedTuple):
    """The file that one codec made of a picture, and the setting that gave it.

    `fits` says whether the file is no larger than a limit, and `pixels` (h, w, 3) are what it decodes to; an empty
    array where it was not decoded.
    """

    codec: str
    quality: float
    data: bytes
    fits: bool = True
    pixels: Pixels = np.zeros((0, 0, 3), np.uint8)

    @property
    def bpp(self) -> float:
        """Bits of the file a pixel."""
        return 8 * len(self.data) / self.pixels[..., 0].size


def _encode_checked(encode: Callable[[Pixels, int], bytes], picture: Pixels, quality: float) -> bytes:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(f"picture is {picture.dtype} {picture.shape}: a baseline takes uint8 (h, w, 3)")
    return encode(np.ascontiguousarray(picture), int(quality))


def _encode(kind: str, options: Options, picture: Pixels, quality: int) -> bytes:
    file = BytesIO()
    _load_plugin(kind)
    try:
        Image.fromarray(picture).save(file, format=kind, **options(quality))
    except (OSError, ValueError) as error:
        height, width = picture.shape[:2]
        raise ImageError(f"{kind} cannot hold a picture of {width}x{height}: {error}") from error
    return file.getvalue()


def _decode(kind: str, data: bytes, decode_setting: DecodeSetting = AS_STORED) -> Pixels:
    _load_plugin(kind)
    with Image.open(BytesIO(data)) as file:
        return np.array(file.convert("RGB"))


def _decode_hevc(data: bytes, decode_setting: DecodeSetting = AS_STORED) -> Pixels:
    return hevc.decode(data)


def _load_plugin(kind: str) -> None:
    """Import the Pillow plugin of a format that has one, which then announces the format."""
    if kind == "JXL":
        import_module(_JXL_MODULE)


def _pillow(
    name: str,
    options: str,
    qualities: range,
    settings: Sequence[int],
    library: str,
    arguments: Options,
    *,
    kind: str = "",
    threads: int | None = 1,
) -> BenchmarkCodec:
    """A codec of Pillow's; `library` is its name of what is behind it, or a plugin; `kind` is that of the format."""
    kind = kind or name.upper()
    return BenchmarkCodec(
        name=name,
        options=options,
        qualities=qualities,
        settings=settings,
        encode=partial(_encode_checked, partial(_encode, kind, arguments)),
        decode=partial(_decode, kind),
        package=f"{_JXL} from PyPI" if library == _JXL else f"Pillow >= 11.3 built with {library}",
        version=partial(_version, library),
        threads=threads,
    )


def _fixed(**options: object) -> Options:
    """Pillow's options at any quality: `quality` itself beside fixed ones."""
    return lambda quality: {"quality": quality, **options}


def _version(library: str) -> str:
    """Pillow's version, which fixes that of the encoder, and the version of the library as far as Pillow knows it."""
    if library == _JXL:
        return f"{_JXL} {metadata.version(_JXL)}" if util.find_spec(_JXL_MODULE) else ""
    if not features.check(library):
        return ""
    known = "libjpeg_turbo" if library == "jpg" and features.check("libjpeg_turbo") else library
    return f"{known} {features.version(known)} in Pillow {PIL.__version__}"


def _one_layer(quality: int) -> dict[str, object]:
    """One quality layer: OpenJPEG takes the ratio of 24 bits a pixel to the rate, here `quality` / 100 bits a pixel."""
    return {"irreversible": True, "mct": 1, "quality_mode": "rates", "quality_layers": [2400 / quality]}


JPEG = _pillow(
    "JPEG", "4:2:0 optimised progressive", range(1, 101), (5, 10, 20, 35, 55, 75, 88), "jpg",
    _fixed(subsampling="4:2:0", optimize=True, progressive=True),
)  # fmt: skip
WEBP = _pillow("WebP", "method 6", range(101), (1, 10, 30, 50, 75, 90), "webp", _fixed(method=6))
_AVIF_SETTINGS = (5, 15, 25, 35, 45, 60, 75)
_avif = partial(_pillow, qualities=range(101), library="avif", kind="AVIF", threads=None)
AVIF = _avif("AVIF", "4:4:4 speed 4", settings=_AVIF_SETTINGS, arguments=_fixed(subsampling="4:4:4", speed=4))
"""The tuning is libavif's own: from 1.4 on for looks (`iq`)."""

BASELINES: tuple[BenchmarkCodec, ...] = (JPEG, WEBP, AVIF)

AVIF_420 = _avif("AVIF 4:2:0", "4:2:0 speed 4", settings=_AVIF_SETTINGS, arguments=_fixed(subsampling="4:2:0", speed=4))
AVIF_SSIM = _avif(
    "AVIF tune ssim", "4:4:4 speed 4 tune ssim", settings=(2, 8, 15, 25, 35, 50, 65),
    arguments=_fixed(subsampling="4:4:4", speed=4, advanced={"tune": "ssim"}),
)  # fmt: skip
JPEG_2000 = _pillow(
    "JPEG 2000", "irreversible 9/7, one layer, quality in 1/100 bit a pixel, JP2", range(2, 801),
    (5, 10, 20, 40, 75, 150), "jpg_2000", _one_layer, kind="JPEG2000",
)  # fmt: skip
JPEG_XL = _pillow(
    "JPEG XL", "effort 7, codestream", range(100), (5, 15, 30, 50, 70, 85), _JXL, _fixed(effort=7), kind="JXL",
    threads=None,
)  # fmt: skip
MOZJPEG = BenchmarkCodec(
    name="mozjpeg",
    options=mozjpeg.OPTIONS,
    qualities=range(1, 101),
    settings=(5, 10, 20, 35, 55, 75, 88),
    encode=partial(_encode_checked, mozjpeg.encode),
    decode=partial(_decode, "JPEG"),
    package=mozjpeg.PACKAGE,
    version=mozjpeg.version,
)
HEVC = BenchmarkCodec(
    name="HEVC",
    options=hevc.OPTIONS,
    qualities=range(51, -1, -1),
    settings=(47, 42, 37, 32, 27, 22),
    encode=partial(_encode_checked, hevc.encode),
    decode=_decode_hevc,
    package="ffmpeg with libx265 (Debian: ffmpeg)",
    version=hevc.version,
)

ALL: tuple[BenchmarkCodec, ...] = (JPEG, MOZJPEG, WEBP, JPEG_2000, JPEG_XL, AVIF, AVIF_SSIM, AVIF_420, HEVC)
"""Settings span 0.05 to 1.5 bits a pixel on photos."""


def available(codecs: Sequence[BenchmarkCodec] = BASELINES) -> tuple[list[BenchmarkCodec], list[str]]:
    """The codecs that can run here, and for each that cannot one line, which names the package it needs."""
    installed = [codec for codec in codecs if codec.installed()]
    return installed, [f"{codec.name} skipped: it needs {codec.package}" for codec in codecs if codec not in installed]


def at_size(codec: BenchmarkCodec, pixels: Pixels, target_bytes: int) -> Encoded:
    """The file of the highest quality with at most `target_bytes` bytes, by bisection over `codec.qualities`.

    File size is taken to grow with quality; where it does not quite, the file returned still fits. When even the lowest
    quality is too large, that file is returned with `fits` False. Raises UsageError for a target under 1 byte, and
    ImageError for a picture the format cannot hold.
    """
    if target_bytes < 1:
        raise UsageError(f"target of {target_bytes} bytes: at least 1 is allowed")
    qualities = codec.qualities
    best = codec.encode(pixels, qualities[0])
    if len(best) > target_bytes:
        return Encoded(codec.name, qualities[0], best, fits=False)
    low, high = 0, len(qualities)
    while high - low > 1:
        middle = (low + high) // 2
        data = codec.encode(pixels, qualities[middle])
        if len(data) <= target_bytes:
            low, best = middle, data
        else:
            high = middle
    return Encoded(codec.name, qualities[low], best)


def at_equal_bytes(codecs: Sequence[BenchmarkCodec], original: Pixels, size: int) -> tuple[list[Encoded], list[str]]:
    """`original`, uint8 (h, w, 3), through each codec at `size` >= 1 bytes, decoded again, and notes.

    No file is larger than `size`, and each is the largest of its codec that is not. A codec that cannot go so low takes
    part with its smallest file. A note tells of each such codec, and of each that failed.
    """
    pictures, notes = [], []
    for codec in codecs:
        try:
            encoded = at_size(codec, original, size)
            pictures.append(encoded._replace(pixels=codec.decode(encoded.data, AS_STORED)))
        except RegrainError as error:
            notes.append(f"{codec.name} skipped: {error}")
            continue
        if not encoded.fits:
            notes.append(f"{codec.name} cannot be as small: shown is its smallest file")
    return pictures, notes
