"""Any Pillow image or array -> uint8 pixels, alpha, metadata; knowingly, mode by mode.

    8 bit = round(255 v / full scale)        16 bits: 65535        floats: 1, or 255 in arrays

Invariants: 0 and full scale map to 0 and 255; the scale of a file is that of its format, never guessed from its values;
nothing is clipped in silence: a value that does not round into the range is an `ImageError`.
"""

import io
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from regrain.errors import ImageError
from regrain.image.metadata import Unread, metadata_of
from regrain.image.picture import U8, Metadata, Picture
from regrain.image.profiles import GREY, space_of

log = logging.getLogger(__name__)

_TARGETS = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_ROWS = 256
"""Rows that are converted at a time, so that no wider copy of a whole picture is made."""
_SAMPLE_SCALES = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}


def eight_bit(values: npt.NDArray[Any], full: int | None = None) -> U8:
    """An array of whole numbers, floats or bool to uint8 of the same shape; `full` becomes 255.

    None stands for what arrays mean: uint16 is 16-bit, and so is int32 when a value exceeds 255; other whole numbers
    are 8-bit; floats are in [0, 1] when none exceeds 1, in [0, 255] when one is 2 or more. Raises `ImageError` for
    floats between these, for another type, and for a value out of range (by half a level or more) or NaN.
    """
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype == bool:
        return np.where(values, np.uint8(255), np.uint8(0))
    if values.dtype.kind not in "iuf":
        raise ImageError(f"values are {values.dtype.name}; allowed are uint8, other whole numbers, floats and bool")
    least, most, floats = values.min(), values.max(), values.dtype.kind == "f"
    top = full or (65535 if values.dtype.name in ("uint16", "int32") else 255)
    full = full or _full_scale_of_array(values.dtype.name, most)
    slack = full / 510 if floats else 0
    if not (least >= -slack and most <= full + slack):
        raise ImageError(f"values go from {least} to {most}; allowed is 0 to {top}")
    pixels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS]
        if floats:
            pixels[start : start + _ROWS] = np.rint(rows * (255 // full)).clip(0, 255)
        else:
            pixels[start : start + _ROWS] = (rows.astype(np.uint32) * 255 + full // 2) // full
    return pixels


def _full_scale_of_array(kind: str, most: float) -> int:
    """The full scale of an array of this type whose largest value is `most`."""
    if kind.startswith("float"):
        if 1 + 1 / 510 < most < 2:
            raise ImageError(
                f"values go up to {most}, too far for [0, 1] and not far enough for [0, 255]; clip them to [0, 1], "
                "or give them as uint8"
            )
        return 255 if most >= 2 else 1
    return 65535 if kind == "uint16" or (kind == "int32" and most > 255) else 255


def from_array(values: npt.NDArray[Any]) -> Picture:
    """An array (h, w) or (h, w, 1 grey, 3 RGB or 4 RGBA) to a picture; types and ranges as in `eight_bit`."""
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or not values.size:
        raise ImageError(f"the array has shape {values.shape}; allowed is (h, w) or (h, w, 1, 3 or 4)")
    pixels = eight_bit(values if values.ndim == 3 else values[..., None])
    return _split(pixels, Metadata())


def from_pillow(image: Image.Image, name: str = "picture") -> Picture:
    """A Pillow image to a picture, loading it; raises `ImageError`, and whatever Pillow raises on a broken file.

    CMYK and LAB become sRGB and lose their profile (CMYK goes through it); every other mode keeps its profile.
    What is not kept is one line of the log that begins with `name`.
    """
    key, rawmode, unread = _colour_key(image), _rawmode(image), Unread.of(image)
    image.load()
    planes = _planes(image, rawmode, key, name)
    metadata = metadata_of(image, unread, grey=planes.shape[2] < 3, name=name)
    if space_of(metadata.icc) == GREY and planes.shape[2] >= 3:
        planes = np.delete(planes, (1, 2), axis=2)  # all three are equal, or the profile had been left out
    return replace(_split(planes, metadata), luma_steps=_luma_steps(image))


def _luma_steps(image: Image.Image) -> npt.NDArray[np.float32] | None:
    """The quantisation table of the first component of a JPEG, where that is brightness, natural order; None else."""
    if (
        image.format not in ("JPEG", "MPO")
        or image.mode not in ("L", "RGB")
        or not image.info.get("adobe_transform", 1)
    ):
        return None
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        table = image.quantization[image.layer[0][3]]  # type: ignore[attr-defined]
        return np.array(table, np.float32).reshape(8, 8).clip(1, 65535)
    return None


def _planes(image: Image.Image, rawmode: str, key: tuple[int, ...] | None, name: str) -> U8:
    """The samples of a loaded image, uint8 (h, w, 1 to 4), the `key` as alpha; `rawmode` is how a file had them."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        full = None if image.format is None else 1 if image.mode == "F" else 4095 if rawmode == "I;12" else 65535
        if image.format is not None:
            log.warning("%s: its samples of more than 8 bits are kept as 8 bits", name)
            samples = _clip_overshoot(samples, name) if full == 1 else samples
        return _apply_colour_key(eight_bit(samples, full)[..., None], samples[..., None], key)
    if "16" in rawmode:
        log.warning("%s: its samples of 16 bits are kept as 8 bits", name)
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "CMYK":
        image = _cmyk_to_srgb(image)
    elif image.mode != (target := "LA" if rawmode == "LA;16B" else _TARGETS.get(image.mode, "RGB")):
        image = image.convert(target)
    pixels = np.array(image)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return _apply_colour_key(pixels, pixels, key)


def _clip_overshoot(samples: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Floats of a file, which are in [0, 1]; what a filter overshoots by is clipped, more is left to be refused."""
    least, most = samples.min(), samples.max()
    if least >= -1 and most <= 2 and not (least >= 0 and most <= 1):
        log.warning("%s: its values go from %g to %g, those outside 0 to 1 are clipped", name, least, most)
        return samples.clip(0, 1)
    return samples


def _split(planes: U8, metadata: Metadata) -> Picture:
    """Colour apart from alpha, the second or fourth plane; alpha that is 255 everywhere is dropped."""
    channels = planes.shape[2]
    if channels in (1, 3):
        return Picture(planes, None, metadata)
    alpha = np.ascontiguousarray(planes[..., -1])
    pixels = np.ascontiguousarray(planes[..., :-1])
    return Picture(pixels, None if (alpha == 255).all() else alpha, metadata)


def _apply_colour_key(pixels: U8, samples: npt.NDArray[Any], key: tuple[int, ...] | None) -> U8:
    """Pixels with an alpha plane that is 0 where the samples equal the colour key; without a key, as they are."""
    if key is None or len(key) != samples.shape[2]:
        return pixels
    clear = (samples == np.array(key)).all(axis=2)
    return np.concatenate([pixels, np.where(clear, 0, 255).astype(np.uint8)[..., None]], axis=2)


def _colour_key(image: Image.Image) -> tuple[int, ...] | None:
    """The one colour that a file calls transparent, on the scale of the samples that Pillow will give.

    Pillow leaves the key of a PNG of 2, 4 or 3 x 16 bits on the scale of the file, so this is asked before loading.
    """
    key = image.info.get("transparency")
    if image.mode == "P" or not isinstance(key, int | tuple):
        return None
    scale = _SAMPLE_SCALES.get(_rawmode(image), 1)
    return tuple(int(value * scale) for value in ((key,) if isinstance(key, int) else key))


def _rawmode(image: Image.Image) -> str:
    """Pillow's name of how the file has its samples, such as "RGB;16B"; empty for what is loaded, or is no file."""
    arguments = getattr(next(iter(getattr(image, "tile", [])), None), "args", None)
    name = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return name if isinstance(name, str) else ""


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """CMYK to RGB through the image's own profile, or plainly when it has none that fits."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (KeyError, TypeError, ValueError, OSError, ImportError, ImageCms.PyCMSError):
        converted = None
    return converted or image.convert("RGB")
