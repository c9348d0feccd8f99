"""A picture -> a file, which is whole or not there at all (`output`)."""

import io
import logging
import os
from dataclasses import replace
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from regrain.errors import RegrainError, reason
from regrain.image.formats import as_held_by, format_of, upright
from regrain.image.picture import Picture
from regrain.output import PathName, as_output_errors, printable_path, write_bytes

log = logging.getLogger(__name__)

_XMP_KEY = "XML:com.adobe.xmp"
_TIFF_XMP = 700
_DEFAULTS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # zlib's 6 takes three times as long, a third of a decode, for 8 % fewer bytes
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}


def write(
    picture: Picture,
    target: PathName | BinaryIO,
    *,
    format: str | None = None,
    name: str | None = None,
    **options: object,
) -> None:
    """Write a picture file with its ICC profile, EXIF and XMP, as far as its format has a place for them.

    Where there is none, the pixels are turned upright and brought to sRGB (`regrain.image.formats`), and a line of the
    log says which blocks are left out; so too where the writer refuses a block, such as EXIF over 64 kB in a JPEG.
    The format is that of `format_of`. Errors and log begin with `name` (None: the path, or "output"). `options` go to
    Pillow's writer; without any, WebP is lossless, and JPEG (95) and AVIF (90) have full colour resolution. A path is
    written as by `write_bytes`; an open file is left open.
    Raises `OutputError` (also when the format cannot hold the picture), or `UsageError` for an unknown format.
    """
    name = name or (printable_path(target) if isinstance(target, str | os.PathLike) else "output")
    data = to_file(picture, format_of(target, format), name, **options)
    with as_output_errors(name):
        if isinstance(target, str | os.PathLike):
            write_bytes(data, target)
        else:
            target.write(data)
            target.flush()


def to_file(picture: Picture, format: str, name: str = "output", **options: object) -> bytes:
    """The bytes of the file that `write` writes in a format, by its suffix or Pillow's name; raises as `write`."""
    with as_output_errors(name):
        return _encode(picture, format_of("", format), options, name)


def _encode(picture: Picture, format: str, options: dict[str, object], name: str) -> bytes:
    """The bytes of a picture file, without those of its blocks that the writer refuses: the picture comes first."""
    picture = as_held_by(picture, format, name)
    present = tuple(block for block in ("exif", "xmp", "icc") if getattr(picture.metadata, block))
    refusal: Exception | None = None
    for blocks in ((), *((block,) for block in present), present):
        try:
            data = _save(_without(picture, blocks), format, options)
        except (MemoryError, RegrainError):
            raise
        except Exception as error:
            refusal = refusal or error
            continue
        if refusal:
            what = " and ".join(block.upper() for block in blocks)
            log.warning("%s: %s cannot hold its %s, which is left out: %s", name, format, what, reason(refusal))
        return data
    return _save(picture, format, options)  # which raises what the writer has against the picture itself


def _without(picture: Picture, blocks: tuple[str, ...]) -> Picture:
    """The picture without some of its metadata; without EXIF it is turned as that said."""
    picture = upright(picture) if "exif" in blocks else picture
    return replace(picture, metadata=replace(picture.metadata, **dict.fromkeys(blocks)))


def _save(picture: Picture, format: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    chosen: dict[str, Any] = _metadata_options(picture, format) | (options or _DEFAULTS.get(format, {}))
    picture.to_pillow().save(buffer, format=format, **chosen)
    return buffer.getvalue()


def _metadata_options(picture: Picture, format: str) -> dict[str, Any]:
    """ICC, EXIF and XMP as Pillow's writer of a format takes them; PNG and TIFF have a place of their own for XMP."""
    options: dict[str, Any] = dict(picture.metadata.info())
    xmp = picture.metadata.xmp
    if xmp and format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(_XMP_KEY, xmp)
    if xmp and format == "TIFF":
        exif = Image.Exif()
        exif.load(options.get("exif", b""))
        exif[_TIFF_XMP] = xmp
        options["exif"] = exif
    return options
