"""A place is a path or a URL. Bytes come from it, and go to it whole or not at all.

    photo.png   /data/photos                        the file system of this machine
    s3://bucket/key   gs://   memory://   zip://    any file system that fsspec knows, through the extra `remote`

Here is all that regrain knows of URLs. fsspec is imported at the first one.
"""

import errno
import io
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import BinaryIO, NamedTuple, Protocol, cast

from regrain.errors import UsageError, reason

__all__ = [
    "TEMPORARY", "Entry", "check_installed", "exists", "is_url", "modified", "open_binary", "put", "size",
    "temporary_name", "tree",
]  # fmt: skip

TEMPORARY = re.compile(r"\.regrain-[0-9a-f]{16}\.tmp")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:://|::)")
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "hf", "memory"})
"""Stores in which an object appears whole or not at all, so that no second name is needed."""
_TIMES = ("mtime", "LastModified", "last_modified", "created")


class Entry(NamedTuple):
    """One file of a tree: its place, its name below the root with `/` between the parts, and its size in bytes."""

    name: str
    relative: str
    size: int


class _FileSystem(Protocol):
    """What is asked of a file system of fsspec's."""

    protocol: str | tuple[str, ...]

    def open(self, path: str, mode: str) -> BinaryIO: ...
    def info(self, path: str) -> Mapping[str, object]: ...
    def exists(self, path: str) -> bool: ...
    def isdir(self, path: str) -> bool: ...
    def find(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, object]]: ...
    def glob(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, object]]: ...
    def pipe_file(self, path: str, value: bytes) -> object: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def mv(self, path1: str, path2: str) -> object: ...
    def rm_file(self, path: str) -> object: ...
    def unstrip_protocol(self, name: str) -> str: ...
    def invalidate_cache(self) -> None: ...


def is_url(name: object) -> bool:
    """Whether a name is a URL, that is, begins with a scheme: `s3://`, or `zip::` of a chain.

    >>> is_url("s3://bucket/photo.png"), is_url("photo.png"), is_url("C:/photo.png")
    (True, False, False)
    """
    return isinstance(name, str) and _SCHEME.match(name) is not None


def temporary_name() -> str:
    """A name, which TEMPORARY matches, that a file has while it is written."""
    return f".regrain-{secrets.token_hex(8)}.tmp"


def check_installed(deed: str, packages: tuple[str, ...], extra: str) -> None:
    """Raise UsageError with the pip command of `extra` unless all packages can be imported."""
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise UsageError(f"{deed} needs {package}; install it with: pip install 'regrain[{extra}]'") from None


def open_binary(name: str | os.PathLike[str]) -> BinaryIO:
    """A place, open for reading. Raises OSError, or what the file system of a URL raises; UsageError without fsspec."""
    if not is_url(name):
        return open(name, "rb")
    with _file_system(str(name)) as (system, path), system.open(path, "rb") as file:
        return io.BytesIO(file.read())  # held in memory: Pillow seeks back and forth, and each seek is a request


def size(name: str | os.PathLike[str]) -> int:
    """Bytes at a place; raises as `open_binary`."""
    if not is_url(name):
        return os.stat(name).st_size
    with _file_system(str(name)) as (system, path):
        return _length(system.info(path))


def modified(name: str) -> float | None:
    """When a place was changed last, in seconds since 1970; None where its file system does not say it."""
    if not is_url(name):
        return os.stat(name).st_mtime
    with _file_system(name) as (system, path):
        facts = system.info(path)
    for key in _TIMES:
        value = facts.get(key)
        stamp = value.timestamp() if hasattr(value, "timestamp") else value
        if isinstance(stamp, int | float):
            return float(stamp)
    return None


def exists(url: str) -> bool:
    """Whether there is something at a URL; raises as `open_binary`."""
    with _file_system(url) as (system, path):
        return system.exists(path)


def put(data: bytes, url: str) -> None:
    """Write a file at a URL, whole or not at all. Raises what its file system raises."""
    with _file_system(url) as (system, path):
        if system.protocol in _WHOLE or not _WHOLE.isdisjoint(system.protocol):
            _write(system, path, data)
        else:
            _replace(system, path, data)


def tree(url: str) -> Iterator[Entry] | None:
    """The files below a URL, or those that its pattern matches, by name; None where it is one file.

    Names are relative to the folder, or to the part of the pattern before its first wildcard. Raises as `open_binary`,
    FileNotFoundError where there is nothing.
    """
    outer, _, inner = url.partition("::")
    with _file_system(url) as (system, path):
        system.invalidate_cache()
        if "*" in path:
            root = path.partition("*")[0].rpartition("/")[0]
            files = {name: one for name, one in system.glob(path, detail=True).items() if one.get("type") == "file"}
        elif system.isdir(path) or url.endswith("/"):
            root, files = path.rstrip("/"), dict(system.find(path, detail=True))
        elif system.exists(path):
            return None
        else:
            raise FileNotFoundError(url)
    chain = f"::{inner}" if inner and "://" in outer else ""  # zip://folder::archive.zip
    root = root.lstrip("/")
    return iter(
        Entry(system.unstrip_protocol(name) + chain, name.lstrip("/").removeprefix(root).lstrip("/"), _length(facts))
        for name, facts in sorted(files.items())
    )


def _replace(system: _FileSystem, path: str, data: bytes) -> None:
    """Write beside, then rename: for file systems that show what is half-written."""
    folder = path.rpartition("/")[0]
    beside = f"{folder}/{temporary_name()}" if folder else temporary_name()
    if folder:
        with suppress(NotImplementedError):
            system.makedirs(folder, exist_ok=True)
    try:
        _write(system, beside, data)
        system.mv(beside, path)
    except BaseException:
        with suppress(Exception):
            system.rm_file(beside)
        raise


def _write(system: _FileSystem, path: str, data: bytes) -> None:
    """All bytes at once; by a stream where the file system has no other way."""
    try:
        system.pipe_file(path, data)
    except NotImplementedError:
        with system.open(path, "wb") as file:
            file.write(data)


def _length(facts: Mapping[str, object]) -> int:
    """The size that a file system tells, 0 where it tells none."""
    length = facts.get("size")
    return length if isinstance(length, int) else 0


@contextmanager
def _file_system(url: str) -> Iterator[tuple[_FileSystem, str]]:
    """The file system of a URL, and the path in it; inside, whatever it raises is an OSError of one line.

    Raises UsageError for a scheme that fsspec does not know, and for a package that lacks.
    """
    scheme = re.split(r"://|::", url, maxsplit=1)[0]
    check_installed(f"{scheme}://", ("fsspec",), "remote")
    try:
        system, path = import_module("fsspec.core").url_to_fs(url)
    except ImportError as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{scheme}:// needs a package ({said}); pip install 'regrain[remote]' brings s3fs") from None
    except ValueError as error:
        raise UsageError(f"{url} cannot be used: {' '.join(str(error).split())}") from None
    try:
        yield cast(_FileSystem, system), str(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file or bucket") from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"access is refused ({reason(error)})") from error
    except Exception as error:
        raise OSError(getattr(error, "errno", None) or errno.EIO, reason(error)) from error
