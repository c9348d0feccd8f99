"""Bytes -> a file, whole or not at all.

Invariant: under its own name a file is whole or is as it was before; on every failure, Ctrl-C too, the temporary file
in the same folder is removed.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from time import time

from regrain import places
from regrain.errors import OutputError, RegrainError, escape, reason

__all__ = [
    "PathName", "as_output_errors", "printable_path", "remove_leftovers", "whole_folder", "write_bytes", "write_folder",
]  # fmt: skip

PathName = str | os.PathLike[str]
_AGE = 60.0
"""Seconds: a temporary file that is younger may be another run's."""


def write_bytes(
    data: bytes, target: PathName, *, overwrite: bool = True, modified: float | None = None, flush: bool = False
) -> None:
    """Write a file under a temporary name in the same folder, then rename it; or at a URL, as `places` does.

    Links are followed and an existing file's permissions kept; a device or a pipe is written directly. `modified` is
    the time of change that the file is to have, in seconds since 1970. With `flush` the bytes are on the disk, and not
    in the system's memory, before the file has its name.
    Raises `OutputError`: exists already (without `overwrite`), a directory, no such folder, not writable, disk full.

    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_bytes(b"regrain", os.path.join(folder.name, "a"))
    >>> os.listdir(folder.name)
    ['a']
    >>> folder.cleanup()
    """
    path, name = os.fspath(target), printable_path(target)
    with as_output_errors(name):
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
            _replace(data, os.path.realpath(path), overwrite, modified, flush)
    return None


def write_folder(files: Mapping[str, bytes], folder: PathName) -> None:
    """Write files of a folder, all or none of them where one fails; other files that are there stay.

    The folder, and those above it, are made where they are missing. Raises `OutputError` as `write_bytes`.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     write_folder({"a": b"1", "b": b"2"}, os.path.join(parent, "new"))
    ...     sorted(os.listdir(os.path.join(parent, "new")))
    ['a', 'b']
    """
    with as_output_errors(printable_path(folder)), whole_folder(folder) as waiting:
        for name, data in files.items():
            write_bytes(data, os.path.join(waiting, name))


@contextmanager
def whole_folder(folder: PathName) -> Iterator[str]:
    """A folder to write into, whose files become files of `folder` in the end, and are gone where anything fails.

    Makes folders and raises as `write_folder`; what is raised inside passes unchanged.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with whole_folder(parent) as waiting:
    ...         write_bytes(b"1", os.path.join(waiting, "a"))
    ...         before = "a" in os.listdir(parent)
    ...     before, os.listdir(parent)
    (False, ['a'])
    """
    path, name = os.path.realpath(os.fspath(folder)), printable_path(folder)
    with ExitStack() as stack:
        with as_output_errors(name):
            made = [parent for parent in _parents(path) if not os.path.exists(parent)]
            for parent in reversed(made):
                os.mkdir(parent)
                stack.callback(_remove_empty, parent)
            waiting = tempfile.mkdtemp(prefix=".regrain-", suffix=".tmp", dir=path)
            stack.callback(shutil.rmtree, waiting, ignore_errors=True)
        yield waiting
        with as_output_errors(name):
            for file in sorted(os.listdir(waiting)):
                os.replace(os.path.join(waiting, file), os.path.join(path, file))


def _parents(path: str) -> Iterator[str]:
    """The path and the folders above it, up to the root."""
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def _remove_empty(folder: str) -> None:
    """Remove a folder that was made, unless it has come to hold something."""
    with suppress(OSError):
        os.rmdir(folder)


def printable_path(path: PathName) -> str:
    r"""A path as one line of a message may show it, what does not print escaped.

    >>> print(printable_path("new\nline.png"))
    new\nline.png
    """
    return escape(os.fspath(path), 2**16)


@contextmanager
def as_output_errors(name: str) -> Iterator[None]:
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
        raise OutputError(f"{name}: cannot be written: {reason(error)}") from None


def _replace(data: bytes, path: str, overwrite: bool, modified: float | None, flush: bool) -> None:
    """Write to a neighbour, then rename it; or link it, which fails when the name was taken meanwhile."""
    neighbour = os.path.join(os.path.dirname(path), places.temporary_name())
    exists = os.path.exists(path)
    if exists and not os.access(path, os.W_OK):
        raise PermissionError("not writable")
    try:
        with open(neighbour, "xb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if exists:
            os.chmod(neighbour, stat.S_IMODE(os.stat(path).st_mode))
        if modified is not None:
            os.utime(neighbour, (modified, modified))
        if overwrite or not _link(neighbour, path):
            os.replace(neighbour, path)
    finally:
        with suppress(OSError):
            os.unlink(neighbour)


def _link(neighbour: str, path: str) -> bool:
    """Give the file its name unless that is taken (`FileExistsError`); False where there are no hard links."""
    try:
        os.link(neighbour, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):
        return False
    return True


def remove_leftovers(targets: Iterable[str]) -> None:
    """Remove what a run that was killed has left in the folders of these targets, on this machine; raises nothing."""
    for folder in {os.path.dirname(target) or "." for target in targets if not places.is_url(target)}:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if places.TEMPORARY.fullmatch(entry.name) and time() - entry.stat().st_mtime > _AGE:
                    os.unlink(entry.path)
