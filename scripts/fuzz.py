"""Decode any number of hostile files: each must give the picture that its header says, or one line of error of ours.

    python scripts/fuzz.py FILES [--jobs N] [--state FILE] [--seconds S]

File n is a golden file that the numbers n draws have damaged, and most have their checksums put right afterwards, so
that the damage gets past them: the same n is the same file everywhere. The counts are written to the state file all the
time, and a later run goes on where they end. A file that breaks the promise (an exception that is not of the tree, a
message of several lines, more than 2 s of CPU time) is kept beside the state as fuzz-N.rgn, and the exit code is 1.
"""

import argparse
import dataclasses
import json
import logging
import multiprocessing
import os
import sys
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from regrain import bitstream, codec
from regrain.bitstream import Header, Method, Stream
from regrain.errors import BitstreamError, RegrainError
from regrain.framing import frame_section
from regrain.varint import get_varint

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
GOLDEN = [(FOLDER / f"{name}.rgn").read_bytes() for name in json.loads((FOLDER / "golden.json").read_text())]
VERSION, MOST, SECONDS, CHUNK = 7, 200 * 200, 2, 50
ODD = [b"\x80\0", b"\xff\xff\xff\xff\x7f", b"\x80" * 6, b"\xff" * 4, b"\0"]
KINDS = [0, 1, 2, 3, 4, 15, 16, 17, 127, 128, 255]


def mutated(random: np.random.Generator, base: bytes) -> bytes:
    """One to four flips, odd numbers, insertions, deletions, copies and cuts."""
    data = bytearray(base)
    for _ in range(random.integers(1, 5)):
        at, end = sorted(int(x) for x in random.integers(0, len(data) + 1, 2))
        match random.integers(7):
            case 0 if at < len(data):
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                data[at : at + 1] = random.bytes(1)
            case 2:
                data[at:at] = random.bytes(int(random.integers(1, 10)))
            case 3:
                del data[at : min(end, at + 40)]
            case 4 if random.random() < 0.3:
                del data[end:]
            case 5:
                data[at:at] = data[at : min(end, at + 300)]
            case 6:
                data[at : at + 1] = ODD[random.integers(len(ODD))]
    return bytes(data)


def split(data: bytes) -> tuple[Header, list[tuple[int, bytes]]]:
    """The header and the sections of a whole file."""
    sections = []
    for part in bitstream.layout(data)[1:]:
        body = data[part.offset : part.offset + part.length]
        sections.append((body[0], body[get_varint(body, 1)[1] + 4 :]))
    return bitstream.read_header(data), sections


def joined(header: Header, sections: list[tuple[int, bytes]]) -> bytes:
    """A file of a header and sections, with their lengths and checksums right."""
    return bitstream._pack_header(header) + b"".join(frame_section(*section) for section in sections)


def mended(data: bytes) -> bytes:
    """The same bytes with the checksum of the header, and of every section that can be followed, put right."""
    out = bytearray(data)
    try:
        at = get_varint(data, get_varint(data, 9)[1])[1] + 6
        out[at : at + 4] = zlib.crc32(bytes(out[:at])).to_bytes(4, "little")
        at += 4
        while at < len(data):
            length, stored = get_varint(data, at + 1)
            end = stored + 4 + length
            crc = zlib.crc32(bytes(out[stored + 4 : end]), zlib.crc32(bytes(out[at:stored])))
            out[stored : stored + 4] = crc.to_bytes(4, "little")
            at = end
    except BitstreamError:
        pass
    return bytes(out[: len(data)])


def reordered(random: np.random.Generator, base: bytes) -> bytes:
    """Sections doubled, lost, swapped, of another type, filled with other bytes, damaged, among unknown ones."""
    header, sections = split(base)
    for _ in range(random.integers(1, 4)):
        at, other = (int(x) for x in random.integers(0, len(sections), 2))
        kind, payload = sections[at]
        match random.integers(7):
            case 0:
                sections.insert(other, sections[at])
            case 1 if len(sections) > 1:
                del sections[at]
            case 2:
                sections[at], sections[other] = sections[other], sections[at]
            case 3:
                sections[at] = KINDS[random.integers(len(KINDS))], payload
            case 4:
                sections[at] = kind, random.bytes(int(random.integers(60)))
            case 5:
                sections[at] = kind, mutated(random, payload)
            case 6:
                sections.insert(at, (int(random.integers(128, 256)), random.bytes(int(random.integers(9)))))
    return joined(header, sections)


