"""The file format: what is written is read, and nothing that is damaged is read as if it were whole."""

import re
import subprocess
import sys
import time
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrain.bitstream import (
    MAGIC,
    MAX_HEADER_BYTES,
    Header,
    Method,
    SectionType,
    Stream,
    layout,
    read,
    read_header,
    tile_count,
    write,
)
from regrain.errors import Corrupt, LimitError, NotRegrain, RegrainError, Truncated, UnsupportedVersion, UsageError

FORMAT_TEXT = Path(__file__).parents[1] / "docs" / "FORMAT.md"
HUGE = 2**62
HEADER = Header(150, 100, 60 * 256, b"\x01\x02\x03\x04", alpha=True, tile=64)
SAMPLE = Stream(HEADER, (b"zero", b"", b"two\r\n", b"3", b"four", b"five5"), b"alpha", b"icc", None, b"<x/>")
FILE = write(SAMPLE)
NAMES = ["header", "alpha", "icc", "xmp"] + ["latents"] * 6

sides = st.one_of(st.integers(1, 300), st.integers(1, 2**31 - 1))
blobs = st.binary(max_size=200)


def varint(value):
    digits = []
    while value > 127:
        digits.append(value % 128 + 128)
        value //= 128
    return bytes([*digits, value])


def framed(kind, payload, length=None):
    frame = bytes([kind]) + (length or varint(len(payload)))
    return frame + zlib.crc32(frame + payload).to_bytes(4, "little") + payload


def header_bytes(*, version=1, method=0, flags=10, size=b"\x01\x01", quality=0):
    body = MAGIC + bytes([version, method, flags]) + size + quality.to_bytes(2, "little") + b"abcd"
    return body + zlib.crc32(body).to_bytes(4, "little")


def tile(index, words=b""):
    return framed(SectionType.LATENTS, varint(index) + words)


def pieces(file=FILE):
    return [file[part.offset : part.offset + part.length] for part in layout(file)]


@st.composite
def headers(draw, side=sides):
    return Header(
        draw(side),
        draw(side),
        draw(st.integers(0, 25600)),
        draw(st.binary(min_size=4, max_size=4)),
        draw(st.sampled_from(Method)),
        draw(st.booleans()),
        draw(st.booleans()),
        2 ** draw(st.integers(6, 15)),
    )


@st.composite
def streams(draw):
    header = draw(headers(st.integers(1, 300)))
    tiles = draw(st.lists(blobs, min_size=tile_count(header), max_size=tile_count(header)))
    extras = [draw(st.none() | blobs) for _ in range(3)]
    return Stream(header, tuple(tiles), draw(blobs) if header.alpha else None, *extras)


@given(streams())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_and_spelt_one_way(stream):
    file = write(stream)
    assert read(file) == read(file, partial=True) == stream
    assert write(read(file)) == file
    assert sum(part.length for part in layout(file)) == len(file)


@given(headers())
def test_headers_come_back_from_their_first_bytes(header):
    small = replace(header, width=1, height=1)
    alone = write(Stream(small, (b"",) * tile_count(small), b"" if header.alpha else None))
    assert read_header(alone) == read_header(alone[:MAX_HEADER_BYTES]) == small


@given(headers())
def test_a_header_fits_in_its_bound(header):
    flags = header.tile.bit_length() - 1 | 16 * header.grey | 32 * header.alpha
    size = varint(header.width) + varint(header.height)
    raw = header_bytes(method=header.method, flags=flags, size=size, quality=header.quality)
    assert len(raw) <= MAX_HEADER_BYTES <= 32
    assert read_header(raw) == replace(header, fingerprint=b"abcd")


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"height": 2**31}, {"quality": 25601}, {"quality": -1}, {"fingerprint": b"abc"}]
    + [{"tile": side} for side in (0, 32, 96, 65536)],
)
def test_a_header_out_of_range_cannot_be_made(wrong):
    with pytest.raises(UsageError, match="allowed"):
        replace(HEADER, **wrong)


@pytest.mark.parametrize(
    "wrong", [{"tiles": SAMPLE.tiles[1:]}, {"tiles": (None, *SAMPLE.tiles[1:])}, {"alpha": None}, {"tiles": ()}]
)
def test_a_stream_that_is_not_whole_is_not_written(wrong):
    with pytest.raises(UsageError):
        write(replace(SAMPLE, **wrong))


