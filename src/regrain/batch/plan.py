"""Inputs and an output -> tasks, one a picture, before anything is read or written.

    photos/a/b.jpg  ->  OUT/a/b.rgn                 one folder, or a pattern: its tree is mirrored
    x.png photos    ->  OUT/x.rgn OUT/photos/...    several inputs: folders keep their names

Invariant: no two tasks have the same target, and no target is an input.
"""

import os
import posixpath
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Literal

from regrain import places
from regrain.batch.folders import inode, list_files, match_files
from regrain.bitstream import EXTENSION
from regrain.errors import BitstreamError, ImageError, OutputError, UsageError, escape
from regrain.places import Entry

__all__ = ["Plan", "Task", "has_pattern", "input_files", "is_folder", "make_plan"]

Existing = Literal["refuse", "skip", "replace"]
"""What becomes of a target that exists."""


@dataclass(frozen=True)
class Task:
    """One picture: where it comes from, where it goes, and how many bytes it has (0 where nobody says it)."""

    source: str
    target: str
    size: int = 0


@dataclass
class Plan:
    """What is to be done. `skipped` have their targets already; `failures` are sources and what is wrong with each.

    `notes` are lines to be said, and `others` counts the files that are not of the kind that was asked for.
    """

    tasks: list[Task] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: int = 0

    @property
    def pictures(self) -> int:
        """How many there are, those that are skipped or failed included."""
        return len(self.tasks) + len(self.skipped) + len(self.failures)


def has_pattern(name: str) -> bool:
    """Whether a name is a pattern such as `photos/**/*.jpg`, and no file that happens to be called so."""
    return "*" in name if places.is_url(name) else bool({"*", "?"} & set(name)) and not os.path.lexists(name)


def is_folder(name: str) -> bool:
    """Whether a name says by its last character, or by what is there, that it is a folder; a URL by its end alone."""
    return name.endswith(("/", os.sep)) or (not places.is_url(name) and os.path.isdir(name))


def make_plan(
    inputs: Sequence[str], output: str, *, suffix: str, accepts: Callable[[str], bool], existing: Existing
) -> Plan:
    """The tasks of `inputs`, whose targets lie below the folder `output` and end in `suffix`.

    `accepts` says of a lower-case suffix whether such files of a folder count; a file that is named counts anyway.
    Raises ImageError where an input is not there, or none of them has a picture; UsageError where two have one target
    or a target is an input; OutputError where the folder cannot be written to, or with `existing` "refuse" has one of
    the targets already.
    """
    plan = Plan()
    _check_output(output)
    targets: dict[str, str] = {}
    here, folds = _list_targets(output), _ignores_case(output)
    inodes: set[tuple[int, int]] = set()
    for entry in input_files(inputs, accepts, plan):
        if not _is_safe(entry.relative):
            plan.failures.append((entry.name, "its name leads out of the folder"))
            continue
        target = _join(output, str(PurePosixPath(entry.relative).with_suffix(suffix)))
        key = unicodedata.normalize("NFC", target).casefold() if folds else target
        if key in targets:
            raise UsageError(
                f"{escape(targets[key])} and {escape(entry.name)} would both become {escape(target)}: rename one of "
                "them, or name another output for it"
            )
        targets[key] = entry.name
        task = Task(entry.name, target, entry.size)
        inodes |= _inode(entry.name)
        (plan.skipped if _is_whole(target, here) else plan.tasks).append(task)
    if not plan.pictures:
        others = f" among {plan.others} files" if plan.others else ""
        missing = ImageError if suffix == EXTENSION else BitstreamError
        raise missing(f"{escape(', '.join(inputs))}: there is no {_kind(suffix)}{others}")
    _settle(plan, existing, inodes)
    return plan


def _kind(suffix: str) -> str:
    return "picture" if suffix == EXTENSION else f"{EXTENSION} file"


def _settle(plan: Plan, existing: Existing, inodes: set[tuple[int, int]]) -> None:
    """Refuse, skip or do again those tasks whose targets exist; never write over an input."""
    for task in plan.skipped:
        if _inode(task.target) & inodes and existing != "skip":
            raise UsageError(f"{escape(task.target)} is an input; name another output")
    if plan.skipped and existing == "refuse":
        others = len(plan.skipped) - 1
        exist = f"and {others:,} more exist" if others else "exists"
        raise OutputError(f"{escape(plan.skipped[0].target)} {exist}: --skip-existing goes on, --overwrite replaces")
    if existing == "replace":
        plan.tasks, plan.skipped = sorted(plan.tasks + plan.skipped, key=lambda task: task.source), []


