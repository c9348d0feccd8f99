"""A reader of palette .rgn files made from docs/FORMAT.md alone: the oracle of the text and of the library.

It gives the levels of every tile, in whole numbers, and holds every rule of the format on the way.
"""

import math
import zlib
from itertools import accumulate, chain, pairwise, product

import numpy as np

import reference_reader
from entropy.reference_coder import Decoder, MalformedError
from reference_reader import CorruptError, Source, Table, require

PALETTE = 2
GAUSSIAN = reference_reader.gaussian_tables()
STENCILS = {
    0: {},
    1: {(1, 1): 27, (1, 3): 4, (3, 1): 4},
    2: {(1, 1): 14, (0, 2): 21, (2, 0): 21},
    3: {(0, 1): 26, (1, 0): 26, (0, 3): 8, (3, 0): 8},
}
# Table n tells how many of n colours are in half a box.
COUNTS = [Table(0, [65535 // (n + 1) + (k < 65535 % (n + 1)) for k in range(n + 1)] + [1]) for n in range(257)]
RARER = [65536 * 65535 // (65536 + math.isqrt(math.isqrt(2 ** (64 + i)))) for i in range(49)]
DECISIONS = [Table(0, [65535 - q, q, 1]) for q in RARER]
LARGEST_K = [(m**64).bit_length() - 1 - 512 for m in range(256, 512)]


def power(i):
    """Return E(i), a 64th root: six square roots."""
    root = 2 ** (1280 - i)
    for _ in range(6):
        root = math.isqrt(root)
    return root


POWERS = [power(i) for i in range(1281)]


def log2(v):
    """Return L(v)."""
    e = v.bit_length() - 1
    return 64 * e + LARGEST_K[(256 * v >> e) - 256]


def clamp(value, low, high):
    return min(max(value, low), high)


def signed(data):
    """Return bytes as numbers from -128 to 127."""
    return [byte - 256 if byte > 127 else byte for byte in data]


def sets(height, width):
    """Yield stencil, u and the places of each of the 13 sets."""
    places = list(product(range(height), range(width)))
    yield 0, 16, [(i, j) for i, j in places if i % 16 == j % 16 == 0]
    for u in (8, 4, 2, 1):
        centres = [(i, j) for i, j in places if i % (2 * u) == j % (2 * u) == u]
        for stencil in (1, 2):
            yield stencil, u, [(i, j) for i, j in centres if (i // (2 * u) + j // (2 * u)) % 2 == stencil - 1]
        yield 3, u, [(i, j) for i, j in places if i % u == j % u == 0 and (i + j) % (2 * u) == u]


def neighbours(place, stencil, u, shape):
    """Return the places within the tile around a place, each with its weight."""
    found = []
    for offset, weight in STENCILS[stencil].items():
        for down, across in {(a * offset[0], b * offset[1]) for a in (1, -1) for b in (1, -1)}:
            i, j = place[0] + u * down, place[1] + u * across
            if 0 <= i < shape[0] and 0 <= j < shape[1]:
                found.append(((i, j), weight))
    return found


def passes(shape):
    """Yield every pass over a tile: stencil, places (i, j), and those of the neighbours of each with their weights."""
    for stencil, u, places in sets(*shape):
        for first in range(0, len(places), 8192):
            some = places[first : first + 8192]
            yield stencil, some, [neighbours(place, stencil, u, shape) for place in some]


def halves(box, size, channel, lower):
    """Return the halves of a box that have colours, and how many."""
    middle = sum(box[channel]) // 2
    low, high = list(box), list(box)
    low[channel], high[channel] = (box[channel][0], middle), (middle, box[channel][1])
    return [(half, count) for half, count in ((low, lower), (high, size - lower)) if count]


def wide(box, channel):
    return box[channel][1] - box[channel][0] > 1


def halve(take, boxes, channel):
    """Return the boxes after one channel of a round; each is (ranges, how many colours)."""
    sizes = [size for box, size in boxes if wide(box, channel)]
    told = take(sizes, COUNTS)
    require(all(0 <= lower <= size for lower, size in zip(told, sizes, strict=True)), "colours in half a box")
    told = iter(told)
    rows = [halves(*box, channel, next(told)) if wide(box[0], channel) else [box] for box in boxes]
    return [*chain(*rows)]


def read_colours(take, count, step, ranges):
    """Return the palette: a list of K colours; `ranges` has low and last of each channel."""
    channels = range(len(ranges))
    boxes = [([(0, last + 1) for _, last in ranges], count)]
    while any(wide(box, c) for box, _ in boxes for c in channels):
        for c in channels:
            boxes = halve(take, boxes, c)
    require(all(size == 1 for _, size in boxes), "colours at one place")
    points = [[a for a, _ in box] for box, _ in boxes]
    for c, (_, last) in enumerate(ranges):
        require({0, last} <= {point[c] for point in points}, "box of the palette")
    divisor = math.gcd(*(p for point in points for p in point))
    require(step and (divisor == 1 or (divisor == 0 and step == 1)), "step of the palette")
    palette = [[low + step * p for (low, _), p in zip(ranges, point, strict=True)] for point in points]
    require(max(map(max, palette)) <= 255, "level of the palette")
    return sorted(palette)


def read_experts(source, channels):
    """Return T, r, and the sharpness of stencils 0 to 3."""
    metric = [signed(source.take(row + 1)) + [0] * (channels - 1 - row) for row in range(channels)]
    reach, sharpness = source.number(1), [0, *source.take(3)]
    require(reach <= 160, "reach")
    return metric, reach, sharpness


def costs_of(palette, metric, r):
    """Return cost(k, n) of all pairs of colours; T turns each colour before they are compared."""
    channels = range(len(metric))
    points = [[sum(colour[b] * metric[b][c] for b in channels) for c in channels] for colour in palette]
    reach = (4 + r % 4) * 2 ** (r // 4)
    return [[log2(reach + sum((a - b) ** 2 for a, b in zip(p, q, strict=True))) for q in points] for p in points]


def weights_of(costs, around, sharpness):
    """Return W of every colour; `around` are the indices of the neighbours and their weights."""
    total = [0] * len(costs)
    for index, weight in around:
        total = [x + sharpness * weight * cost for x, cost in zip(total, costs[index], strict=True)]
    least = min(total)
    return [POWERS[min((x - least) // 2048, 1280)] for x in total]


def descend(take, rows):
    """Return the index of each position of a pass, of which `rows` has the weights of all colours."""
    sums = [[0, *accumulate(row)] for row in rows]
    ranges = [(0, len(row)) for row in rows]
    while live := [(n, a, (a + b) // 2, b) for n, (a, b) in enumerate(ranges) if b - a > 1]:
        odds = [log2(sums[n][b] - sums[n][m]) - log2(sums[n][m] - sums[n][a]) for n, a, m, b in live]
        told = take([min((abs(o) + 8) // 16, 48) for o in odds], DECISIONS)
        require(set(told) <= {0, 1}, "decision")
        for (n, a, m, b), o, symbol in zip(live, odds, told, strict=True):
            ranges[n] = (m, b) if (o > 0) != (symbol == 1) else (a, m)
    return [a for a, _ in ranges]


def read_indices(take, palette, experts, shape):
    """Return the indices in raster order."""
    *metric_and_reach, sharpness = experts
    costs, known = costs_of(palette, *metric_and_reach), {}
    for stencil, places, around in passes(shape):
        seen = [[(known[place], weight) for place, weight in row] for row in around]
        rows = [weights_of(costs, row, sharpness[stencil]) for row in seen]
        known.update(zip(places, descend(take, rows), strict=True))
    return [known[place] for place in product(range(shape[0]), range(shape[1]))]


def crc(tag, shape, *rest):
    """Return the CRC-32 over S and the rest."""
    return zlib.crc32(b"".join([number.to_bytes(8, "little") for number in (tag, *shape)] + [*map(bytes, rest)]))


def tag_of(index, head):
    return zlib.crc32(index.to_bytes(4, "little") + head)


def coded_levels(decoder, source, shape, channels):
    """Read a coded palette and its indices; return the levels, and all bytes of them that the check covers."""
    count, step = source.number(1) + 1, source.number(1)
    ranges = [tuple(source.take(2)) for _ in range(channels)]
    experts = read_experts(source, channels)
    reader = decoder(source.data[source.at :])
    palette = read_colours(reader.take, count, step, ranges)
    indices = read_indices(reader.take, palette, experts, shape)
    return reader, [palette[index] for index in indices], [*chain(*palette), *indices]


def stored_levels(source, tag, shape, channels):
    """Read a stored palette and its indices; return the levels."""
    count = source.number(1) + 1
    rows, indices = source.take(count * channels), source.take(shape[0] * shape[1])
    covered = source.data[: source.at]
    require(source.number(4) == crc(tag, shape, covered, rows, indices), "CRC")
    require(source.at == len(source.data), "bytes after a stored palette")
    palette = [list(rows[at : at + channels]) for at in range(0, len(rows), channels)]
    require(all(a < b for a, b in pairwise(palette)), "order of colours")
    require(max(indices) < count, "index")
    return [palette[index] for index in indices]


def predict(around, known, channels):
    """Return mean and spread of every channel, by the levels around a position."""
    if not around:
        return [128] * channels, [512] * channels
    means, spreads, w = [], [], sum(weight for _, weight in around)
    for c in range(channels):
        values = [(known[place][c], weight) for place, weight in around]
        mean = (2 * sum(weight * v for v, weight in values) + w) // (2 * w)
        means.append(mean)
        spreads.append(16 * sum(weight * abs(v - mean) for v, weight in values) // w)
    return means, spreads


def read_scalars(take, shape, step, pulls, lines):
    """Return the levels of every position in raster order."""
    channels, known = len(lines), {}
    for _, places, around in passes(shape):
        guesses = [predict(row, known, channels) for row in around]
        known.update((place, []) for place in places)
        for c, (floor, slope, offset) in enumerate(lines):
            expected, tables = [], []
            for place, (mean, spread) in zip(places, guesses, strict=True):
                moved = [level - m for level, m in zip(known[place], mean, strict=False)]
                pulled = (sum(pull * by for pull, by in zip(pulls[c], moved, strict=True)) + 32) // 64
                expected.append(clamp(mean[c] + pulled, 0, 255))
                activity = spread[c] + sum(spread) // 4 + 8 * sum(map(abs, moved))
                tables.append(clamp(offset + slope * log2(activity + 4**floor) // 64, 0, 63))
            for place, guess, symbol in zip(places, expected, take(tables, GAUSSIAN), strict=True):
                require(-9 * step <= 16 * (guess + step * symbol) <= 4080 + 9 * step, "symbol")
                known[place].append(clamp(guess + step * symbol, 0, 255))
    return [known[place] for place in product(range(shape[0]), range(shape[1]))]


def scalar_levels(decoder, source, shape, channels):
    """Read levels without a palette; return the levels, and those once more, which the check covers."""
    step = source.number(1)
    require(1 <= step <= 64, "step")
    pulls = [signed(source.take(c)) for c in range(channels)]
    lines = [(source.number(1), source.number(1), *signed(source.take(1))) for _ in range(channels)]
    require(all(floor <= 16 for floor, *_ in lines), "floor")
    reader = decoder(source.data[source.at :])
    levels = read_scalars(reader.take, shape, step, pulls, lines)
    return reader, levels, chain(*levels)


def levels_of(coded, index, shape, channels, decoder):
    """Return the levels of a tile, in raster order, which `decoder` reads from a stream."""
    form = Source(coded).number(1)
    require(form in (1, 2), "form of a tile")
    head, read = Source(coded).take(1 if form == 2 else 3), scalar_levels
    tag, body = tag_of(index, head), Source(coded[len(head) :])
    if form != 2:
        require(head[1], "gain")
        kind, read = body.number(1), coded_levels
        require(kind in (0, 1), "form of a palette")
        if kind == 0:
            return stored_levels(body, tag, shape, channels)
    reader, levels, covered = read(decoder, body, shape, channels)
    reader.finish(crc(tag, shape, body.data[: body.at], covered))
    return levels


def read_tile(coded, index, shape, channels, decoder=Decoder):
    """Return the levels of a tile of (h, w) latents, uint8 (h, w, channels); CorruptError if it breaks the format."""
    try:
        levels = levels_of(coded, index, shape, channels, decoder)
    except MalformedError as error:
        raise CorruptError(f"latents of tile {index}") from error
    return np.array(levels, np.uint8).reshape(*shape, channels)


def shapes_of(header, stride=8):
    """Return (h, w) of every tile."""
    rows, columns = (
        [-(-min(header.side, length - at) // stride) for at in range(0, length, header.side)]
        for length in (header.height, header.width)
    )
    return list(product(rows, columns))


def split(data):
    """Return the header of a whole file and the coded latents of every tile."""
    source = Source(data)
    header = reference_reader.read_header(source, PALETTE)
    return header, reference_reader.read_sections(source, header)[1]


def read(data, channels=4, stride=8):
    """Return the levels of every tile of a whole file; CorruptError or UnsupportedError if it breaks the format."""
    header, tiles = split(data)
    jobs = zip(tiles, shapes_of(header, stride), strict=True)
    return [read_tile(coded, index, shape, channels) for index, (coded, shape) in enumerate(jobs)]
