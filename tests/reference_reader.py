"""A reader of .rgn files made from docs/FORMAT.md alone, in whole numbers: the oracle of the text and of the library.

It holds every rule of the format as far as the symbols of z and y, and reads alpha and the foreground.
"""

import hashlib
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from entropy.reference_coder import Decoder, MalformedError
from reference_planes import CorruptError, Source, UnsupportedError, read_alpha, read_foreground, require

MAGIC = bytes.fromhex("9f 52 47 4e 0d 0a")
ALPHA, ICC, EXIF, XMP, FOREGROUND, LATENTS = 1, 2, 3, 4, 5, 16
GAUSSIAN = Path(__file__).parents[1] / "src" / "regrain" / "entropy" / "gaussian.npy"
GAUSSIAN_SHA256 = "6f0949e5cfe222f6423a6857726f4de206513042ed54f6109fa7c6ab6d04f1c9"


Table = namedtuple("Table", "first counts")
# What turns bytes into symbols: layers (kernel, bias), offsets (A, C), and Z tables for each of A anchors.
Weights = namedtuple("Weights", "fingerprint layers offsets z_tables")
# Without the method, which is 0; side is that of a tile, quality is q times 256.
Header = namedtuple("Header", "side grey alpha width height quality fingerprint")
# Payloads beside the tiles by type, alpha (height, width), foreground (height, width, 4), and (z, y) of every tile.
Picture = namedtuple("Picture", "header sections alpha foreground tiles")


def read_header(source, wanted=0):
    """Read the header of a file of the method that is wanted."""
    require(source.take(6) == MAGIC, "no magic")
    if source.number(1) != 1:
        raise UnsupportedError("another version")
    method, flags, width, height = source.number(1), source.number(1), source.varint(), source.varint()
    quality, fingerprint = source.number(2), source.take(4)
    crc = zlib.crc32(source.data[: source.at])
    require(source.number(4) == crc, "CRC of the header")
    if method != wanted or flags >> 6:
        raise UnsupportedError("method or flags")
    require(6 <= flags % 16 <= 15, "tile side")
    require(1 <= width < 2**31 and 1 <= height < 2**31, "width or height")
    require(quality <= 25600, "quality")
    return Header(1 << flags % 16, bool(flags & 16), bool(flags & 32), width, height, quality, fingerprint)


def read_section(source):
    """Read one section as (type, payload)."""
    start = source.at
    kind, length = source.number(1), source.varint()
    head, crc = source.data[start : source.at], source.number(4)
    payload = source.take(length)
    require(zlib.crc32(head + payload) == crc, "CRC of a section")
    if kind < 128 and kind not in (ALPHA, ICC, EXIF, XMP, FOREGROUND, LATENTS):
        raise UnsupportedError("type of a section")
    return kind, payload


def read_sections(source, header):
    """Read all sections: a dict of the payloads beside the tiles, and the list of the coded tiles."""
    sections, tiles, last, beside = {}, [], 0, 0
    while len(tiles) < -(-header.width // header.side) * -(-header.height // header.side):
        kind, payload = read_section(source)
        beside += kind != LATENTS
        require(beside <= 256, "more than 256 sections beside the tiles")
        if kind == LATENTS:
            tile = Source(payload)
            require(tile.varint() == len(tiles), "tiles out of order")
            tiles.append(payload[tile.at :])
        elif kind < 128:
            require(kind > last, "sections out of order")
            sections[kind] = payload
        last = kind if kind < 128 else last
    require(source.at == len(source.data), "bytes after the last tile")
    require((ALPHA in sections) == header.alpha, "alpha flag and ALPHA section disagree")
    return sections, tiles


def gaussian_tables():
    """Return the 64 tables of y."""
    row = np.load(GAUSSIAN)
    assert hashlib.sha256(row.astype("<u2").tobytes()).hexdigest() == GAUSSIAN_SHA256
    row, tables = row.tolist(), []
    while row:
        radius, half = row[0], row[1 : row[0] + 2]
        counts = half[:0:-1] + half
        tables.append(Table(-radius, [*counts, 65536 - sum(counts)]))
        row = row[radius + 2 :]
    return tables


def learned_tables(row):
    """Return the tables of z, those of all channels for each anchor in turn."""
    firsts, sizes, counts = np.split(row[1:], [row[0], 2 * row[0]])
    assert sizes.sum() == counts.size
    pieces = [piece.tolist() for piece in np.split(counts, np.cumsum(sizes)[:-1])]
    assert all(min(piece) >= 1 and sum(piece) == 65536 for piece in pieces)
    return [Table(*table) for table in zip(firsts.tolist(), pieces, strict=True)]


def adapted(base, tensors):
    """Return the tensors that an adapter's make of its base's."""
    whole = dict(base)
    for name, value in tensors.items():
        if name.endswith(".left"):
            target = name.removesuffix(".left")
            total = base[target].reshape(len(value), -1).astype(np.float32)
            for k, row in enumerate(tensors[f"{target}.right"]):
                total += np.outer(value[:, k].astype(np.float32), row.astype(np.float32))
            whole[target] = total.reshape(base[target].shape)
        elif not name.endswith(".right"):
            whole[name] = value
    return whole


def read_weights(path, base=None):
    """Read what the symbols depend on of a weights file, or an adapter of `base`; compute the latent fingerprint."""
    whole = load_file(path) if base is None else adapted(load_file(base), load_file(path))
    tensors = {name: value for name, value in sorted(whole.items()) if name.startswith("latents.")}
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name}|torch.{value.dtype.name}|{value.shape}|".encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    count = sum(name.startswith("latents.scale.") for name in tensors) // 2
    layers = [[tensors[f"latents.scale.{i}.{part}"].astype(int) for part in ("weight", "bias")] for i in range(count)]
    tables = learned_tables(tensors["latents.z_tables"])
    return Weights(digest.digest()[:4], layers, tensors["latents.offset"].astype(int), tables)


