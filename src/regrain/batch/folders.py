"""A folder, or a pattern, -> its files, by name, links followed, and no loop of links followed twice.

Invariant: a folder is entered only if it is none of those that lead to it, so that every search ends.
"""

import glob
import os
from collections.abc import Iterator

from regrain.errors import escape
from regrain.places import Entry

__all__ = ["inode", "list_files", "match_files"]

_Inode = tuple[int, int]


def list_files(root: str, failures: list[tuple[str, str]], notes: list[str]) -> Iterator[Entry]:
    """The files below `root`, but hidden ones (`.name`), pipes and devices; folders are read when they are reached.

    A folder that cannot be read goes to `failures` with its reason, and a link that leads back to a folder above it to
    `notes`. A link that leads nowhere is a file, which fails when it is read.
    """
    for relative, entries in _folders(root, failures, notes):
        for entry in entries:
            name = f"{relative}{entry.name}"
            try:
                if entry.is_file():
                    yield Entry(entry.path, name, entry.stat().st_size)
                elif entry.is_symlink() and not entry.is_dir():
                    yield Entry(entry.path, name, 0)
            except OSError:  # a link to itself
                yield Entry(entry.path, name, 0)


def match_files(pattern: str, failures: list[tuple[str, str]], notes: list[str]) -> Iterator[Entry]:
    """The files of a pattern by name, relative to the folder before its first wildcard; `**` is any folders below.

    `failures` and `notes` are as in `list_files`, of the folders that `**` stands for.
    """
    root = pattern
    while glob.has_magic(root):
        root = os.path.dirname(root)
    for name in sorted(set(_expand(pattern, failures, notes))):
        if os.path.isfile(name):
            relative = os.path.relpath(name, root or ".")
            yield Entry(name, relative.replace(os.sep, "/"), os.stat(name).st_size)


def _expand(pattern: str, failures: list[tuple[str, str]], notes: list[str]) -> Iterator[str]:
    """What a pattern matches: glob follows links below `**` without an end, and therefore gets no such pattern."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    first = parts.index("**")
    head, rest = os.sep.join([*parts[:first], ""]), os.sep.join(parts[first + 1 :] or ["*"])
    for base in glob.iglob(head) if head else [""]:
        for relative, _ in _folders(base or ".", failures, notes):
            yield from _expand(glob.escape(f"{base}{relative}") + rest, failures, notes)


def _folders(
    root: str, failures: list[tuple[str, str]], notes: list[str]
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """`root` and the folders below it, in the order of their names: the name below `root`, "" or ending in a slash,
    and what lies in each."""
    waiting: list[tuple[str, str, tuple[_Inode, ...]]] = [(root, "", ())]
    while waiting:
        folder, relative, above = waiting.pop()
        number = inode(folder)
        if number is None or number in above:
            notes.append(f"{escape(folder)}: this link leads back to a folder that it lies in, and is not followed")
            continue
        entries = _scan(folder, failures)
        yield relative, entries
        below = [(one.path, f"{relative}{one.name}/", (*above, number)) for one in entries if _is_folder(one)]
        waiting.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _scan(folder: str, failures: list[tuple[str, str]]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        failures.append((folder, f"cannot be read: {error.strerror or error}"))
        return []


def inode(name: str) -> _Inode | None:
    """What tells a file or folder from all others; None where there is none, or a link leads in a circle."""
    try:
        facts = os.stat(name)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
