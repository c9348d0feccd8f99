"""Two readers of one text, docs/FORMAT.md: `regrain.palette` and `reference_palette`. They agree to the last level."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from safetensors.numpy import load_file

import regrain
from entropy import reference_coder
from palette import reference_palette as reference
from regrain import bitstream, registry
from regrain.errors import BitstreamError
from regrain.palette import colours, indices, sections
from regrain.palette.decode import decode_tiles
from regrain.palette.sections import from_levels
from regrain.tiles import places

TESTS = Path(__file__).parents[1]
FORMAT_TEXT = TESTS.parent / "docs" / "FORMAT.md"
WEIGHTS = registry.shipped_weights(bitstream.Method.PALETTE)
GOLDEN = {name: (TESTS / "golden" / f"{name}.rgn").read_bytes() for name in ("palette", "levels")}
SPACE = SimpleNamespace(stride=8, channels=4)


def library(coded, index, shape, channels):
    """The levels of a tile, by the library."""
    return sections.unpack(coded, shape, channels, index)[0]


def outcome(read, *job):
    """What a reader makes of a tile: levels, or None if it refuses."""
    try:
        return read(*job)
    except (reference.CorruptError, BitstreamError):
        return None


def same(*job):
    """Whether both readers refuse a tile, or both give the same."""
    ours, theirs = outcome(reference.read_tile, *job), outcome(library, *job)
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dtype == theirs.dtype == np.uint8 and np.array_equal(ours, theirs)


def assert_both_read(coded, *job):
    """Both readers take a tile and agree; return its levels."""
    levels = reference.read_tile(coded, *job)
    np.testing.assert_array_equal(levels, library(coded, *job), strict=True)
    return levels


def assert_both_refuse(*job):
    assert outcome(reference.read_tile, *job) is None
    assert outcome(library, *job) is None


def assert_both_read_file(data):
    """Both readers take a whole file of four channels and agree; return the levels of its tiles."""
    stream = bitstream.read(data)
    size, side = (stream.header.height, stream.header.width), stream.header.tile
    whole, _ = decode_tiles(SPACE, stream.tiles, size, side)
    tiles = reference.read(data)
    for levels, place in zip(tiles, places(*whole.shape[:2], side // 8), strict=True):
        np.testing.assert_array_equal(levels, whole[place], strict=True)
    return tiles


class Teller:
    """In place of a decoder: has symbols chosen, table by table, and keeps what an encoder needs to tell them."""

    def __init__(self, choose):
        self.choose, self.parts = choose, []

    def take(self, ids, tables):
        symbols = [int(symbol) for symbol in self.choose(ids, tables)]
        self.parts.append((symbols, ids, tables))
        return symbols

    def finish(self, check):
        self.check = check


def written(head, choose, index, shape, channels):
    """The coded latents that begin with `head` and have the symbols chosen, and a right check, whatever they break."""
    teller = Teller(choose)
    with mock.patch.object(reference, "require"):
        reference.read_tile(head, index, shape, channels, lambda _stream: teller)
    return head + reference_coder.encode(teller.parts, teller.check)


def picture(random, channels, number, spread=256):
    """A palette of `number` colours or fewer."""
    return np.unique(random.integers(0, spread, (number, channels)), axis=0).astype(np.uint8)


def left_as_they_are(palette, chosen, tile):
    """The coded latents of a palette and indices that are stored."""
    with mock.patch.object(indices, "pack", indices.pack_stored):
        return sections.pack_palette(palette[chosen], palette, chosen, tile)


def telling(palette, random):
    """A choice of symbols that tells a palette, then any decisions, the likelier ones oftener."""
    told = iter([symbols for symbols, *_ in colours.parts(palette)[1]])
    return lambda ids, tables: next(told) if tables is reference.COUNTS else random.random(len(ids)) < 0.3


def up_to(most, random):
    """A choice of symbols of any sign."""
    return lambda ids, _: random.integers(-most, most + 1, len(ids))


def any_experts(random, channels):
    least = random.integers(0, 256, channels * (channels + 1) // 2 + 4).astype(np.uint8)
    least[-4] %= 161
    return least.tobytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_are_read_alike(name):
    tiles = assert_both_read_file(GOLDEN[name])
    assert {coded[0] for coded in reference.split(GOLDEN[name])[1]} == {1 + (name == "levels")}
    assert max(len(np.unique(levels)) for levels in tiles) > 20


def test_golden_files_name_all_tensors_but_the_denoiser():
    digest = hashlib.sha256()
    for name, value in sorted(load_file(WEIGHTS).items()):
        if not name.startswith("denoiser."):
            digest.update(f"{name}|torch.{value.dtype.name}|{value.shape}|".encode())
            digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    assert {reference.split(data)[0].fingerprint for data in GOLDEN.values()} == {digest.digest()[:4]}


@pytest.mark.parametrize("quality", [0, 30, 60, 61, 100])
@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 3), (65, 64), (130, 72)])
def test_files_of_any_size_and_quality_are_read_alike(model, photo, size, quality):
    data = regrain.encode(photo(*size), quality=quality, tile=64, model=model)
    tiles = assert_both_read_file(data)
    assert len(tiles) == -(-size[0] // 64) * -(-size[1] // 64)
    assert all(coded[0] == 1 + (quality > 60) for coded in reference.split(data)[1])


@pytest.mark.parametrize("quality", [60, 80])
def test_a_file_of_one_large_tile_is_read_alike(model, photo, quality):
    assert_both_read_file(regrain.encode(photo(180, 240), quality=quality, model=model))


@pytest.mark.parametrize("channels", [1, 2, 4, 9])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (40, 1), (5, 6)])
def test_all_forms_of_any_levels_are_read_alike(shape, channels):
    random = np.random.default_rng(channels)
    for number in (1, 2, 3, 30, 256):
        palette = picture(random, channels, number)
        chosen = random.integers(0, len(palette), shape).astype(np.uint8)
        for stored in (False, True):
            coded = sections.pack_palette(palette[chosen], palette, chosen, 5)
            coded = left_as_they_are(palette, chosen, 5) if stored else coded
            assert (assert_both_read(coded, 5, shape, channels) == palette[chosen]).all()
        levels = random.integers(0, 256, (*shape, channels)).astype(np.uint8)
        coded = sections.pack_levels(levels, 1, 5)
        assert (assert_both_read(coded, 5, shape, channels) == levels).all()
        coded = sections.pack_levels(levels, 64, 5)
        assert np.abs(assert_both_read(coded, 5, shape, channels) - levels.astype(int)).max() <= 36


@pytest.mark.parametrize(
    ("channels", "number", "shape"),
    [(1, 9, (17, 3)), (2, 1, (3, 3)), (3, 40, (20, 33)), (4, 256, (6, 9)), (64, 5, (4, 4))],
)
def test_experts_of_any_kind_are_read_alike(channels, number, shape):
    for seed in range(6):
        random = np.random.default_rng(seed)
        palette = picture(random, channels, number, 2 ** (2 + seed))
        head = bytes([1, 128, 0, 1]) + colours.parts(palette)[0] + any_experts(random, channels)
        coded = written(head, telling(palette, random), seed, shape, channels)
        found = assert_both_read(coded, seed, shape, channels).reshape(-1, channels)
        assert {*map(tuple, found.tolist())} <= {*map(tuple, palette.tolist())}


def any_palette(random, channels):
    """Coded latents whose palette has random halves; most have two colours at a place, or another box or step."""
    number, last = int(random.integers(1, 4)), random.integers(0, 3, channels)
    box = b"".join(bytes([random.integers(0, 200), most]) for most in last)
    head = bytes([1, 1, 1, 1, number - 1, random.choice([1, 1, 1, 1, 0, 2])]) + box + any_experts(random, channels)

    def choose(ids, tables):
        return random.integers(0, np.array(ids) + 1 if tables is reference.COUNTS else 2, len(ids))

    return written(head, choose, 0, (2, 3), channels)


def test_palettes_of_any_counts_are_judged_alike():
    random = np.random.default_rng(0)
    cases = [(any_palette(random, channels), 0, (2, 3), channels) for channels in (1, 2, 3) for _ in range(120)]
    assert all(same(*case) for case in cases)
    assert 10 < sum(outcome(reference.read_tile, *case) is not None for case in cases) < 350


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 1)), (1, (18, 5)), (3, (5, 40)), (4, (9, 9)), (64, (2, 2))])
def test_lines_and_pulls_of_any_kind_are_judged_alike(channels, shape):
    for seed in range(6):
        random = np.random.default_rng(seed)
        step, most = int(random.integers(1, 65)), int(random.integers(0, 3))
        lines = b"".join(bytes([random.integers(0, 17), *random.integers(0, 256, 2)]) for _ in range(channels))
        head = bytes([2, step]) + random.bytes(channels * (channels - 1) // 2) + lines
        assert same(written(head, up_to(most, random), seed, shape, channels), seed, shape, channels)


def test_symbols_of_a_tile_of_more_than_8192_positions_are_read_alike():
    shape, random = (130, 131), np.random.default_rng(0)
    palette = np.array([[7], [200]], np.uint8)
    rows, columns = np.indices(shape)
    chosen = ((rows // 9 + columns // 14) % 2 ^ (random.random(shape) < 0.05)).astype(np.uint8)
    assert (
        assert_both_read(sections.pack_palette(palette[chosen], palette, chosen, 0), 0, shape, 1) == palette[chosen]
    ).all()
    assert_both_read(sections.pack_levels(palette[chosen], 9, 0), 0, shape, 1)


SHAPE, C = (3, 5), 2
COLOURS = np.array([[100, 8], [100, 24], [108, 0], [116, 40]], np.uint8)
BOX, CHOSEN = colours.parts(COLOURS)[0], (np.arange(15).reshape(SHAPE) % 4).astype(np.uint8)
EXPERTS = bytes([16, 0, 16, 40, 32, 32, 32])
FRONT = bytes([1, 128, 80, 1])
STORED = left_as_they_are(COLOURS, CHOSEN, 0)
LINES = bytes([1, 4, 20, 2, 4, 20])


def symbols(*told, rest=0):
    """A choice of symbols: a row for each part that has some, then always the same."""
    rows = iter(told)
    return lambda ids, _: (ids and next(rows, None)) or [rest] * len(ids)


def coded(head, choose=None, index=0, shape=SHAPE, channels=C):
    return written(head, choose or telling(COLOURS, np.random.default_rng(0)), index, shape, channels)


def box(step, ranges, *counts, number=2):
    """A palette of two colours, or another number, with these halves."""
    head = FRONT + bytes([number - 1, step, *sum(ranges, ())]) + EXPERTS
    return coded(head, symbols(*counts))


def by_hand(head, parts, check=0):
    """Coded latents of these parts alone."""
    return head + reference_coder.encode(parts, check)


def stored(palette, chosen, *, once=False, count=None):
    """A stored palette and indices with a right CRC; or with one that covers them once."""
    rows, row = np.uint8(palette).tobytes(), np.uint8(chosen).tobytes()
    body = bytes([0, (count or len(palette)) - 1]) + rows + row
    tag = reference.tag_of(0, FRONT[:3])
    return FRONT[:3] + body + reference.crc(tag, SHAPE, body, *([] if once else [rows, row])).to_bytes(4, "little")


def scalars(step=4, lines=LINES, choose=None):
    return coded(bytes([2, step, 20]) + lines, choose or symbols([1], [-2]))


GOOD = coded(FRONT + BOX + EXPERTS)
LEVELS = scalars()
LEVELS_4 = sections.pack_levels(np.arange(96, dtype=np.uint8).reshape(3, 8, 4), 3, 0)
OTHER = coded(FRONT + BOX + EXPERTS, index=1)
SHARP = len(FRONT + BOX + EXPERTS)
BROKEN = {
    "no bytes": b"",
    "form 0": coded(b"\0" + FRONT[1:] + BOX + EXPERTS),
    "form 3": coded(b"\3" + FRONT[1:] + BOX + EXPERTS),
    "form of levels": b"\2" + GOOD[1:],
    "form of a palette": b"\1" + LEVELS[1:],
    "form alone": GOOD[:1],
    "no error": GOOD[:2],
    "no palette": GOOD[:3],
    "no gain": coded(bytes([1, 0, 80, 1]) + BOX + EXPERTS),
    "another gain": GOOD[:1] + b"\x7f" + GOOD[2:],
    "another error": GOOD[:2] + b"\x51" + GOOD[3:],
    "palette of form 2": coded(FRONT[:3] + b"\2" + BOX + EXPERTS),
    "number alone": GOOD[:5],
    "no last": GOOD[: len(FRONT + BOX) - 1],
    "no reach": GOOD[: len(FRONT + BOX) + 3],
    "no sharpness": GOOD[: SHARP - 1],
    "no stream": GOOD[:SHARP],
    "reach 161": coded(FRONT + BOX + bytes([16, 0, 16, 161, 32, 32, 32])),
    "step 0": box(0, [(9, 1), (9, 0)], [1]),
    "step 0 of one colour": box(0, [(9, 0), (9, 0)], number=1),
    "step 2 of one colour": box(2, [(9, 0), (9, 0)], number=1),
    "half the step": box(4, [(9, 2), (9, 0)], [1], [0]),
    "box too low": box(4, [(9, 3), (9, 0)], [1], [0, 0]),
    "box too high": box(4, [(9, 3), (9, 0)], [2], [1]),
    "box too wide": box(4, [(9, 1), (9, 1)], [1], [1, 1]),
    "colours at one place": box(1, [(9, 0), (9, 0)]),
    "colours at one place of two": box(1, [(9, 1), (9, 0)], [2]),
    "level above 255": by_hand(FRONT + bytes([1, 8, 250, 1, 9, 0]) + EXPERTS, [([1], [2], reference.COUNTS)]),
    "half of more": by_hand(FRONT + BOX + EXPERTS, [([5], [4], reference.COUNTS)]),
    "half of less than none": by_hand(FRONT + BOX + EXPERTS, [([-1], [4], reference.COUNTS)]),
    "decision 2": coded(FRONT + bytes([1, 4, 9, 1, 9, 0]) + EXPERTS, symbols([1], [2])),
    "decision -1": coded(FRONT + bytes([1, 4, 9, 1, 9, 0]) + EXPERTS, symbols([1], [-1])),
    "late decision": coded(FRONT + bytes([1, 4, 9, 1, 9, 0]) + EXPERTS, symbols([1], rest=2)),
    "tile 1": OTHER,
    "rows for columns": coded(FRONT + BOX + EXPERTS, shape=SHAPE[::-1]),
    "last byte": GOOD + b"\0",
    "a byte more": GOOD + b"\1",
    "a byte less": GOOD[:-1],
    "stored: number missing": STORED[:4],
    "stored: a byte more": STORED + b"\0",
    "stored: a byte less": STORED[:-1],
    "stored: CRC": STORED[:-1] + bytes([STORED[-1] ^ 1]),
    "stored: CRC over colours once": stored(COLOURS, CHOSEN, once=True),
    "stored: order": stored(COLOURS[::-1], CHOSEN),
    "stored: order in the second channel": stored(COLOURS[[1, 0, 2, 3]], CHOSEN),
    "stored: a colour twice": stored(COLOURS[[0, 1, 1, 3]], CHOSEN),
    "stored: index": stored(COLOURS[:3], CHOSEN),
    "stored: number": stored(COLOURS, CHOSEN, count=5),
    "levels: form alone": LEVELS[:1],
    "levels: step 0": scalars(0),
    "levels: step 65": scalars(65),
    "levels: no pulls": LEVELS[:2],
    "levels: no offset": LEVELS[:8],
    "levels: no stream": LEVELS[:9],
    "levels: floor": scalars(lines=bytes([17]) + LINES[1:]),
    "levels: last floor": scalars(lines=LINES[:3] + bytes([17]) + LINES[4:]),
    "levels: above": scalars(53, choose=symbols([3])),
    "levels: below": scalars(53, choose=symbols([-3])),
    "levels: largest": scalars(choose=symbols([2**31 - 1])),
    "levels: last symbol": coded(bytes([2, 4, 20]) + LINES, symbols(rest=40)),
    "levels: tile 1": coded(bytes([2, 4, 20]) + LINES, symbols([1]), index=1),
    "levels: last byte": LEVELS + b"\0",
    "levels: a byte less": LEVELS[:-1],
}


def test_what_is_to_be_broken_is_whole():
    assert assert_both_read(GOOD, 0, SHAPE, C).shape == (3, 5, 2)
    assert (assert_both_read(STORED, 0, SHAPE, C) == COLOURS[CHOSEN]).all()
    assert stored(COLOURS, CHOSEN)[3:-4] == STORED[3:-4]
    assert_both_read(LEVELS, 0, SHAPE, C)
    assert_both_read(scalars(52, choose=symbols([3], [-3])), 0, SHAPE, C)
    assert_both_read(OTHER, 1, SHAPE, C)
    assert_both_read(BROKEN["rows for columns"], 0, SHAPE[::-1], C)
    assert_both_read(BROKEN["levels: tile 1"], 1, SHAPE, C)
    assert_both_read(box(4, [(9, 3), (9, 0)], [2], [1, 0], number=3), 0, SHAPE, C)
    assert_both_read(box(1, [(9, 0), (9, 0)], number=1), 0, SHAPE, C)
    assert_both_read(box(255, [(0, 1), (0, 1)], [1], [0, 1]), 0, SHAPE, C)


@pytest.mark.parametrize("name", BROKEN)
def test_both_readers_refuse_what_breaks_the_format(name):
    assert_both_refuse(BROKEN[name], 0, SHAPE, C)


@pytest.mark.parametrize("whole", [GOOD, STORED, LEVELS, sections.pack_levels(COLOURS[CHOSEN], 3, 0)])
def test_flipped_bits_and_cuts_are_refused(whole):
    for at in range(len(whole)):
        for bit in range(8):
            assert_both_refuse(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :], 0, SHAPE, C)
        assert_both_refuse(whole[:at], 0, SHAPE, C)
    for job in ((1, SHAPE, C), (0, SHAPE[::-1], C), (0, (1, 15), C), (0, (3, 4), C), (0, SHAPE, 1), (0, SHAPE, 3)):
        assert_both_refuse(whole, *job)


def test_every_gain_but_0_and_every_error_are_allowed_and_change_no_level():
    for gain, error in ((1, 0), (255, 255)):
        whole = coded(bytes([1, gain, error, 1]) + BOX + EXPERTS)
        assert (assert_both_read(whole, 0, SHAPE, C) == reference.read_tile(GOOD, 0, SHAPE, C)).all()
        channel = sections.unpack(whole, SHAPE, C, 0)[1]
        assert (channel.gain, channel.error) == (gain / 128, 2 ** (-error / 16))
    for step in (1, 64):
        channel = sections.unpack(scalars(step, choose=symbols()), SHAPE, C, 0)[1]
        assert (channel.gain, channel.error) == (1, pytest.approx(8 / 255 * ((step**2 + 1) / 12) ** 0.5))


def test_levels_stand_for_the_latents_of_the_text():
    levels = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)
    latents = 8 * (levels.astype(float) - 127.5) / 255
    np.testing.assert_allclose(from_levels(levels).transpose(1, 2, 0), latents, atol=1e-6)


def test_a_lost_tile_has_the_level_128():
    levels, _ = decode_tiles(SPACE, [LEVELS_4, None], (24, 100), 64, partial=True)
    assert (levels[:, :8] == reference.read_tile(LEVELS_4, 0, (3, 8), 4)).all()
    assert (levels[:, 8:] == 128).all()


def test_the_examples_of_the_text_are_true():
    text, row = FORMAT_TEXT.read_text(encoding="utf-8"), np.array([[[100], [108]]], np.uint8)
    examples = {
        b"\1\x80\x50" + indices.pack_stored(row[0], np.array([[0, 1]], np.uint8), reference.tag_of(0, b"\1\x80\x50")),
        coded(b"\1\x80\x50\1\1\x08\x64\1\x10\x28\x20\x20\x20", symbols([1], [0], [1]), 0, (1, 2), 1),
        coded(b"\2\4\1\4\x14", symbols([-7], [2]), 0, (1, 2), 1),
    }
    for example in examples:
        assert (assert_both_read(example, 0, (1, 2), 1) == row).all()
        assert f"`{example.hex(' ')}`" in text
