"""A picture, or bytes -> a file.

Invariant: under its own name a file is whole or is as it was before; on every failure, Ctrl-C too, the temporary file
in the same folder is removed.
"""

import io
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from regrain import places
from regrain.errors import OutputError, RegrainError
from regrain.image.formats import fit, format_of, upright
from regrain.image.picture import PathName, Picture, one_line, printable_path

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
    overwrite: bool = True,
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
    with _errors(name):
        data = _encode(picture, format_of(target, format), options, name)
        if isinstance(target, str | os.PathLike):
            write_bytes(data, target, overwrite=overwrite)
        else:
            target.write(data)
            target.flush()


def write_bytes(data: bytes, target: PathName, *, overwrite: bool = True, modified: float | None = None) -> None:
    """Write a file under a temporary name in the same folder, then rename it; or at a URL, as `regrain.places` does.

    Links are followed and an existing file's permissions kept; a device or a pipe is written directly. `modified` is
    the time of change that the file is to have, in seconds since 1970.
    Raises `OutputError`: exists already (without `overwrite`), a directory, no such folder, not writable, disk full.
    """
    path, name = os.fspath(target), printable_path(target)
    with _errors(name):
        if places.is_url(path):
            if not overwrite and places.exists(path):
                raise FileExistsError(f"{name} exists already")
            return places.put(data, path)
        if not os.path.basename(path):
            raise OutputError(f"{name!r} does not name a file")
        if not overwrite and os.path.lexists(path):
            raise FileExistsError(f"{name} exists already")
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(data, os.path.realpath(path), overwrite, modified)
    return None


def _replace(data: bytes, path: str, overwrite: bool, modified: float | None) -> None:
    """Write beside, then rename over; or link, which fails when the name was taken meanwhile."""
    beside = os.path.join(os.path.dirname(path), f".regrain-{secrets.token_hex(8)}.tmp")
    exists = os.path.exists(path)
    if exists and not os.access(path, os.W_OK):
        raise PermissionError("not writable")
    try:
        with open(beside, "xb") as file:
            file.write(data)
        if exists:
            os.chmod(beside, stat.S_IMODE(os.stat(path).st_mode))
        if modified is not None:
            os.utime(beside, (modified, modified))
        if overwrite or not _link(beside, path):
            os.replace(beside, path)
    finally:
        with suppress(OSError):
            os.unlink(beside)


def _link(beside: str, path: str) -> bool:
    """Give the file its name unless that is taken (`FileExistsError`); False where there are no hard links."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):
        return False
    return True


def _encode(picture: Picture, format: str, options: dict[str, object], name: str) -> bytes:
    """The bytes of a picture file, without those of its blocks that the writer refuses: the picture comes first."""
    picture = fit(picture, format, name)
    try:
        return _save(picture, format, options)
    except (MemoryError, RegrainError):
        raise
    except Exception as error:
        refusal = error
    present = [block for block in ("exif", "xmp", "icc") if getattr(picture.metadata, block)]
    for blocks in (*((block,) for block in present), tuple(present)):
        with suppress(Exception):
            data = _save(_without(picture, blocks), format, options)
            what = " and ".join(block.upper() for block in blocks)
            log.warning("%s: %s cannot hold its %s, which is left out: %s", name, format, what, one_line(refusal))
            return data
    raise refusal


def _without(picture: Picture, blocks: tuple[str, ...]) -> Picture:
    """The picture without some of its metadata; without EXIF it is turned as that said."""
    picture = upright(picture) if "exif" in blocks else picture
    return replace(picture, metadata=replace(picture.metadata, **dict.fromkeys(blocks)))


def _save(picture: Picture, format: str, options: dict[str, object]) -> bytes:
    """What Pillow's writer makes of a picture."""
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


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Whatever the system or Pillow raises, as one line of `OutputError` with the file's name before it."""
    try:
        yield
    except RegrainError:
        raise
    except FileNotFoundError:
        raise OutputError(f"{name}: its folder does not exist") from None
    except FileExistsError:
        raise OutputError(f"{name}: exists already and may not be overwritten") from None
    except Exception as error:
        raise OutputError(f"{name}: cannot be written: {one_line(error)}") from None
