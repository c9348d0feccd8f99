"""The file format, byte by byte; docs/FORMAT.md is its text.

    file    = header section*
    header  = magic[6] version method flags width height quality[2] fingerprint[4] crc32[4]
    section = type length crc32[4] payload[length]        crc32 over type, length and payload

Invariants: `read(write(s)) == s`; a file without ancillary sections has one spelling; each truncation and each flipped
byte is a `BitstreamError`; time and memory are bounded by the bytes at hand, not by the size that a header claims.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from regrain.errors import Corrupt, LimitError, NotRegrain, Truncated, UnsupportedVersion, UsageError
from regrain.framing import FIRST_ANCILLARY, Section, frame_section, sections
from regrain.varint import get_varint, put_varint

MAGIC = b"\x9fRGN\r\n"
FORMAT_VERSION, MAX_HEADER_BYTES, MOST_STEPS = 1, 29, 40
MIME, EXTENSION = "image/x-regrain", ".rgn"

_TILES = tuple(2**bits for bits in range(6, 16))
_TILE_BITS, _GREY, _ALPHA = 0x0F, 0x10, 0x20
_MOST_OTHERS, _MOST_PARTIAL = 256, 2**36


class Method(IntEnum):
    """How latents become pixels; the header holds any of these, another number is `UnsupportedVersion`."""

    CONDITIONAL = 0
    PROGRESSIVE = 1
    PALETTE = 2
    PRIVATE = 255
    """A codec outside this package, which the fingerprint names; only a program that has it decodes the file."""


class SectionType(IntEnum):
    """What a section holds, in the order of the file; from 128 on a type is ancillary and may be skipped."""

    ALPHA = 1
    ICC = 2
    EXIF = 3
    XMP = 4
    FOREGROUND = 5
    LATENTS = 16


_EXTRAS = tuple(SectionType)[:-1]
_NAMES = {-1: "unreadable"} | {kind.value: kind.name.lower() for kind in SectionType}
_LATENTS, _ALPHA_TYPE = SectionType.LATENTS.value, SectionType.ALPHA.value


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say.

    Width and height are in pixels, 1..2^31-1; quality is q * 256, 0..25600; fingerprint is the 4 bytes that name the
    latents of the weights; tile is the side of a tile in pixels, a power of two in 64..32768. Else `UsageError`.
    """

    width: int
    height: int
    quality: int
    fingerprint: bytes
    method: Method = Method.CONDITIONAL
    grey: bool = False
    alpha: bool = False
    tile: int = 1024

    @property
    def unit(self) -> str:
        """A tile, or a step: what a section of latents holds."""
        return "step" if self.method == Method.PROGRESSIVE else "tile"

    def __post_init__(self) -> None:
        """Hold the ranges above."""
        for name, value, least, most in (
            ("width", self.width, 1, 2**31 - 1),
            ("height", self.height, 1, 2**31 - 1),
            ("quality times 256", self.quality, 0, 100 * 256),
            ("length of the fingerprint", len(self.fingerprint), 4, 4),
        ):
            if not least <= value <= most:
                raise UsageError(f"{name} is {value}; allowed is {least} to {most}")
        if self.tile not in _TILES:
            raise UsageError(f"tile is {self.tile} pixels; allowed is a power of two from {_TILES[0]} to {_TILES[-1]}")


@dataclass(frozen=True)
class Stream:
    """A whole file, taken apart.

    `tiles` holds `tile_count(header)` payloads in raster order. After a partial reading a lost tile is None, and so is
    a lost `alpha`, though `header.alpha` is set.
    """

    header: Header
    tiles: tuple[bytes | None, ...]
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    foreground: bytes | None = None


@dataclass(frozen=True)
class SectionInfo:
    """A run of bytes of a file: name, tile index (of whole latents), offset, length with its framing, whole or not."""

    name: str
    tile: int | None
    offset: int
    length: int
    whole: bool


def step_count(quality: int) -> int:
    """Steps of a progressive file, 1 to 40, by its quality q times 256."""
    return 1 + quality * (MOST_STEPS - 1) // 25600


