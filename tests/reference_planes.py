"""What a file holds beside latents, made from docs/FORMAT.md alone: alpha and the foreground; and bytes to read."""

import io
import zlib

import numpy as np
from PIL import Image

CELL = 512


class CorruptError(Exception):
    """The file breaks a rule of the format."""


class UnsupportedError(Exception):
    """The file uses what this version of the format, or these weights, do not have."""


def require(holds, rule):
    """Refuse the file unless the rule holds."""
    if not holds:
        raise CorruptError(rule)


class Source:
    """Bytes that are read once, from the first to the last."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        require(self.at + size <= len(self.data), "the file ends too soon")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self):
        value = 0
        for place in range(5):
            byte = self.number(1)
            value += byte % 128 << 7 * place
            if byte < 128:
                require(byte or place == 0, "a varint is not its shortest spelling")
                return value
        raise CorruptError("a varint has more than 5 bytes")


def inflate(body, size):
    """Return the bytes of one raw deflate stream, which must be `size`."""
    stream = zlib.decompressobj(-15)
    try:
        data = stream.decompress(body, size + 1)
    except zlib.error as error:
        raise CorruptError("deflate stream of ALPHA") from error
    require(len(data) == size and stream.eof and not stream.unused_data, "length of ALPHA")
    return np.frombuffer(data, np.uint8)


def read_alpha(payload, height, width):
    """Return the alpha plane, (height, width) bytes."""
    source = Source(payload)
    kind, body = source.number(1), payload[1:]
    require(kind <= 5, "kind of ALPHA")
    if kind == 0:
        require(len(body) == 1, "length of ALPHA")
        return np.broadcast_to(np.uint8(body[0]), (height, width))
    if kind == 1:
        bits = np.unpackbits(inflate(body, -(-height * width // 8)))
        require(not bits[height * width :].any(), "bits after the last pixel of ALPHA")
        return bits[: height * width].reshape(height, width) * np.uint8(255)
    plane = inflate(body, height * width).reshape(height, width)
    plane = plane.cumsum(axis=0, dtype=np.uint8) if kind in (3, 5) else plane
    return plane.cumsum(axis=1, dtype=np.uint8) if kind in (4, 5) else plane


def read_foreground(payload, height, width):
    """Return the foreground, (height, width, 4) bytes whose alpha is 0 where there is none."""
    source, plane = Source(payload), np.zeros((height, width, 4), np.uint8)
    for top in range(0, height, CELL):
        for left in range(0, width, CELL):
            body = source.take(source.varint())
            if body:
                cell = plane[top : top + CELL, left : left + CELL]
                cell[...] = read_cell(body, *cell.shape[:2])
    require(source.at == len(payload), "bytes after the last cell of FOREGROUND")
    require(set(np.unique(plane[..., 3])) <= {0, 255}, "alpha of FOREGROUND")
    return plane


def read_cell(body, height, width):
    """Return the pixels, (height, width, 4) bytes, of a bitstream of WebP's lossless format."""
    require(body[0] == 0x2F, "signature of a cell")
    bits = int.from_bytes(body[1:5], "little")
    require((bits % 2**14 + 1, (bits >> 14) % 2**14 + 1) == (width, height), "size of a cell")
    body = body[:4] + bytes([body[4] | 0x10]) + body[5:]  # whether there is alpha: a hint, and some readers take it
    riff = b"WEBPVP8L" + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    try:
        image = Image.open(io.BytesIO(b"RIFF" + len(riff).to_bytes(4, "little") + riff), formats=["WEBP"])
        return np.asarray(image.convert("RGBA"))
    except (OSError, ValueError) as error:
        raise CorruptError("bitstream of a cell") from error
