"""The path of a request -> a file or a folder below the root; a folder -> a page that lists it.

Invariant: nothing outside the root is named, whatever the path says or a link points to; what begins with a dot, and
what is neither a file nor a folder (a pipe would wait for ever), does not exist.
"""

import os
import stat
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from regrain.bitstream import EXTENSION

__all__ = ["Place", "listing", "locate"]

_MOST = 10_000
"""Names that a list has: a folder may have millions."""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 44rem; padding: 0 1rem; overflow-wrap: anywhere }}
table {{ border-spacing: 0 .1rem; width: 100% }}
td + td {{ padding-left: 1rem; text-align: right; white-space: nowrap }}
</style>
<h1>{title}</h1>
<table>
{rows}
</table>
{more}"""
_ROW = '<tr><td><a href="{link}">{name}</a><td>{size}<td>{pictures}'


class Place(NamedTuple):
    """A file or a folder that may be shown: its path without links, and what the system says of it."""

    path: Path
    facts: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder; else it is a file."""
        return stat.S_ISDIR(self.facts.st_mode)


def locate(root: Path, raw_path: bytes) -> Place | None:
    """What the path of a request names below `root` (a path without links), None where that may not be shown.

    `raw_path` is as it was sent, percent signs and all: a slash that was escaped is no slash between names.

    >>> locate(Path("/"), b"/../etc/passwd") is locate(Path("/"), b"/%2e%2e/etc") is locate(Path("/"), b"/etc%2Fhosts")
    True
    """
    names = [os.fsdecode(unquote_to_bytes(name)) for name in raw_path.removeprefix(b"/").split(b"/")]
    if names[-1] == "":
        del names[-1]
    if not raw_path.startswith(b"/") or not all(map(_is_name, names)):
        return None
    return _at(root, root.joinpath(*names))


def _is_name(name: str) -> bool:
    """Whether this may be the name of a file: not hidden, no path, no end of a string of C's."""
    return name != "" and not name.startswith(".") and not {"/", "\\", "\0"} & {*name}


def _at(root: Path, path: Path) -> Place | None:
    """A path below the root, its links followed: None where they lead out of it, or to nothing that is shown."""
    try:
        real = path.resolve(strict=True)
        facts = real.stat()
    except (OSError, RuntimeError):  # a loop of links is a RuntimeError before Python 3.13
        return None
    known = stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)
    return Place(real, facts) if known and real.is_relative_to(root) else None


def listing(root: Path, folder: Path, title: str) -> str:
    """A page with the names of a folder below `root`, folders first; .rgn files have links to what they decode to.

    Raises OSError where the folder cannot be read.
    """
    names = sorted(name for name in os.listdir(folder) if _is_name(name))
    places = [(name, place) for name in names[:_MOST] if (place := _at(root, folder / name)) is not None]
    places.sort(key=lambda row: not row[1].is_folder)
    rows = [_ROW.format(link="../", name="..", size="", pictures="")] if folder != root else []
    rows += _rows(places)
    more = f"<p>{len(names) - _MOST:,} more</p>\n" if len(names) > _MOST else ""
    return _PAGE.format(title=escape(_printable(title)), rows="\n".join(rows), more=more)


def _rows(places: list[tuple[str, Place]]) -> Iterator[str]:
    """A row of the table for each."""
    for name, place in places:
        link = quote(os.fsencode(name), safe="") + "/" * place.is_folder
        pictures = ""
        if not place.is_folder and name.lower().endswith(EXTENSION):
            pictures = " ".join(f'<a href="./{link}?format={kind}">{kind}</a>' for kind in ("png", "jpeg", "webp"))
        size = "" if place.is_folder else f"{place.facts.st_size:,} bytes"
        yield _ROW.format(
            link=f"./{link}", name=escape(_printable(name)) + "/" * place.is_folder, size=size, pictures=pictures
        )


def _printable(name: str) -> str:
    """A name as text that can be sent: bytes of it that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