@pytest.mark.parametrize(("width", "height", "count"), [(1, 1, 1), (64, 64, 1), (65, 64, 2), (130, 65, 6)])
def test_tiles_cover_the_picture(width, height, count):
    assert tile_count(replace(HEADER, width=width, height=height)) == count


def test_every_truncation_is_an_error_that_counts_whole_tiles():
    ends = [part.offset + part.length for part in layout(FILE) if part.name == "latents"]
    for end in range(1, len(FILE)):
        with pytest.raises(Truncated) as caught:
            read(FILE[:end])
        assert "\n" not in str(caught.value)
        if end >= len(pieces()[0]):
            assert f"{sum(stop <= end for stop in ends)} of 6 tiles" in str(caught.value)
    with pytest.raises(NotRegrain, match="nothing"):
        read(b"")


def test_every_change_of_every_byte_is_an_error():
    for at, byte in enumerate(FILE):
        for change in range(1, 256):
            with pytest.raises(RegrainError):
                read(FILE[:at] + bytes([byte ^ change]) + FILE[at + 1 :])


def test_every_lost_or_doubled_byte_is_an_error():
    for at in range(len(FILE)):
        for changed in (FILE[:at] + FILE[at + 1 :], FILE[:at] + FILE[at : at + 1] + FILE[at:]):
            with pytest.raises(RegrainError):
                read(changed)