def tile_count(header: Header) -> int:
    """Sections of latents: the tiles that cover the picture, ceil(width / tile) * ceil(height / tile), or the steps."""
    if header.method == Method.PROGRESSIVE:
        return step_count(header.quality)
    return -(-header.width // header.tile) * -(-header.height // header.tile)


def write(stream: Stream) -> bytes:
    """The file of a stream. `UsageError` when a tile is missing or None, or alpha and its flag disagree."""
    header, count = stream.header, tile_count(stream.header)
    tiles = [tile for tile in stream.tiles if tile is not None]
    if not len(tiles) == len(stream.tiles) == count:
        raise UsageError(f"{len(tiles)} of {len(stream.tiles)} tiles have bytes; allowed is exactly {count} of {count}")
    if header.alpha != (stream.alpha is not None):
        raise UsageError(f"the alpha flag is {header.alpha}, alpha bytes are {'missing' if header.alpha else 'there'}")
    extras = zip(_EXTRAS, (stream.alpha, stream.icc, stream.exif, stream.xmp, stream.foreground), strict=True)
    parts = [frame_section(kind, payload) for kind, payload in extras if payload is not None]
    parts += [frame_section(SectionType.LATENTS, put_varint(index) + tile) for index, tile in enumerate(tiles)]
    return _pack_header(header) + b"".join(parts)


def read_header(data: bytes) -> Header:
    """The header of a file, from its first `MAX_HEADER_BYTES` bytes or more.

    Raises `NotRegrain`, `UnsupportedVersion` (later version, unknown method or flag), `Truncated` or `Corrupt`.
    """
    return _parse_header(data)[0]


def read(data: bytes, *, partial: bool = False, max_pixels: int = 250_000_000) -> Stream:
    """Take a file apart; every length and CRC is checked.

    With `partial`, sections that are damaged, cut or out of place are dropped and lost tiles are None. Raises what
    `read_header` raises; `LimitError` (with `partial` from 2^36 pixels on, always), before anything past the header is
    looked at; `Truncated` or `Corrupt` (without `partial`); `UnsupportedVersion` for a whole section of unknown type.
    """
    header, start = _parse_header(data)
    check_pixels(header, max_pixels, partial=partial)
    count = tile_count(header)
    order = _Order(header, count, partial)
    for section in _follow(data, start, count):
        with suppress(*(Corrupt, Truncated) if partial else ()):
            order.take(section)
    if not partial and (_LATENTS, count - 1) not in order.payloads:
        order.take(Section(-1, len(data), len(data), Truncated))
    payloads = order.payloads
    tiles = tuple(payloads.get((_LATENTS, index)) for index in range(count))
    return Stream(header, tiles, *(payloads.get((kind.value, 0)) for kind in _EXTRAS))


def check_pixels(header: Header, most: int, *, partial: bool = False) -> None:
    """Raise LimitError for a picture of more pixels than `most`, or under `partial` of more than 2^36."""
    most = min(most, _MOST_PARTIAL) if partial else most
    if header.width * header.height > most:
        raise LimitError(f"{header.width} x {header.height} pixels; allowed are {most}, see --max-pixels")


def layout(data: bytes) -> list[SectionInfo]:
    """Where the bytes of a file are: its header, then every section, without a gap, to the last byte.

    A damaged or cut section has `whole` False; what cannot be followed is one last entry named "unreadable". Only the
    header must be whole: raises what `read_header` raises.
    """
    header, start = _parse_header(data)
    entries = [SectionInfo("header", None, 0, start, True)]
    for section in _follow(data, start, tile_count(header)):
        name, whole = str(_NAMES.get(section.kind, section.kind)), section.fault is None
        tile = section.tile if whole and section.kind == _LATENTS else None
        entries.append(SectionInfo(name, tile, section.start, section.end - section.start, whole))
    return entries


def _follow(data: bytes, at: int, count: int) -> Iterator[Section]:
    """The sections of a file of so many tiles, and as many others as any file has."""
    return sections(data, at, count + _MOST_OTHERS, known=_NAMES.keys(), numbered=_LATENTS)


class _Order:
    """Sections as they come: types ascend, and tiles (without a gap if not partial); `found` has what was taken."""

    def __init__(self, header: Header, count: int, partial: bool) -> None:
        self.header, self.count, self.partial = header, count, partial
        self.payloads: dict[tuple[int, int], bytes] = {}
        self.last = 0, 0
        self.following = 0

    def take(self, section: Section) -> None:
        """Keep a section that has a meaning here. Raises what is wrong with one after those that were taken."""
        kind, tile = section.kind, section.tile
        ordered = section.fault is None and (kind, tile) > self.last and self.following < self.count
        if not ordered or kind != _LATENTS or tile != self.following or not tile:
            self._check(section)
        if kind in _NAMES:
            self.payloads[kind, tile] = section.payload
            self.last, self.following = (kind, tile), tile + 1 if kind == _LATENTS else 0

    def _check(self, section: Section) -> None:
        """Every rule, with its words; a next tile in its place is spared them, as there may be a million of those."""
        header, count, partial, following = self.header, self.count, self.partial, self.following
        latents, alpha = section.kind == _LATENTS, section.kind == _ALPHA_TYPE
        tiles = f"latents, {header.unit} {following} of 0 to {count - 1},"
        name = tiles if latents else _NAMES.get(section.kind, section.kind)
        place = f"section {name} at byte {section.start}"
        if following == count:
            raise Corrupt(f"the file goes on after its last {header.unit}, at byte {section.start}")
        if section.fault is Truncated:
            whole = f"{following} of {count} {header.unit}s are whole{', --partial decodes them' if following else ''}"
            raise Truncated(f"the file is cut short at byte {section.end}, or a length is damaged: {whole}")
        if section.fault:
            hopeless = latents and (count == 1 or (header.method == Method.PROGRESSIVE and not following))
            remedy = "" if hopeless else "; --partial decodes what is whole"
            raise Corrupt(f"{place} is damaged (checksum, length, index or number){remedy}")
        if section.kind not in _NAMES and section.kind < FIRST_ANCILLARY:
            raise UnsupportedVersion(
                f"{place} is unknown to format version {FORMAT_VERSION}: a newer program is needed"
            )
        if (section.kind, section.tile) <= self.last:
            raise Corrupt(f"{place} is repeated or out of order")
        if latents and section.tile >= (count if partial else following + 1):
            raise Corrupt(f"{place} has the tile index {section.tile}")
        there = alpha or (_ALPHA_TYPE, 0) in self.payloads
        if there != header.alpha and (alpha or (latents and not partial)):
            raise Corrupt(f"{place}: the header says {header.alpha} to alpha, the sections say {there}")


def _pack_header(header: Header) -> bytes:
    flags = header.tile.bit_length() - 1 | _GREY * header.grey | _ALPHA * header.alpha
    body = bytes([*MAGIC, FORMAT_VERSION, header.method, flags]) + put_varint(header.width)
    body += put_varint(header.height) + struct.pack("<H4s", header.quality, header.fingerprint)
    return body + zlib.crc32(body).to_bytes(4, "little")


def _parse_header(data: bytes) -> tuple[Header, int]:
    """The header and the offset of the first section."""
    _check_magic(data)
    try:
        width, at = get_varint(data, len(MAGIC) + 3)
        height, at = get_varint(data, at)
        quality, fingerprint, crc = struct.unpack_from("<H4sI", data, at)
    except (Truncated, struct.error):
        raise Truncated(f"the file ends at byte {len(data)}, inside its header") from None
    if crc != zlib.crc32(data[: at + 6]):
        raise Corrupt("the header's checksum does not match")
    method, flags = data[len(MAGIC) + 1 : len(MAGIC) + 3]
    if method not in tuple(Method) or flags & ~(_TILE_BITS | _GREY | _ALPHA):
        raise UnsupportedVersion(f"method {method}, flags {flags:#04x}: known are 0 to 2 with 255, and 0 to 0x3f")
    grey, alpha, tile = bool(flags & _GREY), bool(flags & _ALPHA), 2 ** (flags & _TILE_BITS)
    try:
        return Header(width, height, quality, fingerprint, Method(method), grey, alpha, tile), at + 10
    except UsageError as error:
        raise Corrupt(f"the header breaks the format: {error}") from None


def _check_magic(data: bytes) -> None:
    """Magic and version, before anything past them is interpreted."""
    if data and MAGIC.startswith(data):
        raise Truncated(f"the file ends at byte {len(data)}, inside its header")
    if not data.startswith(MAGIC):
        if MAGIC[1:4] in data[:8]:
            raise Corrupt("the bytes around RGN are changed (CR LF, eighth bit or UTF-8): send the file in binary mode")
        raise NotRegrain(f"no {EXTENSION} file: it starts with {data[:6].hex(' ') or 'nothing'}, not {MAGIC.hex(' ')}")
    if (version := data[len(MAGIC)]) != FORMAT_VERSION:
        raise UnsupportedVersion(f"the file has format version {version}; this program reads version {FORMAT_VERSION}")
