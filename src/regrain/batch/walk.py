"""A folder -> its files, by name, links followed, and no loop of links walked twice.

Invariant: a folder is entered only if it is none of those that lead to it, so that the walk ends.
"""

import os
from collections.abc import Iterator

from regrain.errors import escape
from regrain.places import Entry

__all__ = ["walk"]

_Inode = tuple[int, int]


def walk(root: str, failures: list[tuple[str, str]], notes: list[str]) -> Iterator[Entry]:
    """The files below `root`, but hidden ones (`.name`), pipes and devices; folders are read when they are reached.

    A folder that cannot be read goes to `failures` with its reason, and a link that leads back to a folder above it to
    `notes`. A link that leads nowhere is a file, which fails when it is read.
    """
    waiting: list[tuple[str, str, tuple[_Inode, ...]]] = [(root, "", ())]
    while waiting:
        folder, relative, above = waiting.pop()
        inode = _inode(folder)
        if inode is None or inode in above:
            notes.append(f"{escape(folder)}: this link leads back to a folder that it lies in, and is not followed")
            continue
        below = []
        for entry in _scan(folder, failures):
            name = f"{relative}{entry.name}"
            try:
                if entry.is_dir():
                    below.append((entry.path, f"{name}/", (*above, inode)))
                elif entry.is_file():
                    yield Entry(entry.path, name, entry.stat().st_size)
                elif entry.is_symlink():
                    yield Entry(entry.path, name, 0)
            except OSError:  # a link to itself
                yield Entry(entry.path, name, 0)
        waiting.extend(reversed(below))


def _scan(folder: str, failures: list[tuple[str, str]]) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        failures.append((folder, f"cannot be read: {error.strerror or error}"))
        return []


def _inode(folder: str) -> _Inode | None:
    """What tells a folder from all others; None where a link leads in a circle."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