def reheaded(random: np.random.Generator, base: bytes) -> bytes:
    """Another header before the same sections."""
    header, sections = split(base)
    changes = {
        "width": int(random.integers(1, 200)),
        "height": int(random.choice([int(random.integers(1, 200)), 2**31 - 1, 10**9], p=[0.9, 0.05, 0.05])),
        "quality": int(random.integers(0, 25601)),
        "tile": int(random.choice([64, 128, 1024, 32768])),
        "grey": bool(random.integers(2)),
        "alpha": bool(random.integers(2)),
        "method": Method(int(random.integers(3))),
        "fingerprint": random.bytes(4),
    }
    names = random.choice(sorted(changes), random.integers(1, 3), replace=False)
    return joined(dataclasses.replace(header, **{name: changes[name] for name in names}), sections)


def forged(random: np.random.Generator, base: bytes) -> bytes:
    """Whole sections, with the right indices, whose latents are damaged or garbage."""
    stream = bitstream.read(base)
    tiles = list(stream.tiles)
    for at in random.choice(len(tiles), random.integers(1, 3)):
        tiles[at] = random.bytes(int(random.integers(120))) if random.random() < 0.3 else mutated(random, tiles[at])
    return bitstream.write(Stream(**{**vars(stream), "tiles": tuple(tiles)}))


def hostile(number: int) -> tuple[bytes, bool]:
    """File `number`, and whether it is to be decoded in part."""
    random = np.random.default_rng(number)
    base = GOLDEN[random.integers(len(GOLDEN))]
    match random.integers(8):
        case 0:
            data = mutated(random, base)
        case 1 | 2:
            data = mended(base[:VERSION] + mutated(random, base[VERSION:]))
        case 3 | 4:
            data = reordered(random, base)
        case 5:
            data = reheaded(random, base)
        case _:
            data = forged(random, base)
    return data, bool(random.integers(2))


def outcome(data: bytes, partial: bool) -> str:
    """What came of it: "decoded", or the name of the error. Raises AssertionError, or whatever escapes."""
    start = time.thread_time()
    try:
        picture = codec.decode(data, steps=1, realism=0, partial=partial, max_pixels=MOST)
    except RegrainError as error:
        result, said = type(error).__name__, str(error)
    else:
        said = "a picture"
        header = bitstream.read_header(data)
        assert picture.pixels.shape == (header.height, header.width, 1 if header.grey else 3), "another size"
        assert picture.pixels.dtype == np.uint8, "other than bytes"
        result = "decoded"
    assert 0 < len(said) < 400, "a message that is empty or long"
    assert said.isprintable(), "a message with what does not print"
    assert time.thread_time() - start < SECONDS, "too slow"
    return result


def warm() -> None:
    """Load every method's weights, so that no file is charged for them; warnings are failures."""
    warnings.simplefilter("error")
    logging.disable(logging.WARNING)
    for data in GOLDEN:
        codec.decode(data, steps=1, realism=0)


def chunk(numbers: tuple[int, int, str]) -> Counter[str]:
    """Counts of what came of the files from one number to another; failures are kept in a folder."""
    first, last, folder = numbers
    counts: Counter[str] = Counter()
    for number in range(first, last):
        data, partial = hostile(number)
        try:
            counts[outcome(data, partial)] += 1
        except Exception as error:
            counts["FAILED"] += 1
            Path(folder, f"fuzz-{number}.rgn").write_bytes(data)
            print(f"file {number}, partial {partial}: {type(error).__name__}: {error}", file=sys.stderr)
    return counts


def written(state: Path, done: int, counts: Counter[str]) -> None:
    """Write the state so that it is whole at every moment."""
    temporary = state.with_suffix(".tmp")
    temporary.write_text(json.dumps({"done": done, **dict(sorted(counts.items()))}, indent=1) + "\n")
    os.replace(temporary, state)


def main() -> int:
    """Run until so many files, or so much time, are through."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=int, help="how many files there shall be in all")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("runs/fuzz.json"))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    given.state.parent.mkdir(parents=True, exist_ok=True)
    counts = Counter(json.loads(given.state.read_text())) if given.state.exists() else Counter()
    done, start = counts.pop("done", 0), time.monotonic()
    todo = [
        (first, min(first + CHUNK, given.files), str(given.state.parent)) for first in range(done, given.files, CHUNK)
    ]
    with multiprocessing.get_context("spawn").Pool(given.jobs, warm) as pool:
        for (_, end, _), found in zip(todo, pool.imap(chunk, todo), strict=True):
            counts, done = counts + found, end
            written(given.state, done, counts)
            if time.monotonic() - start > given.seconds:
                break
    print(f"{done} files:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
