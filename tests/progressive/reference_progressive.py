"""A reader of progressive .rgn files made from docs/FORMAT.md alone: the oracle of the text and of the library.

It gives z of every step and holds every rule of the format on the way. What a denoiser makes of z is not its business.
"""

import math
import zlib
from collections import namedtuple

import numpy as np

import reference_reader
from entropy.reference_coder import Decoder, MalformedError
from reference_reader import CorruptError, Source, Table, UnsupportedError, require
from regrain.diffusion.noise import normal

PROGRESSIVE = 1
GAUSSIAN = reference_reader.gaussian_tables()
# Table e of 16: the symbols 0, ..., 2^e - 1 and an escape.
UNIFORM = [Table(0, [65536 >> e] * (2**e - 1) + [(65536 >> e) - 1, 1]) for e in range(16)]

# A tile's place in x and in the order of tiles.
Place = namedtuple("Place", "index top left height width")


def steps_of(header):
    """Return how many steps the file has."""
    return 1 + header.quality * 39 // 25600


def sides_of(header):
    """Return the sides of x."""
    return -(-header.height // 8) * 8, -(-header.width // 8) * 8


def places_of(header):
    """Return the tiles over x in raster order."""
    height, width = sides_of(header)
    corners = [(top, left) for top in range(0, height, header.side) for left in range(0, width, header.side)]
    return [
        Place(index, top, left, min(header.side, height - top), min(header.side, width - left))
        for index, (top, left) in enumerate(corners)
    ]


def size_of(place):
    """Return D, how many values of z a tile has."""
    return 3 * place.height * place.width


def read_tile_head(source, place):
    """Return how many chunks a tile has, log2 of how many candidates, and their spread in 1/64."""
    chunks, log2, spread = source.varint(), source.number(1), source.number(1)
    require(1 <= chunks <= -(-size_of(place) // 16), "number of chunks")
    require(1 <= log2 <= 16, "number of candidates")
    return chunks, log2, spread


def read_numbers(stream, count, centre, scale, before):
    """Return r + 1 of every chunk of all tiles, the whole latent stream; its check covers the bytes `before` too."""
    require(scale < len(GAUSSIAN), "scale")
    decoder = Decoder(stream)
    exponents = [centre + symbol for symbol in decoder.take([scale] * count, GAUSSIAN)]
    require(all(0 <= e <= 15 for e in exponents), "e")
    rests = decoder.take(exponents, UNIFORM)
    require(all(0 <= f < 2**e for e, f in zip(exponents, rests, strict=True)), "f")
    numbers = [2**e + f for e, f in zip(exponents, rests, strict=True)]
    decoder.finish(zlib.crc32(before + np.array(numbers, "<i4").tobytes()))
    return numbers


def read_step(coded, step, places):
    """Take the coded latents of a step apart: for every tile its spread and the candidate's number of each chunk."""
    source = Source(coded)
    heads = [read_tile_head(source, place) for place in places]
    centre, scale = source.number(1), source.number(1)
    before = step.to_bytes(4, "little") + coded[: source.at]
    numbers = iter(read_numbers(coded[source.at :], sum(chunks for chunks, *_ in heads), centre, scale, before))
    tiles = [(spread, [next(numbers) - 1 for _ in range(chunks)]) for chunks, _, spread in heads]
    for (_, log2, _), (_, chosen) in zip(heads, tiles, strict=True):
        require(max(chosen) <= 2**log2 - 2, "number of a candidate")
    return tiles


def stride(size):
    """Return s, the step from one value of a tile to the next in the order in which chunks take them."""
    s = max(1, 618034 * size // 1000000)
    while math.gcd(s, size) != 1:
        s += 1
    return s


def line(step, count):
    """Return the first `count` values of the topmost row of a noise image, pixel after pixel, four channels each."""
    return normal(0, step, 0, 0, 1, -(-count // 4), 4)[:, 0].T.ravel()[:count]


def draw(spread, chosen, number, place):
    """Return z of one tile, (3, height, width), from the candidates that its chunks chose; `number` is n."""
    size, chunks = size_of(place), len(chosen)
    length = -(-size // chunks)
    signs = np.sign(line(2 * number + 1, length * chunks))
    noise = line(2 * number, max(chosen) + length) * np.float32(math.sqrt(1 + (spread / 64) ** 2))
    candidates = np.stack([noise[r : r + length] for r in chosen], axis=1)  # row j, column c
    values = candidates.ravel() * signs
    z = np.empty(size, np.float32)
    z[np.arange(size) * stride(size) % size] = values[:size]
    return z.reshape(3, place.height, place.width)


def read_z(coded, step, header):
    """Return z of a whole step, (3, rows, columns)."""
    places = places_of(header)
    z = np.empty((3, *sides_of(header)), np.float32)
    for place, (spread, chosen) in zip(places, read_step(coded, step, places), strict=True):
        rows, columns = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
        z[:, rows, columns] = draw(spread, chosen, step * len(places) + place.index, place)
    return z


def split(data):
    """Return the header of a whole file and the coded latents of every step; ValueError if it breaks the format."""
    try:
        source = Source(data)
        header = reference_reader.read_header(source, PROGRESSIVE)
        # The sections are those of a file with as many tiles as this one has steps.
        like = header._replace(side=1, width=steps_of(header), height=1)
        return header, reference_reader.read_sections(source, like)[1]
    except (CorruptError, UnsupportedError) as error:
        raise ValueError(str(error)) from error


def draw_step(coded, step, header):
    """Return z of one step, (3, rows, columns); ValueError if its coded latents break the format."""
    try:
        return read_z(coded, step, header)
    except (CorruptError, MalformedError) as error:
        raise ValueError(f"step {step}: {error}") from error


def read(data):
    """Yield z of every step of a whole file; ValueError if it breaks the format."""
    header, steps = split(data)
    for step, coded in enumerate(steps):
        yield draw_step(coded, step, header)