def input_files(inputs: Sequence[str], accepts: Callable[[str], bool], plan: Plan) -> Iterator[Entry]:
    """The files of all inputs; those below the folder of one of several inputs with its name before theirs.

    `plan` gets failures, notes and the number of other files. Raises ImageError where an input is not there.
    """
    for name in inputs:
        files = _files(name, plan)
        if files is None:
            base = posixpath.basename(name.partition("::")[0]) if places.is_url(name) else os.path.basename(name)
            yield Entry(name, base, places.size(name))
            continue
        prefix = "" if len(inputs) == 1 or has_pattern(name) else f"{_base(name)}/"
        first = next(files, None)
        for entry in chain([] if first is None else [first], files):
            if accepts(os.path.splitext(entry.relative)[1].lower()):
                yield entry._replace(relative=prefix + entry.relative)
            else:
                plan.others += 1


def _files(name: str, plan: Plan) -> Iterator[Entry] | None:
    """The files that an input stands for, None where it is one file; raises ImageError where it is not there."""
    try:
        if places.is_url(name):
            found = places.tree(name)
            return found and (entry for entry in found if not _is_hidden(entry.relative))
        if has_pattern(name):
            return match_files(name, plan.failures, plan.notes)
        if os.path.isdir(name):
            return list_files(name, plan.failures, plan.notes)
        os.stat(name)
    except OSError as error:
        raise ImageError(f"{escape(name)}: {error.strerror or error}") from error
    return None


def _existing_part(path: str) -> str:
    """The nearest part of a path that exists, itself or a folder above it."""
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return place


def _base(folder: str) -> str:
    if places.is_url(folder):
        return posixpath.basename(folder.partition("::")[0].rstrip("/").partition("://")[2]) or "root"
    return os.path.basename(os.path.abspath(folder)) or "root"


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in relative.split("/"))


def _is_safe(relative: str) -> bool:
    """Whether a name stays below its folder: keys of a bucket and names in an archive may be anything."""
    return "\0" not in relative and not {"", ".", ".."} & set(relative.split("/"))


def _join(folder: str, relative: str) -> str:
    return f"{folder.rstrip('/')}/{relative}" if places.is_url(folder) else os.path.join(folder, *relative.split("/"))


def _check_output(output: str) -> None:
    """Raise OutputError where the folder cannot be made or written to; a bucket says so at the first picture."""
    if places.is_url(output) and "::" in output:
        raise OutputError(f"cannot write into {escape(output)}: archives and chains are read only")
    if places.is_url(output):
        return
    if "\0" in output:
        raise OutputError("cannot write there: no name may hold a zero")
    place = _existing_part(output)
    if not os.path.isdir(place):
        raise OutputError(f"cannot write into {escape(output)}: {escape(place)} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {escape(output)}: permission denied")


def _ignores_case(output: str) -> bool:
    """Whether `A` and `a` are one file below a folder of this machine, by the name of the nearest part that exists."""
    if places.is_url(output):
        return False
    place = Path(_existing_part(output))
    for part in (place, *place.parents):
        if part.name.swapcase() != part.name:
            other = part.with_name(part.name.swapcase())
            return other.exists() and part.samefile(other)
    return False


def _list_targets(output: str) -> dict[str, int] | None:
    """All that lies below a URL already, with sizes, by one listing; None for a folder of this machine."""
    if not places.is_url(output):
        return None
    try:
        entries = places.tree(output.rstrip("/") + "/")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"cannot write into {escape(output)}: {error.strerror or error}") from error
    return {_join(output, entry.relative): entry.size for entry in entries or ()}


def _is_whole(target: str, here: dict[str, int] | None) -> bool:
    """Whether a target is there, a file, and not empty: a crash of the machine may leave a name without its bytes."""
    if here is not None:
        return here.get(target, 0) > 0
    try:
        facts = os.stat(target)
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0


def _inode(name: str) -> set[tuple[int, int]]:
    """What tells one file of this machine from all others."""
    number = None if places.is_url(name) else inode(name)
    return set() if number is None else {number}
