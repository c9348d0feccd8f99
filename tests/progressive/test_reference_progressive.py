"""Two readers of one text, docs/FORMAT.md: `regrain.progressive` and `reference_progressive`. They agree to the bit."""

import hashlib
import math
import zlib
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file

import regrain
from entropy import reference_coder
from progressive import reference_progressive as reference
from regrain import bitstream
from regrain.errors import BitstreamError
from regrain.progressive import reverse_channel_coding, reverse_process
from regrain.progressive.payload import pack, unpack
from regrain.tiles import places
from regrain.varint import put_varint

SHAPES = {"one tile": (40, 50), "two tiles": (40, 72)}
# Two tiles of 7680 and 960 values, as both readers name them.
OURS = reference.reference_reader.Header(64, False, False, 72, 40, 25600, bytes(4))
THEIRS = bitstream.Header(72, 40, 25600, bytes(4), bitstream.Method.PROGRESSIVE, tile=64)


@pytest.fixture(scope="module")
def files(weights):
    """A file of each shape, of 16 steps, all with more than one chunk."""
    encode = partial(regrain.encode, quality=40, tile=64, model=regrain.load(weights))
    return {name: encode(photo(*shape)) for name, shape in SHAPES.items()}


def photo(height, width):
    row, column = np.mgrid[:height, :width] / 9
    waves = np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)
    return (127.5 + 90 * waves).astype(np.uint8)


