"""The files of a shard by their offsets: tar headers read one by one, whatever is in them.

    header | data | header | data ... | zeros        each in blocks of 512 bytes; a long name is a member before its own

Invariants: the offset moves forward with every header, so that reading ends; a member lies within its file; nothing
that a header says is allocated or believed before it is bounded; a shard costs one short read a member.
"""

import logging
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from regrain.errors import UsageError, escape

__all__ = ["MEMBERS_MAX", "Entry", "entries"]

log = logging.getLogger(__name__)

BLOCK: Final = 512
NAME_MAX: Final = 1024
SIZE_MAX: Final = 2**28
MEMBERS_MAX: Final = 2**18
NOTES_MAX: Final = 2**16
"""Bytes of a long name, or of pax records about the next member."""
DATALESS: Final = tuple(b"123456")
"""Links, devices and folders: no data, whatever size their headers give."""
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, SPARSE = b"L", b"K", b"x", b"g", b"S"
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,5}) ")


@dataclass(frozen=True)
class Entry:
    """A file in a shard: shard[offset : offset + size]."""

    name: str
    offset: int
    size: int


@dataclass
class _Notes:
    """What members before a member say of it; `problem` is why it cannot be used."""

    name: bytes | None = None
    size: int | None = None
    problem: str = ""


class _Damage(Exception):  # noqa: N818 - never leaves the module
    """Here a shard stops being an archive."""


def entries(shard: Path) -> list[Entry]:
    """The whole files of a shard, in its order.

    One line a shard reports members of no use, which are left out, and one where it is cut short or damaged: what is
    before that is used. Raises UsageError for what cannot be read at all, and for more than MEMBERS_MAX members.
    """
    try:
        if not stat.S_ISREG(shard.stat().st_mode):
            raise UsageError(f"{escape(shard)}: not a file; a shard is a tar file")
        with shard.open("rb", buffering=0) as file:
            return _Reader(shard, file).entries()
    except OSError as error:
        raise UsageError(f"{escape(shard)}: {error.strerror or error}") from None


class _Reader:
    """One pass over the headers of a shard."""

    def __init__(self, shard: Path, file: BinaryIO) -> None:
        self.title, self.file, self.offset, self.end = escape(shard.name), file, 0, file.seek(0, 2)
        self.files: list[Entry] = []
        self.notes, self.useless, self.first_useless = _Notes(), 0, ""

    def entries(self) -> list[Entry]:
        count = 0
        try:
            while self._member():
                if (count := count + 1) > MEMBERS_MAX:
                    raise UsageError(f"{self.title}: more than {MEMBERS_MAX} members; smaller shards are allowed")
        except _Damage as damage:
            used = f"the {len(self.files)} files before that are used" if self.offset else "nothing of it is used"
            log.warning("%s: cut short or damaged, %s; %s", self.title, damage, used)
        if self.useless:
            first = self.first_useless
            log.warning("%s: %d members are of no use and skipped; the first: %s", self.title, self.useless, first)
        return self.files

    def _member(self) -> bool:
        """Read one header, and its data if that is about the next member; False at the end of the archive."""
        block = self._read(BLOCK, self.offset)
        if block == bytes(BLOCK):
            return False
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise _Damage("a header that is none") from None
        kind, size, extends = block[156:157], header.size, (LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL)
        if self.notes.size is not None and kind not in extends:
            size = self.notes.size
        if kind[0] in DATALESS:
            size = 0
        if size < 0 or self.offset + BLOCK + size > self.end:
            raise _Damage(f"a member of {size} bytes")
        offset, self.offset = self.offset + BLOCK, self.offset + BLOCK + -(-size // BLOCK) * BLOCK
        if kind in (LONG_NAME, PAX):
            self._take_notes(kind, offset, size)
        elif kind not in extends:
            name = header.name.encode("utf-8", "surrogateescape") if self.notes.name is None else self.notes.name
            self._take_file(name, kind, offset, size)
            self.notes = _Notes()
        return True

    def _take_notes(self, kind: bytes, offset: int, size: int) -> None:
        if size > NOTES_MAX:
            self.notes.problem = "a name or notes of over 64 kB"
        elif kind == LONG_NAME:
            self.notes.name = self._read(size, offset).partition(b"\0")[0]
        else:
            _parse_pax(self._read(size, offset), self.notes)

    def _take_file(self, name: bytes, kind: bytes, offset: int, size: int) -> None:
        """List a file that is of use and note why another is not; folders and links do not count."""
        too_large = f"a name of {len(name)} bytes" * (len(name) > NAME_MAX) or f"{size} bytes" * (size > SIZE_MAX)
        if problem := self.notes.problem or "sparse" * (kind == SPARSE) or too_large:
            self.first_useless = self.first_useless or f"{escape(name.decode('utf-8', 'replace'))}: {problem}"
            self.useless += 1
        elif kind in tarfile.REGULAR_TYPES and not name.endswith(b"/"):
            self.files.append(Entry(name.decode("utf-8", "surrogateescape"), offset, size))

    def _read(self, size: int, offset: int) -> bytes:
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) < size:
            raise _Damage("it ends where a member should be")
        return data


def _parse_pax(data: bytes, notes: _Notes) -> None:
    """Records "LENGTH KEY=VALUE\\n" about the next member: its name and size, and whether it is sparse."""
    start = 0
    while start < len(data) and data[start]:
        length = _RECORD.match(data, start)
        end = start + int(length[1]) if length else 0
        key, equals, value = data[length.end() if length else 0 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            notes.problem = "notes that are none"
            return
        if key == b"path":
            notes.name = value
        elif key == b"size":
            if not re.fullmatch(rb"[0-9]{1,20}", value):
                raise _Damage("a member whose size is no number")
            notes.size = int(value)
        elif key.startswith(b"GNU.sparse."):
            notes.problem = "sparse"
        start = end
