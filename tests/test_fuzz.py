"""Golden files, mutated: each decodes to the size that its header says, or ends in an error of ours; nothing else.

REGRAIN_FUZZ=3000 tries so many random examples a test instead of a few that are always the same. Most mutations have
the checksums above them mended, so that the damage reaches the walk over sections, the entropy coder and the networks.
"""

import dataclasses
import json
import logging
import os
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import scripts.fuzz
from regrain import bitstream, codec, registry
from regrain.bitstream import Header, Method, Stream, _pack_header
from regrain.conditional import context_model, grid
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.errors import BitstreamError, RegrainError
from regrain.varint import get_varint, put_varint
from scripts.fuzz import mended

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {name: (FOLDER / f"{name}.rgn").read_bytes() for name in json.loads((FOLDER / "golden.json").read_text())}
EXAMPLES = int(os.environ.get("REGRAIN_FUZZ", "0"))
SECONDS = 2
VERSION = 7
"""Bytes of magic and version, after which mutations begin that shall get past them."""
MOST = 200 * 200
EXTREMES = [0, 1, -1, 2, 63, 126, 127, -127, 128, -128, 129, 2**15, 2**24, -(2**24), 2**31 - 1, -(2**31)]


def fuzz(examples):
    """Settings of a test that tries `examples`, unless told otherwise; time is measured in `outcome`."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=EXAMPLES or examples, deadline=None, suppress_health_check=slow)


@pytest.fixture(scope="module", autouse=True)
def _warm():
    for name in ("colour", "progressive", "palette"):
        codec.decode(GOLDEN[name])


def outcome(data, partial):
    """Decode: the picture, of the size that the header says, or the one-line error of ours; all else escapes."""
    start = time.thread_time()
    try:
        result = codec.decode(data, steps=1, realism=0, partial=partial, max_pixels=MOST)
    except RegrainError as error:
        result = error
    assert time.thread_time() - start < SECONDS
    if isinstance(result, RegrainError):
        assert 0 < len(str(result)) < 400
        assert "\n" not in str(result)
    else:
        is_as_its_header_says(result, bitstream.read_header(data))
    return result


def is_as_its_header_says(picture, header):
    """Hold size, kind and type of a picture that came out."""
    assert picture.pixels.shape == (header.height, header.width, 1 if header.grey else 3)
    assert picture.pixels.dtype == np.uint8
    if picture.alpha is not None:
        assert header.alpha
        assert picture.alpha.shape == (header.height, header.width)


def split(data):
    """A whole file as its header and its sections."""
    head, *parts = bitstream.layout(data)
    sections = []
    for part in parts:
        body = data[part.offset : part.offset + part.length]
        start = get_varint(body, 1)[1] + 4
        sections.append((body[0], body[start:]))
    return data[: head.length], sections


def framed(section):
    """A section with the right length and checksum."""
    kind, payload = section
    frame = bytes([kind]) + put_varint(len(payload))
    return frame + zlib.crc32(payload, zlib.crc32(frame)).to_bytes(4, "little") + payload


@st.composite
def mutated(draw, base, most=4):
    """`base` with one to `most` cuts, insertions, deletions, copies, flips and odd numbers."""
    data = bytearray(base)
    for _ in range(draw(st.integers(1, most))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        kind = draw(st.sampled_from(("flip", "set", "insert", "delete", "truncate", "copy", "varint")))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        elif kind == "delete":
            del data[at : min(end, at + 40)]
        elif kind == "truncate":
            del data[end:]
        elif kind == "copy":
            data[at:at] = data[at : min(end, at + 300)]
        elif kind == "varint":
            odd = draw(st.sampled_from([b"\x80\0", b"\xff\xff\xff\xff\x7f", b"\x80" * 6, b"\xff" * 4, b"\0"]))
            data[at : at + 1] = odd
    return bytes(data)


@st.composite
def reordered(draw, sections):
    """Sections doubled, lost, swapped, of another type, filled with other bytes, among unknown ones."""
    sections = list(sections)
    for _ in range(draw(st.integers(1, 3))):
        assume(sections)
        at, other = (draw(st.integers(0, len(sections) - 1)) for _ in range(2))
        kind = draw(st.sampled_from(("double", "lose", "swap", "type", "fill", "mutate", "unknown", "index")))
        name, payload = sections[at]
        if kind == "double":
            sections.insert(other, sections[at])
        elif kind == "lose":
            del sections[at]
        elif kind == "swap":
            sections[at], sections[other] = sections[other], sections[at]
        elif kind == "type":
            sections[at] = draw(st.sampled_from([0, 1, 2, 3, 4, 15, 16, 17, 127, 128, 255])), payload
        elif kind == "fill":
            sections[at] = name, draw(st.binary(max_size=60))
        elif kind == "mutate":
            sections[at] = name, draw(mutated(payload))
        elif kind == "unknown":
            sections.insert(at, (draw(st.integers(128, 255)), draw(st.binary(max_size=9))))
        elif kind == "index" and name == bitstream.SectionType.LATENTS:
            index = draw(st.sampled_from([0, 1, 5, 6, 127, 128, 2**31, 2**35 - 1]))
            sections[at] = name, put_varint(index) + payload[1:]
    return sections


@st.composite
def headers(draw, header):
    """Another header for the same sections: a few of its fields changed, at most MOST pixels mostly."""
    changes = {
        "width": st.integers(1, 200),
        "height": st.one_of(st.integers(1, 200), st.sampled_from([2**31 - 1, 10**9])),
        "quality": st.integers(0, 25600),
        "tile": st.sampled_from([64, 128, 1024, 32768]),
        "grey": st.booleans(),
        "alpha": st.booleans(),
        "method": st.sampled_from(list(Method)),
        "fingerprint": st.just(b"\0\0\0\0"),
    }
    names = draw(st.lists(st.sampled_from(sorted(changes)), min_size=1, max_size=2, unique=True))
    return dataclasses.replace(header, **{name: draw(changes[name]) for name in names})


named, partly = st.sampled_from(sorted(GOLDEN)), st.booleans()


@given(draw=st.data(), name=named, partial=partly)
@fuzz(60)
def test_bytes_anywhere(draw, name, partial):
    base = GOLDEN[name]
    data = draw.draw(mutated(base))
    result = outcome(data, partial)
    if not partial and data != base:
        assert isinstance(result, BitstreamError)


@given(draw=st.data(), name=named, partial=partly)
@fuzz(75)
def test_bytes_anywhere_with_the_checksums_put_right(draw, name, partial):
    base = GOLDEN[name]
    outcome(mended(base[:VERSION] + draw.draw(mutated(base[VERSION:]))), partial)


@given(draw=st.data(), name=named, partial=partly)
@fuzz(75)
def test_sections_in_any_order_and_form(draw, name, partial):
    base = GOLDEN[name]
    head, sections = split(base)
    outcome(head + b"".join(framed(section) for section in draw.draw(reordered(sections))), partial)


@given(draw=st.data(), name=named, partial=partly)
@fuzz(60)
def test_another_header_before_the_same_sections(draw, name, partial):
    base = GOLDEN[name]
    head, _ = split(base)
    header = draw.draw(headers(bitstream.read_header(base)))
    outcome(_pack_header(header) + base[len(head) :], partial)


@given(draw=st.data(), name=named, partial=partly)
@fuzz(60)
def test_garbage_for_the_entropy_coder(draw, name, partial):
    base = GOLDEN[name]
    stream = bitstream.read(base)
    tiles = list(stream.tiles)
    for at in draw.draw(st.sets(st.integers(0, len(tiles) - 1), min_size=1)):
        tiles[at] = draw.draw(st.one_of(mutated(tiles[at]), st.binary(max_size=120)))
    assume(tuple(tiles) != stream.tiles)
    result = outcome(bitstream.write(dataclasses.replace(stream, tiles=tuple(tiles))), partial)
    assert partial or isinstance(result, BitstreamError) or b"" in tiles  # such a tile has no latents


@given(draw=st.data())
@fuzz(35)
def test_symbols_of_any_value_that_are_coded_as_they_should_be(draw):
    width, height = draw.draw(st.integers(1, 70)), draw.draw(st.integers(1, 70))
    quality, tile = draw.draw(st.integers(0, 25600)), draw.draw(st.sampled_from([64, 1024]))
    random, pool = np.random.default_rng(draw.draw(st.integers(0, 99))), draw.draw(st.lists(st.sampled_from(EXTREMES)))
    model = registry.load()
    tiles = []
    for index, region in enumerate(grid.tiles(*grid.latent_size(height, width), tile // grid.STRIDE)):
        z = some(random, pool, (model.config.transform.hyper, *context_model.hyper_size(region)))
        y = some(random, pool, (model.config.transform.latent, region.height, region.width))
        tiles.append(forged(model, index, z, y, quality))
    header = Header(width, height, quality, model.fingerprint, tile=tile, grey=draw.draw(st.booleans()))
    result = outcome(bitstream.write(Stream(header, tuple(tiles))), False)
    assert not isinstance(result, RegrainError)


def some(random, pool, shape):
    """Symbols that are mostly 0, the others from the pool."""
    values = random.choice(np.array([*pool, 0], dtype=np.int64), shape)
    return np.where(random.random(shape) < 0.3, values, 0).astype(np.int32)


def forged(model, index, z, y, quality):
    """The latents of a tile as an encoder would write them that chose these symbols."""
    latents = model.latents
    parts = [(z.reshape(-1), context_model.hyper_table_ids(*z.shape), latents.hyper_tables(quality))]
    state = latents.start(z, quality, y.shape[1:])
    for number, step in enumerate(latents.order):
        mean, scale_index, mask = state.predict(number, step)
        chosen = y[step.channels, mask]
        parts.append((chosen.reshape(-1), scale_index.reshape(-1), gaussian_tables()))
        state.update(step, chosen, mean, mask)
    return coder.encode(parts, context_model.checksum(index, z, y))


@pytest.mark.parametrize("first", range(0, 150, 50))
def test_the_first_files_of_the_script(first, tmp_path, caplog):
    """scripts/fuzz.py runs any number of them; file n is the same everywhere."""
    caplog.set_level(logging.ERROR)
    counts = scripts.fuzz.chunk((first, first + 50, str(tmp_path)))
    assert counts.total() == 50
    assert counts["decoded"] > 3
    assert not counts["FAILED"]


@pytest.mark.parametrize("name", GOLDEN)
def test_mending_what_is_whole_changes_nothing(name):
    data = GOLDEN[name]
    assert mended(data) == data
    head, sections = split(data)
    assert head + b"".join(map(framed, sections)) == data
    assert not isinstance(outcome(data, False), RegrainError)
