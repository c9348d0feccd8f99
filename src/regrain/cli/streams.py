"""Where bytes come from and go to: a path, or `-` for the standard streams.

An output is checked before any work is done for it, replaces nothing that nobody said it may, and appears whole or not
at all.
"""

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from regrain import places
from regrain.bitstream import EXTENSION, MAGIC
from regrain.cli.terminal import STANDARD, display_name, escape, write_whole
from regrain.errors import ImageError, LimitError, OutputError, UsageError, reason
from regrain.output import write_bytes

__all__ = ["check_rgn_target", "check_target", "default_output", "picture_format", "put", "seekable", "source"]

_BYTES_A_PIXEL = 8
_OTHER_BYTES = 2**26
_PIECE = 2**20


def source(name: str) -> str | BinaryIO:
    """What the name of an input stands for. Raises UsageError where it is stdin and that is closed."""
    if name == STANDARD and sys.stdin is None:
        raise UsageError("stdin is closed; name a file")
    return sys.stdin.buffer if name == STANDARD else name


def seekable(name: str, max_pixels: int = 250_000_000) -> str | BinaryIO:
    """As `source`, with what can be read once only, as stdin or a named pipe, held in memory.

    Raises LimitError where that is longer than so many pixels ever are, ImageError where it cannot be read.
    """
    stream = source(name)
    try:
        if not isinstance(stream, str):
            return _buffer(stream, name, max_pixels)
        if not os.path.exists(stream) or os.path.isfile(stream) or os.path.isdir(stream):
            return stream
        with open(stream, "rb") as pipe:
            return _buffer(pipe, name, max_pixels)
    except OSError as error:
        raise ImageError(f"{display_name(name)}: cannot be read: {reason(error)}") from error


def _buffer(stream: BinaryIO, name: str, max_pixels: int) -> io.BytesIO:
    most, held = _BYTES_A_PIXEL * max_pixels + _OTHER_BYTES, io.BytesIO()
    while piece := stream.read(_PIECE):
        held.write(piece)
        if held.tell() > most:
            raise LimitError(
                f"{display_name(name)}: it has more bytes than {max_pixels} pixels, see --max-pixels, can take"
            )
    held.seek(0)
    return held


def default_output(name: str, suffix: str) -> str:
    """The default output of an input: stdin to stdout, a path to the path with another suffix."""
    return STANDARD if name == STANDARD else os.path.splitext(name)[0] + suffix


def picture_format(target: str) -> str:
    """The format of a picture that is written to `target`, by its suffix; raises UsageError where that is of none."""
    from regrain import image

    if target == STANDARD:
        return "PNG"
    if target.lower().endswith(EXTENSION):
        raise UsageError(
            f"{escape(target)} has the suffix of what is decoded; a picture is written: name it .png or so"
        )
    return image.format_of(target)


def check_rgn_target(target: str, *, overwrite: bool, source: str) -> None:
    """As `check_target`, for a .rgn file: what is a picture by its name, or no .rgn file, is never replaced by one.

    So a pattern of the shell that stands for two pictures does not cost the second.
    """
    if target != STANDARD and os.path.isfile(target):
        _check_not_input(target, source)
    if _is_picture_name(target):
        raise UsageError(
            f"{escape(target)} has the suffix of a picture, where a {EXTENSION} file is to be written; "
            "encode takes one picture at a time, and OUT after it"
        )
    check_target(target, overwrite=overwrite, source=source)
    if target != STANDARD and os.path.isfile(target) and not target.lower().endswith(EXTENSION):
        with open(target, "rb") as file:
            start = file.read(len(MAGIC))
        if start not in (b"", MAGIC):
            raise OutputError(f"{escape(target)} exists and is no {EXTENSION} file; remove it, or name another output")


def _is_picture_name(target: str) -> bool:
    """Whether a name has the suffix of a format of pictures, one that Pillow writes or any other."""
    from regrain import image

    suffix = os.path.splitext(target)[1].lower()
    return suffix not in ("", EXTENSION) and image.is_picture_suffix(suffix)


def _check_not_input(target: str, source: str) -> None:
    if source != STANDARD and os.path.exists(source) and os.path.samefile(target, source):
        raise UsageError(f"{escape(target)} is the input; name another output")


def check_target(target: str, *, overwrite: bool, source: str = STANDARD) -> None:
    """Raise OutputError where `target` cannot be written, and UsageError where it is the input or a terminal.

    A file that exists is not to be replaced without `overwrite`; a device or a pipe has nothing to lose. Nothing is
    created: this comes before the work, `put` after it.
    """
    name = escape(target)
    if "\0" in target:
        raise OutputError(f"cannot write {name}: no name may hold a zero")
    if target == STANDARD:
        if sys.stdout is None:
            raise OutputError("cannot write stdout: it is closed")
        if sys.stdout.isatty():
            raise UsageError("binary output to a terminal is not allowed; name a file, or redirect it")
        return None
    if places.is_url(target):
        return _check_url(target, name, overwrite=overwrite)
    path = Path(target)
    parent = path.resolve().parent
    there, device = path.exists(), path.exists() and not path.is_file()
    if path.is_dir():
        raise OutputError(f"cannot write {name}: it is a directory")
    if not parent.is_dir():
        raise OutputError(f"cannot write {name}: there is no directory {escape(str(parent))}")
    if there:
        _check_not_input(target, source)
    if os.path.lexists(path) and not device and not overwrite:
        raise OutputError(f"{name} exists; --overwrite replaces it")
    if (there and not os.access(path, os.W_OK)) or (not device and not os.access(parent, os.W_OK)):
        raise OutputError(f"cannot write {name}: permission denied")
    return None


def _check_url(url: str, name: str, *, overwrite: bool) -> None:
    """As `check_target`, as far as the file system of a URL says it before something is written."""
    if overwrite:
        return
    try:
        there = places.exists(url)
    except OSError as error:
        raise OutputError(f"cannot write {name}: {reason(error)}") from error
    if there:
        raise OutputError(f"{name} exists; --overwrite replaces it")


def put(data: bytes, target: str, *, overwrite: bool, like: str | None = None) -> None:
    """Write `data` whole: to stdout, or as a file that replaces what stands at `target` if `overwrite`.

    The file gets the time of change of `like`, if that is named and is no stream.

    Raises OutputError; a closed pipe stays BrokenPipeError, which is no failure of ours.
    """
    try:
        if target == STANDARD:
            write_whole(sys.stdout.buffer, data)
        else:
            device = os.path.exists(target) and not os.path.isfile(target)
            modified = None if like in (None, STANDARD) else places.modified(str(like))
            write_bytes(data, target, overwrite=overwrite or device, modified=modified)
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OutputError(f"cannot write stdout: {reason(error)}") from error