def library(payload, step, header):
    """z of one step, by the library."""
    z = np.empty((3, -(-header.height // 8) * 8, -(-header.width // 8) * 8), np.float32)
    tiles = places(*z.shape[1:], header.tile)
    messages = unpack(payload, [z[:, *place].size for place in tiles], step)
    for index, (place, message) in enumerate(zip(tiles, messages, strict=True)):
        part = z[:, *place]
        received = reverse_channel_coding.receive(message, part.size, reverse_process.SEED, step * len(tiles) + index)
        part[...] = received.reshape(part.shape)
    return z


def outcome(read, *job):
    """What a reader makes of a step: z, or None if it refuses."""
    try:
        return read(*job)
    except (ValueError, BitstreamError):
        return None


def same(ours, theirs):
    """Whether both readers refuse, or both give the same."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dtype == theirs.dtype == np.float32 and np.array_equal(ours, theirs)


def coded(heads, scale, exponents, rests, check=None, step=0):
    """The coded latents of a step: (chunks, log2 of the candidates, spread) a tile, and e and f of every chunk."""
    lengths = [e - 3 for e in exponents], [scale] * len(exponents), reference.GAUSSIAN
    head = b"".join(put_varint(chunks) + bytes([log2, spread]) for chunks, log2, spread in heads) + bytes([3, scale])
    numbers = np.array([2**e + f for e, f in zip(exponents, rests, strict=True)], "<i4")
    covered = step.to_bytes(4, "little") + head + numbers.tobytes()
    parts = [lengths, (rests, exponents, reference.UNIFORM)]
    return head + reference_coder.encode(parts, zlib.crc32(covered) if check is None else check)


HEADS = [(1, 5, 30), (1, 2, 0)]
# Three bytes a tile, centre, scale, and a stream.
GOOD = coded(HEADS, 20, [4, 0], [14, 0])
# f that is no digit of a candidate's number, though the sum is the number of a candidate.
BEYOND = {"f above": coded(HEADS, 20, [3, 0], [9, 0]), "f below 0": coded(HEADS, 20, [3, 1], [-1, 0])}
BROKEN = {
    "no bytes": b"",
    "no candidates' byte": GOOD[:4],
    "no spread": GOOD[:5],
    "no centre": GOOD[:6],
    "no scale": GOOD[:7],
    "no stream": GOOD[:8],
    "no chunks": coded([(0, 5, 30), (2, 5, 30)], 20, [3, 2], [1, 2]),
    "more chunks than values": coded([(1, 5, 30), (961, 5, 30)], 50, [3] * 962, [1] * 962),
    "varint": bytes([0x81, 0]) + GOOD[1:],
    "no candidates": coded([(1, 0, 30), (1, 5, 30)], 20, [0, 2], [0, 2]),
    "too many candidates": coded([(1, 17, 30), (1, 5, 30)], 20, [3, 2], [1, 2]),
    "number of no candidate": coded(HEADS, 20, [5, 0], [0, 0]),
    "number of the other tile's": coded(HEADS, 20, [3, 2], [1, 0]),
    "e below 0": GOOD[:6] + bytes([2]) + GOOD[7:],
    "e above 15": GOOD[:6] + bytes([255]) + GOOD[7:],
    "scale": GOOD[:7] + bytes([64]) + GOOD[8:],
    "check": coded(HEADS, 20, [3, 1], [1, 0], check=1),
    "last byte": GOOD + b"\0",
    "a byte more": GOOD + b"\1",
    "a byte less": GOOD[:-1],
    "a tile more": GOOD[:3] + GOOD,
    "a tile less": GOOD[3:],
    "tiles without a spread": GOOD[:2] + GOOD[3:5] + GOOD[6:],
}


@pytest.mark.parametrize("name", SHAPES)
def test_both_readers_give_the_same_z_at_every_step(name, files):
    stream = bitstream.read(files[name])
    ours = list(reference.read(files[name]))
    assert len(ours) == len(stream.tiles) == 16
    for step, (z, payload) in enumerate(zip(ours, stream.tiles, strict=True)):
        assert same(z, library(payload, step, stream.header))


@pytest.mark.parametrize(("chunks", "bits"), [((1, 60), 5), ((2, 7), 16), ((31, 3), 16), ((400, 50), 8), ((480, 1), 3)])
def test_both_readers_give_the_same_z_of_many_chunks(chunks, bits):
    """Numbers of all lengths up to the largest; in most cases the last row of values is not full."""
    random = np.random.default_rng(bits)
    numbers = [np.minimum(2 ** (bits * random.random(count)), 2**bits - 1).astype(int) - 1 for count in chunks]
    numbers[0][0] = 2**bits - 2
    payload = pack([reverse_channel_coding.Message(bits, row, 9 * bits) for row in numbers], 63)
    z = reference.draw_step(payload, 63, OURS)
    assert same(z, library(payload, 63, THEIRS))
    assert z.std() == pytest.approx(math.sqrt(1 + (9 * bits / 64) ** 2), rel=0.2)


@pytest.mark.parametrize("spreads", [(0, 1), (1, 255), (255, 0)])
def test_both_readers_allow_every_spread_and_widen_that_tile_alone(spreads):
    heads = [(*head[:2], spread) for head, spread in zip(HEADS, spreads, strict=True)]
    payload = coded(heads, 20, [4, 0], [14, 0])
    z = reference.draw_step(payload, 0, OURS)
    assert same(z, library(payload, 0, THEIRS))
    for columns, spread in zip((slice(0, 64), slice(64, 72)), spreads, strict=True):
        assert z[:, :, columns].std() == pytest.approx(math.sqrt(1 + (spread / 64) ** 2), rel=0.1)


def test_the_header_names_all_tensors_of_the_weights(files, weights):
    digest = hashlib.sha256()
    for name, value in sorted(load_file(weights).items()):
        digest.update(f"{name}|torch.{value.dtype.name}|{value.shape}|".encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    assert reference.split(files["one tile"])[0].fingerprint == digest.digest()[:4]


@pytest.mark.parametrize("name", SHAPES)
def test_both_readers_judge_every_flipped_byte_alike(name, files):
    ours, steps = reference.split(files[name])
    theirs, step = bitstream.read(files[name]).header, 8
    for at, byte in enumerate(steps[step]):
        for flip in (1, 0x10, 0xFF):
            spoilt = steps[step][:at] + bytes([byte ^ flip]) + steps[step][at + 1 :]
            z = outcome(reference.draw_step, spoilt, step, ours)
            assert same(z, outcome(library, spoilt, step, theirs)), (at, flip)


@pytest.mark.parametrize("name", BROKEN)
def test_both_readers_refuse_what_breaks_the_format(name):
    assert same(reference.draw_step(GOOD, 0, OURS), library(GOOD, 0, THEIRS))
    assert outcome(reference.draw_step, BROKEN[name], 0, OURS) is None
    assert outcome(library, BROKEN[name], 0, THEIRS) is None


@pytest.mark.parametrize("name", BEYOND)
def test_both_readers_refuse_f_beyond_its_digits(name):
    assert outcome(reference.draw_step, BEYOND[name], 0, OURS) is None
    assert outcome(library, BEYOND[name], 0, THEIRS) is None
