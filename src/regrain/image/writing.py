"""A picture, or bytes -> a file.

Invariant: under its own name a file is whole or is as it was before; on every failure, Ctrl-C too, the temporary file
in the same folder is removed.
"""

import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from regrain.errors import OutputError, RegrainError, UsageError
from regrain.image.picture import PathName, Picture, one_line, shown

_ALIASES = {"JPG": "JPEG", "TIF": "TIFF"}
_XMP_KEY = "XML:com.adobe.xmp"
_TIFF_XMP = 700
_DEFAULTS: dict[str, dict[str, Any]] = {
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
    **options: object,
) -> None:
    """Write a picture file with its ICC profile, EXIF and XMP, as far as its format has a place for them.

    The format is that of `format_of`. `options` go to Pillow's writer; without any, WebP is lossless and JPEG (95) and
    AVIF (90) have full colour resolution. A path is written as by `write_bytes`; an open file is left open.
    Raises `OutputError` (also when the format cannot hold the picture), or `UsageError` for an unknown format.
    """
    with _errors("output" if not isinstance(target, str | os.PathLike) else shown(target)):
        data = _encoded(picture, format_of(target, format), options)
        if isinstance(target, str | os.PathLike):
            write_bytes(data, target, overwrite=overwrite)
        else:
            target.write(data)
            target.flush()


def format_of(target: PathName | BinaryIO, format: str | None = None) -> str:
    """Pillow's name of the format that `write` uses: `format`, else that of the suffix, else PNG.

    Raises `UsageError` when Pillow cannot write it.
    """
    suffix = os.path.splitext(os.fspath(target))[1].lower() if isinstance(target, str | os.PathLike) else ""
    Image.init()
    asked = (format or "").lstrip(".").upper()
    found = _ALIASES.get(asked, asked) if asked else Image.registered_extensions().get(suffix, "") if suffix else "PNG"
    if found not in Image.SAVE:
        raise UsageError(f"picture format is {format or suffix!r}; allowed are png, jpg, webp, avif, tif and the like")
    return found


def write_bytes(data: bytes, target: PathName, *, overwrite: bool = True) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Links are followed and an existing file's permissions kept; a device or a pipe is written directly.
    Raises `OutputError`: exists already (without `overwrite`), a directory, no such folder, not writable, disk full.
    """
    path, name = os.fspath(target), shown(target)
    with _errors(name):
        if not os.path.basename(path):
            raise OutputError(f"{name!r} does not name a file")
        if not overwrite and os.path.lexists(path):
            raise FileExistsError(f"{name} exists already")
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(data, os.path.realpath(path), overwrite)


def _replace(data: bytes, path: str, overwrite: bool) -> None:
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
        if overwrite or not _linked(beside, path):
            os.replace(beside, path)
    finally:
        with suppress(OSError):
            os.unlink(beside)


def _linked(beside: str, path: str) -> bool:
    """Give the file its name unless that is taken (`FileExistsError`); False where there are no hard links."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):
        return False
    return True


def _encoded(picture: Picture, format: str, options: dict[str, object]) -> bytes:
    """The bytes of a picture file."""
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