@given(st.binary(max_size=80), st.sampled_from([0, 6, 9, len(pieces()[0]), 60, 100]), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_bytes_end_in_a_stream_or_an_error_of_ours(tail, kept, partial):
    data = FILE[:kept] + tail
    for call in (read_header, layout, lambda data: read(data, partial=partial)):
        with suppress(RegrainError):
            call(data)


@given(st.permutations(range(1, 10)), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_sections_in_another_order_or_number_are_corrupt_or_cut(order, kept):
    parts = pieces()
    data = parts[0] + b"".join(parts[index] for index in order[:kept])
    if data != FILE:
        with pytest.raises((Corrupt, Truncated)):
            read(data)
    partial = read(data, partial=True)
    assert all(lost is None or lost == whole for lost, whole in zip(partial.tiles, SAMPLE.tiles, strict=True))


@pytest.mark.parametrize(
    "number",
    [b"\x80\x00", b"\x81\x80\x00", b"\xff" * 5, b"\x80" * 5 + b"\x01", varint(2**31), varint(2**35 - 1), b"\x00"],
)
def test_sizes_have_one_spelling_and_a_range(number):
    for size in (number + b"\x01", b"\x01" + number):
        with pytest.raises(Corrupt):
            read_header(header_bytes(size=size))


def test_lengths_and_tile_indices_have_one_spelling():
    start = header_bytes()
    assert read(start + tile(0, b"words")).tiles == (b"words",)
    for bad in (
        framed(16, b"\x00abc", length=b"\x84\x00"),
        framed(16, b"\x80\x00abc"),
        framed(16, b""),
        framed(16, b"\x80"),
    ):
        with pytest.raises(Corrupt, match="latents, tile 0 of 0 to 0"):
            read(start + bad)
        assert read(start + bad, partial=True).tiles == (None,)
        assert [part.whole for part in layout(start + bad)] == [True, False]


@pytest.mark.parametrize(
    ("raw", "error", "said"),
    [
        (header_bytes(version=3), UnsupportedVersion, "version 3.*version 1"),
        (MAGIC + b"\x07", UnsupportedVersion, "version 7.*version 1"),
        (header_bytes(method=3), UnsupportedVersion, "method 3"),
        (header_bytes(flags=0x4A), UnsupportedVersion, "0x4a"),
        (header_bytes(flags=5), Corrupt, "tile is 32"),
        (header_bytes(quality=25601), Corrupt, "25601"),
        (b"\x9fRGN\n" + FILE[6:], Corrupt, "binary mode"),
        (FILE.replace(b"\r\n", b"\n"), Corrupt, "binary mode"),
        (FILE.replace(b"\n", b"\r\n"), Corrupt, "binary mode"),
        (bytes(byte & 0x7F for byte in FILE), Corrupt, "binary mode"),
        (FILE.decode("latin-1").encode(), Corrupt, "binary mode"),
        (FILE.decode("utf-8", "replace").encode(), Corrupt, "binary mode"),
        (b"\x89PNG\r\n\x1a\n", NotRegrain, "89 50"),
        (b"\x9fR", Truncated, "header"),
        (MAGIC, Truncated, "header"),
        (header_bytes()[:-1], Truncated, "header"),
    ],
)
def test_a_wrong_header_says_what_is_wrong(raw, error, said):
    for call in (read_header, read, layout):
        with pytest.raises(error, match=said):
            call(raw)


def test_order_and_number_of_sections():
    start, alpha_start = header_bytes(), header_bytes(flags=0x2A)
    icc, alpha, end = framed(2, b"i"), framed(1, b"a"), tile(0)
    for data, said in [
        (start + icc + icc + end, "icc at byte 28 is repeated"),
        (start + framed(4, b"") + icc + end, "icc at byte 27 is repeated or out of order"),
        (start + end + icc, "goes on after its last tile"),
        (start + end + end, "goes on"),
        (start + end + b"\0", "goes on"),
        (start + end + framed(200, b""), "goes on"),
        (start + tile(1), "tile index 1"),
        (start + alpha + end, "alpha"),
        (alpha_start + end, "alpha"),
        (header_bytes(size=varint(2048) + b"\x01") + tile(1) + tile(0), "tile index 1"),
        (header_bytes(size=varint(2048) + b"\x01") + tile(0) + icc + tile(1), "icc at byte 29 is repeated or out of"),
        (header_bytes(size=varint(2048) + b"\x01") + tile(0) + tile(0), "tile 1 of 0 to 1, at byte 29 is repeated"),
    ]:
        with pytest.raises(Corrupt, match=said):
            read(data)
        read(data, partial=True)


def test_unknown_sections_are_skipped_or_refused_by_their_number():
    start, extra = header_bytes(), framed(128, b"later") + framed(255, b"")
    assert read(start + extra + framed(2, b"i") + extra + tile(0)) == read(start + framed(2, b"i") + tile(0))
    for kind in (0, 6, 15, 17, 127):
        for partial in (False, True):
            with pytest.raises(UnsupportedVersion, match=f"section {kind} at byte 21"):
                read(start + framed(kind, b"") + tile(0), partial=partial)
    broken = bytearray(framed(128, b"later"))
    broken[-1] ^= 1
    with pytest.raises(Corrupt, match="section 128"):
        read(start + bytes(broken) + tile(0))


def test_a_file_of_countless_empty_sections_is_not_walked_to_its_end():
    start, empty = header_bytes(), framed(200, b"")
    assert read(start + empty * 256 + tile(0, b"x")).tiles == (b"x",)
    for count in (257, 10**6):
        with pytest.raises(Corrupt, match="unreadable"):
            read(start + empty * count + tile(0, b"x"))
        assert layout(start + empty * count + tile(0))[-1].name == "unreadable"
    assert read(start + empty * 10**6, partial=True).tiles == (None,)
    with pytest.raises(Corrupt, match="goes on"):
        read(start + empty * 256 + tile(0) + empty)


def test_partial_drops_exactly_the_damaged_sections():
    for part in layout(FILE)[1:]:
        for at in range(part.offset, part.offset + part.length):
            if at == part.offset + 1:
                continue
            got = read(FILE[:at] + bytes([FILE[at] ^ 0xFF]) + FILE[at + 1 :], partial=True)
            lost = {"tiles": tuple(None if index == part.tile else words for index, words in enumerate(SAMPLE.tiles))}
            assert got == replace(SAMPLE, **(lost if part.name == "latents" else {part.name: None}))


@pytest.mark.parametrize(("method", "count", "spoilt", "helps"), [
    (Method.CONDITIONAL, 1, 0, False), (Method.CONDITIONAL, 2, 0, True), (Method.CONDITIONAL, 2, 1, True),
    (Method.PROGRESSIVE, 2, 0, False), (Method.PROGRESSIVE, 2, 1, True),
])  # fmt: skip
def test_partial_is_offered_where_it_can_help(method, count, spoilt, helps):
    quality = 657 if method == Method.PROGRESSIVE else 0
    header = Header(64 * count, 64, quality, bytes(4), method=method, tile=64)
    data = bytearray(write(Stream(header, (b"words",) * count)))
    data[next(part for part in layout(bytes(data)) if part.tile == spoilt).offset + 8] ^= 1
    with pytest.raises(Corrupt, match="is damaged") as caught:
        read(bytes(data))
    assert ("--partial" in str(caught.value)) == helps


def test_partial_after_a_damaged_length_keeps_what_came_before():
    for part in layout(FILE):
        if part.name != "latents":
            continue
        for change in range(1, 256):
            at = part.offset + 1
            got = read(FILE[:at] + bytes([FILE[at] ^ change]) + FILE[at + 1 :], partial=True)
            assert got.tiles[: part.tile] == SAMPLE.tiles[: part.tile]
            assert got.tiles[part.tile] is None
            assert all(lost in (None, whole) for lost, whole in zip(got.tiles, SAMPLE.tiles, strict=True))


def test_partial_of_every_truncation_keeps_the_whole_sections():
    parts = layout(FILE)
    for end in range(parts[0].length, len(FILE)):
        got = read(FILE[:end], partial=True)
        whole = {part.tile for part in parts if part.offset + part.length <= end}
        assert got.tiles == tuple(words if index in whole else None for index, words in enumerate(SAMPLE.tiles))
        assert got.icc == (SAMPLE.icc if "icc" in {p.name for p in parts if p.offset + p.length <= end} else None)
    for end in range(parts[0].length):
        with pytest.raises((Truncated, NotRegrain)):
            read(FILE[:end], partial=True)


def test_partial_still_keeps_the_order_of_tiles():
    start = header_bytes(size=varint(4096) + b"\x01")
    data = start + tile(2, b"c") + tile(0, b"a") + tile(2, b"x") + tile(4) + tile(3, b"d") + tile(3, b"y")
    assert read(data, partial=True).tiles == (None, None, b"c", b"d")


def test_layout_lists_every_byte_and_what_is_whole():
    parts = layout(FILE)
    assert [part.name for part in parts] == NAMES
    assert [part.tile for part in parts] == [None] * 4 + list(range(6))
    assert [part.offset for part in parts] == [sum(p.length for p in parts[:i]) for i in range(len(parts))]
    assert all(part.whole for part in parts)
    zeros = layout(FILE[: parts[5].offset + 2] + bytes(1000))
    assert [part.name for part in zeros[-2:]] == ["latents", "unreadable"]
    assert not any(part.whole for part in zeros[-2:])
    assert zeros[-1].offset + zeros[-1].length == parts[5].offset + 1002
    assert layout(header_bytes() + framed(77, b""))[-1].name == "77"


@pytest.mark.parametrize(("limit", "error"), [(100_000_000, LimitError), (HUGE, Truncated)])
def test_a_giant_header_costs_nothing(limit, error):
    side = varint(10**9)
    data = header_bytes(flags=6, size=side + side) + tile(0, b"0123456789")
    assert read_header(data).width == 10**9
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(error, match="--max-pixels" if error is LimitError else f"1 of {15625000**2} tiles"):
        read(data, max_pixels=limit)
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 100_000


def test_the_pixel_limit_is_inclusive_and_holds_for_partial_files():
    assert read(FILE, max_pixels=15000) == SAMPLE
    for partial in (False, True):
        with pytest.raises(LimitError, match=r"150 x 100 pixels; allowed are 14999.*--max-pixels"):
            read(FILE[:40], partial=partial, max_pixels=14999)


def test_zeros_after_a_cut_are_not_walked_byte_by_byte():
    began = time.perf_counter()
    assert read(FILE[:100] + bytes(10**7), partial=True).header == HEADER
    assert time.perf_counter() - began < 1


def test_the_worked_example_of_the_format_text():
    block = re.search(r"```hex\n(.*?)```", FORMAT_TEXT.read_text(encoding="utf-8"), re.S)
    assert block is not None
    columns = [line.split("  ")[0] for line in block[1].splitlines()]
    header = Header(200, 150, 12928, bytes.fromhex("c0ffee01"), grey=True, tile=256)
    stream = Stream(header, (bytes.fromhex("0123456789abcdef"),), xmp=b"<x/>")
    assert bytes.fromhex(" ".join(columns)) == write(stream)
    assert read(bytes.fromhex(" ".join(columns))) == stream


def test_it_imports_nothing_heavy():
    check = "import regrain.bitstream, sys; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", check], check=True)
