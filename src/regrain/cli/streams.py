"""Where bytes come from and go to: a path, or `-` for the standard streams.

An output is checked before any work is done for it, and appears whole or not at all.
"""

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from regrain.errors import OutputError, UsageError

__all__ = ["STANDARD", "beside", "check_target", "put", "seekable", "source"]

STANDARD = "-"


def source(name: str) -> str | BinaryIO:
    """What the name of an input stands for. Raises UsageError where it is stdin and that is closed."""
    if name == STANDARD and sys.stdin is None:
        raise UsageError("stdin is closed; name a file")
    return sys.stdin.buffer if name == STANDARD else name


def seekable(name: str) -> str | BinaryIO:
    """As `source`, with stdin held in memory."""
    stream = source(name)
    return stream if isinstance(stream, str) else io.BytesIO(stream.read())


def beside(name: str, suffix: str) -> str:
    """The default output of an input: stdin to stdout, a path to the path with another suffix."""
    return STANDARD if name == STANDARD else os.path.splitext(name)[0] + suffix


def check_target(target: str, *, overwrite: bool, source: str = STANDARD) -> None:
    """Raise OutputError where `target` cannot be written, and UsageError where it is the input or a terminal.

    Nothing is created: this comes before the work, `put` after it.
    """
    if "\0" in target:
        raise OutputError(f"cannot write {target!r}: no name may hold a zero")
    if target == STANDARD:
        if sys.stdout is None:
            raise OutputError("cannot write stdout: it is closed")
        if sys.stdout.isatty():
            raise UsageError("binary output to a terminal is not allowed; name a file, or redirect it")
        return
    path = Path(target)
    parent = path.resolve().parent
    if path.is_dir():
        raise OutputError(f"cannot write {target}: it is a directory")
    if not parent.is_dir():
        raise OutputError(f"cannot write {target}: there is no directory {parent}")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{target} exists; to replace it, name it as OUT, without --no-overwrite")
    if source != STANDARD and path.exists() and os.path.exists(source) and path.samefile(source):
        raise UsageError(f"{target} is the input; name another output")
    there, device = path.exists(), path.exists() and not path.is_file()
    if (there and not os.access(path, os.W_OK)) or (not device and not os.access(parent, os.W_OK)):
        raise OutputError(f"cannot write {target}: permission denied")


def put(data: bytes, target: str, *, overwrite: bool) -> None:
    """Write `data` whole: to stdout, or as a file that replaces what stands at `target`.

    Raises OutputError; a closed pipe stays BrokenPipeError, which is no failure of ours.
    """
    try:
        if target == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            from regrain import image

            image.write_bytes(data, Path(target), overwrite=overwrite)
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OutputError(f"cannot write stdout: {error.strerror or error}") from error
