"""A shard's members by their place: tar headers read one by one, whatever is in them.

    header | data | header | data ... | zeros        each in blocks of 512 bytes; a long name is a member before its own

Invariants: the place moves forward with every header, so that reading ends; a member lies within its file; nothing that
a header says is allocated or believed before it is bounded; a shard costs one short read a member.
"""

import logging
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from regrain.errors import UsageError, plain

__all__ = ["MEMBERS_MAX", "Entry", "entries"]

log = logging.getLogger(__name__)

BLOCK: Final = 512
NAME_MAX: Final = 1024
SIZE_MAX: Final = 2**28
MEMBERS_MAX: Final = 2**18
ASIDE_MAX: Final = 2**16
"""Bytes of a long name, or of what pax says of the next member."""
REGULAR: Final = (b"0", b"\0", b"7")
BARE: Final = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices and folders: no data, whatever size they say."""
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, SPARSE = b"L", b"K", b"x", b"g", b"S"
_RECORD: Final = re.compile(rb"([1-9][0-9]{0,5}) ")


@dataclass(frozen=True)
class Entry:
    """A file in a shard: shard[offset : offset + size]."""

    name: str
    offset: int
    size: int


@dataclass
class _Ahead:
    """What members before a member say of it."""

    name: bytes | None = None
    size: int | None = None
    wrong: str = ""


class _Damage(Exception):  # noqa: N818 - never leaves the module
    """Here a shard stops being an archive."""


def entries(shard: Path) -> list[Entry]:
    """The whole files of a shard, in its order.

    Members of no use are left out and told of in one line a shard, as is where a shard is cut short or damaged: what is
    before that is used. Raises UsageError for what cannot be read at all, and for more than MEMBERS_MAX members.
    """
    try:
        if not stat.S_ISREG(shard.stat().st_mode):
            raise UsageError(f"{plain(shard)}: not a file; a shard is a tar file")
        with shard.open("rb", buffering=0) as file:
            return _Walk(shard, file).all()
    except OSError as error:
        raise UsageError(f"{plain(shard)}: {error.strerror or error}") from None


class _Walk:
    """One pass over the headers of a shard."""

    def __init__(self, shard: Path, file: BinaryIO) -> None:
        self.shard, self.file, self.place = shard, file, 0
        self.end = file.seek(0, 2)
        self.whole: list[Entry] = []
        self.ahead = _Ahead()
        self.useless, self.first = 0, ""

    def all(self) -> list[Entry]:
        title, count = plain(self.shard.name), 0
        try:
            while self._member():
                if (count := count + 1) > MEMBERS_MAX:
                    raise UsageError(f"{title}: more than {MEMBERS_MAX} members; smaller shards are allowed")
        except _Damage as damage:
            used = f"the {len(self.whole)} files before that are used" if self.place else "nothing of it is used"
            log.warning("%s: cut short or damaged, %s; %s", title, damage, used)
        if self.useless:
            log.warning("%s: %d members are of no use and skipped; the first: %s", title, self.useless, self.first)
        return self.whole

    def _member(self) -> bool:
        """Take in one header and what it is of; False at the end of the archive."""
        header = self._read(BLOCK)
        if header == bytes(BLOCK):
            return False
        _check_sum(header)
        kind, size = header[156:157], _number(header[124:136])
        if self.ahead.size is not None and kind not in (LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL):
            size = self.ahead.size
        if kind in BARE:
            size = 0
        if size < 0 or self.place + BLOCK + size > self.end:
            raise _Damage(f"a member of {size} bytes")
        offset, self.place = self.place + BLOCK, self.place + BLOCK + -(-size // BLOCK) * BLOCK
        if kind in (LONG_NAME, PAX):
            self._take(kind, self._read(size, offset) if size <= ASIDE_MAX else None)
        elif kind not in (LONG_LINK, PAX_GLOBAL):
            self._sort(_name(header) if self.ahead.name is None else self.ahead.name, kind, offset, size)
            self.ahead = _Ahead()
        return True

    def _take(self, kind: bytes, data: bytes | None) -> None:
        """Note what is said of the next member; None is too much of it."""
        if data is None:
            self.ahead.wrong = "a name or notes of over 64 kB"
        elif kind == LONG_NAME:
            self.ahead.name = data.partition(b"\0")[0]
        else:
            _pax(data, self.ahead)

    def _sort(self, name: bytes, kind: bytes, offset: int, size: int) -> None:
        """Keep a file that is of use, count a member that is not; folders and links are of no account."""
        if why := self.ahead.wrong or _useless(kind, len(name), size):
            self.first = self.first or f"{plain(name.decode('utf-8', 'replace'))}: {why}"
            self.useless += 1
        elif kind in REGULAR and not name.endswith(b"/"):
            self.whole.append(Entry(name.decode("utf-8", "surrogateescape"), offset, size))

    def _read(self, size: int, offset: int | None = None) -> bytes:
        self.file.seek(self.place if offset is None else offset)
        data = self.file.read(size)
        if len(data) < size:
            raise _Damage("it ends where a member should be")
        return data


def _useless(kind: bytes, length: int, size: int) -> str:
    """What keeps a member from being read, in a few words; empty when nothing does."""
    if kind == SPARSE:
        return "sparse"
    if length > NAME_MAX:
        return f"a name of {length} bytes"
    return f"{size} bytes" if size > SIZE_MAX else ""


def _check_sum(header: bytes) -> None:
    """Raise _Damage unless a header is one: the sum of its bytes, signed in old archives, stands in it."""
    blank = header[:148] + b" " * 8 + header[156:]
    plain, stated = sum(blank), _number(header[148:156])
    if stated != plain and stated != plain - 256 * sum(byte > 127 for byte in blank):
        raise _Damage("a header that is none")


def _number(field: bytes) -> int:
    """Octal digits, or base 256 after a first byte of 128 (positive) or 255 (negative). Raises _Damage for others."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (256 ** len(field[1:]) if field[0] == 0xFF else 0)
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise _Damage("a header whose numbers are none")
    return int(digits or b"0", 8)


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _pax(data: bytes, ahead: _Ahead) -> None:
    """Records "LENGTH KEY=VALUE\\n" of the next member: its name and size are taken, a sparse one is of no use."""
    place = 0
    while place < len(data) and data[place]:
        length = _RECORD.match(data, place)
        end = place + int(length[1]) if length else 0
        key, equals, value = data[length.end() if length else 0 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            ahead.wrong = "notes that are none"
            return
        if key == b"path":
            ahead.name = value
        elif key == b"size":
            if not re.fullmatch(rb"[0-9]{1,20}", value):
                raise _Damage("a member whose size is no number")
            ahead.size = int(value)
        elif key.startswith(b"GNU.sparse."):
            ahead.wrong = "sparse"
        place = end