def convolve(layer, a):
    """Return conv(a) + b of (channels, rows, columns), with zeros outside."""
    kernel, bias = layer
    rows, columns = a.shape[1:]
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1)))
    total = bias[:, None, None] + np.zeros((1, rows, columns), a.dtype)
    for i in range(3):
        for j in range(3):
            total += np.tensordot(kernel[:, :, i, j], padded[:, i : i + rows, j : j + columns], 1)
    return total


def offsets_at(quality, weights):
    """Return the offset of every channel."""
    last = len(weights.offsets) - 1
    k = min(quality * last // 25600, last - 1)
    f = quality * last - 25600 * k
    return (weights.offsets[k] * (25600 - f) + weights.offsets[k + 1] * f + 12800) // 25600


def hyper(z, quality, weights, shape):
    """Return what z says of every y, in 1/16 of an index, and a_2, both cut to (h, w)."""
    a = np.clip(z.astype(int), -127, 127)
    for layer, bits in zip(weights.layers[:2], (4, 8), strict=True):
        a = np.clip(convolve(layer, a) >> bits, 0, 127).repeat(2, axis=1).repeat(2, axis=2)
    total = (convolve(weights.layers[2], a) >> 6) + offsets_at(quality, weights)[:, None, None]
    return total[:, : shape[0], : shape[1]], a[:, : shape[0], : shape[1]]


def passes(weights, shape):
    """Return of every pass its channels, its places (h, w), and how many channels it knows."""
    row, column = np.indices(shape)
    widths = [len(kernel) for kernel, _ in weights.layers[4::2]]
    whole = np.ones(shape, bool)
    if not widths:
        yield slice(None), whole, 0
        return
    first = widths[0]
    yield slice(0, first), (row + column) % 2 == 0, 0
    yield slice(0, first), (row + column) % 2 == 1, first
    for width in widths[1:]:
        yield slice(first, first + width), whole, first
        first += width


def level(symbols):
    """Return how large symbols are, 8 steps an octave."""
    n = np.minimum(1 + np.abs(symbols), 255)
    e = sum((n >= 2**k).astype(int) for k in range(1, 8))
    return 8 * e + (8 * (n - (1 << e)) >> e)


def context(number, y, hidden, weights):
    """Return what pass `number` adds, given the symbols that it knows."""
    seen = np.concatenate([level(y), hidden // 2])
    a = np.clip(convolve(weights.layers[2 * number + 1], seen) >> 8, 0, 127)
    return convolve(weights.layers[2 * number + 2], a) >> 6


def read_y(take, z, quality, weights, shape):
    """Return y, (C, h, w), of which `take` reads the symbols of a pass, given their table indices."""
    total, hidden = hyper(z, quality, weights, shape)
    y = np.zeros(total.shape, int)
    for number, (channels, places, known) in enumerate(passes(weights, shape)):
        here = total[channels] + (context(number, y[:known], hidden, weights) if known else 0)
        ids = np.clip((here + 8) // 16, 0, 63)[:, places]
        y[channels, places] = np.reshape(take(ids.ravel()), ids.shape)
    return y


def cuts(length, side):
    """Return how many latents each tile has along an edge of so many pixels."""
    return [-(-min(side, length - at) // 16) for at in range(0, length, side)]


def read_tile(coded, index, shape, quality, weights):
    """Return (z, y) of one tile of (h, w) latents, as little-endian int32."""
    anchors, channels = len(weights.offsets), weights.layers[0][0].shape[1]
    anchor = (2 * quality * (anchors - 1) + 25600) // 51200
    tables = weights.z_tables[anchor * channels : (anchor + 1) * channels]
    z_shape = (channels, -(-shape[0] // 4), -(-shape[1] // 4))
    if not coded:
        return np.zeros(z_shape, "<i4"), np.zeros((weights.offsets.shape[1], *shape), "<i4")
    try:
        decoder = Decoder(coded)
        z = np.array(decoder.take(np.indices(z_shape)[0].ravel(), tables), "<i4").reshape(z_shape)
        y = read_y(lambda ids: decoder.take(ids, gaussian_tables()), z, quality, weights, shape).astype("<i4")
        decoder.finish(zlib.crc32(np.array(index, "<i4").tobytes() + z.tobytes() + y.tobytes()))
    except MalformedError as error:
        raise CorruptError(f"latents of tile {index}") from error
    return z, y


def read(data, weights):
    """Read a whole file; CorruptError or UnsupportedError if it is not one that these weights decode."""
    source = Source(data)
    header = read_header(source)
    sections, coded = read_sections(source, header)
    if header.fingerprint != weights.fingerprint:
        raise UnsupportedError("other weights")
    alpha = read_alpha(sections[ALPHA], header.height, header.width) if header.alpha else None
    layer = sections.get(FOREGROUND)
    foreground = None if layer is None else read_foreground(layer, header.height, header.width)
    rows, columns = (cuts(length, header.side) for length in (header.height, header.width))
    shapes = [(h, w) for h in rows for w in columns]
    tiles = [read_tile(*job, header.quality, weights) for job in zip(coded, range(len(coded)), shapes, strict=True)]
    return Picture(header, sections, alpha, foreground, tiles)
