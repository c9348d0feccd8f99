"""Any Pillow image or array -> uint8 pixels, alpha, metadata; knowingly, mode by mode.

    8 bit = round(16 bit / 257)        float in [0, 1]: round(255 v)        float in [0, 255]: round(v)

Invariants: 0 and full scale map to 0 and 255; nothing is clipped in silence: a value out of range is an `ImageError`.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from regrain.errors import ImageError
from regrain.image.picture import EXIF_MARK, U8, Metadata, Picture

_TARGETS = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_TYPES = ("uint8", "uint16", "int32", "float16", "float32", "float64", "bool")
_OWN_SPACE = ("CMYK", "LAB")
_ROWS = 256
"""Rows that are converted at a time, so that no wider copy of a whole picture is made."""
_SAMPLE_SCALES = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}
_TIFF_EXIF_TAGS = frozenset({270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853})
_IFDS = (34665, 34853)
_XMP_KEY = "XML:com.adobe.xmp"


def eight_bit(values: npt.NDArray[Any]) -> U8:
    """An array of bool, uint8, uint16, int32 or float to uint8 of the same shape.

    int32 is 16-bit when a value exceeds 255, else 8-bit; floats are in [0, 1] when none exceeds 1, else in [0, 255].
    Raises `ImageError` for another type, a value out of range, NaN.
    """
    if (kind := values.dtype.name) not in _TYPES:
        raise ImageError(f"values are {kind}; allowed are {', '.join(_TYPES)}")
    if kind == "uint8":
        return np.ascontiguousarray(values, np.uint8)
    if kind == "bool":
        return np.where(values, np.uint8(255), np.uint8(0))
    least, most, top = values.min(), values.max(), 255 if kind.startswith("float") else 65535
    if not (least >= 0 and most <= top):
        raise ImageError(f"values go from {least} to {most}; allowed is 0 to {top}")
    if kind == "int32" and most <= 255:
        return values.astype(np.uint8)
    pixels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS]
        if top == 255:
            pixels[start : start + _ROWS] = np.rint(rows * 255 if most <= 1 else rows)
        else:
            pixels[start : start + _ROWS] = (rows.astype(np.uint32) + 128) // 257
    return pixels


def from_array(values: npt.NDArray[Any]) -> Picture:
    """An array (h, w) or (h, w, 1 grey, 3 RGB or 4 RGBA) to a picture; types and ranges as in `eight_bit`."""
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or not values.size:
        raise ImageError(f"the array has shape {values.shape}; allowed is (h, w) or (h, w, 1, 3 or 4)")
    pixels = eight_bit(values if values.ndim == 3 else values[..., None])
    return _split(pixels, Metadata())


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow image to a picture, loading it; raises `ImageError`, and whatever Pillow raises on a broken file.

    CMYK and LAB become sRGB and lose their profile (CMYK goes through it); every other mode keeps its profile.
    """
    key, exif = _colour_key(image), _exif(image)
    image.load()
    metadata = _metadata(image, exif)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        return _split(_keyed(eight_bit(samples)[..., None], samples[..., None], key), metadata)
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "CMYK":
        image = _cmyk_to_srgb(image)
    elif image.mode != (target := _TARGETS.get(image.mode, "RGB")):
        image = image.convert(target)
    pixels = np.array(image)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return _split(_keyed(pixels, pixels, key), metadata)


def _split(planes: U8, metadata: Metadata) -> Picture:
    """Colour apart from alpha, the second or fourth plane; alpha that is 255 everywhere is dropped."""
    channels = planes.shape[2]
    if channels in (1, 3):
        return Picture(planes, None, metadata)
    alpha = np.ascontiguousarray(planes[..., -1])
    pixels = np.ascontiguousarray(planes[..., :-1])
    return Picture(pixels, None if (alpha == 255).all() else alpha, metadata)


def _keyed(pixels: U8, samples: npt.NDArray[Any], key: tuple[int, ...] | None) -> U8:
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
    arguments = getattr(next(iter(getattr(image, "tile", [])), None), "args", None)
    scale = _SAMPLE_SCALES.get(arguments, 1) if isinstance(arguments, str) else 1
    return tuple(int(value * scale) for value in ((key,) if isinstance(key, int) else key))


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """CMYK to RGB through the image's own profile, or plainly when it has none that fits."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (KeyError, TypeError, ValueError, OSError, ImportError, ImageCms.PyCMSError):
        converted = None
    return converted or image.convert("RGB")


def _metadata(image: Image.Image, exif: bytes | None) -> Metadata:
    """ICC (unless the pixels leave its colour space), EXIF and XMP of a loaded image; empty ones are None."""
    info = image.info
    icc = None if image.mode in _OWN_SPACE else info.get("icc_profile")
    exif = info.get("exif", exif)
    xmp = info.get("xmp", info.get(_XMP_KEY))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    kept = [bytes(block) if isinstance(block, bytes | bytearray) else b"" for block in (icc, exif, xmp)]
    return Metadata(kept[0] or None, kept[1].removeprefix(EXIF_MARK) or None, kept[2] or None)


def _exif(image: Image.Image) -> bytes | None:
    """EXIF where Pillow has no block of it: a TIFF's own tags that describe the photo, an old PNG's text chunk.

    The orientation of a TIFF is not among them, since Pillow turns such pixels itself. Tags it cannot write are lost.
    """
    if image.format != "TIFF" and "Raw profile type exif" not in image.info:
        return None
    try:
        exif, kept = image.getexif(), Image.Exif()  # a new one: the image's own is the caller's
        kept.endian = exif.endian
        for tag in set(exif) & _TIFF_EXIF_TAGS if image.format == "TIFF" else set(exif):
            kept[tag] = exif.get_ifd(tag) if tag in _IFDS else exif[tag]
        return kept.tobytes() if len(kept) else None
    except Exception:
        return None
