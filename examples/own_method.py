"""A codec of one's own in one file: an 8 x 8 DCT in the codec's files, with its entropy coder and its frozen tables.

`DctCodec` keeps to the protocol `regrain.registry.Codec`, which is all that a method is. `regrain.encode` and `decode`
take it as `model`, and do the rest: pictures in, targets of a rate, tiles, alpha, metadata, checksums, limits. Its
files are of the method "private", which programs without it refuse, and its fingerprint keeps other codecs off. It
is there to be read: JPEG, whose Huffman codes know runs of zeros, makes smaller files.

    python examples/own_method.py OUT      writes OUT/own_method.rgn and OUT/own_method.png
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import regrain
from regrain.bitstream import Method, Stream
from regrain.entropy import coder, tables
from regrain.image import pad_edge, to_bytes, to_signed
from regrain.options import DecodeOptions
from regrain.tiles import decode_each, places

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
BLOCK = 8
Pixels = NDArray[np.uint8]
Planes = NDArray[np.float32]

_PLACE = np.arange(BLOCK)
COSINES = np.cos(np.pi * (_PLACE + 0.5) * _PLACE[:, None] / BLOCK) * np.where(_PLACE, 0.5, 0.125**0.5)[:, None]
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
EXPECTED = np.array([2.5, 0.6, 0.3])[:, None, None] / (1 + _PLACE[:, None] ** 2 + _PLACE**2)
"""The deviations of the coefficients that photos have about, (3, 8, 8)."""


def step_of(quality: int) -> float:
    """The quantiser's step at quality q times 256: from 1 down to 1/64."""
    return float(2 ** (-6 * quality / 25600))


def table_ids(quality: int, blocks: int) -> NDArray[np.int64]:
    """The frozen Gaussian table of each coefficient of so many blocks."""
    distance = np.abs(np.log(tables.scales()) - np.log(EXPECTED / step_of(quality))[..., None])
    return np.repeat(distance.argmin(-1).ravel(), blocks)


def transform(x: Planes) -> Planes:
    """x (3, 8 h, 8 w) -> coefficients (3, 8, 8, h, w)."""
    blocks = x.reshape(3, x.shape[1] // BLOCK, BLOCK, -1, BLOCK)
    return np.einsum("kc,ui,vj,chiwj->kuvhw", COLOURS, COSINES, COSINES, blocks, optimize=True)


def inverse(y: Planes) -> Planes:
    """The way back: all three matrices are orthonormal."""
    blocks = np.einsum("kc,ui,vj,kuvhw->chiwj", COLOURS, COSINES, COSINES, y, optimize=True)
    return blocks.reshape(3, BLOCK * y.shape[3], BLOCK * y.shape[4])


@dataclass(frozen=True)
class Prepared:
    """The coefficients of each tile."""

    tiles: list[Planes]

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each tile, at quality q times 256."""
        return [self.payload(y, quality) for y in self.tiles]

    def payload(self, y: Planes, quality: int) -> bytes:
        """The symbols of a tile, each with its table."""
        symbols = np.rint(y / step_of(quality)).astype(np.int32).ravel()
        return coder.encode([(symbols, table_ids(quality, y[0, 0, 0].size), tables.gaussian_tables())])


class DctCodec:
    """The protocol `regrain.registry.Codec`."""

    method, fingerprint, recipe, device = Method.PRIVATE, b"DCT8", "", "onnx"

    def prepare(self, pixels: Pixels, tile: int) -> Prepared:
        """Do what is heavy once for all qualities. pixels (H, W, 1 or 3); tile in pixels."""
        parts = [pixels[place] for place in places(*pixels.shape[:2], tile)]
        return Prepared([transform(pad_edge(to_signed(part), BLOCK)) for part in parts])

    def decode(self, stream: Stream, options: DecodeOptions) -> Pixels:
        """The pixels (H, W, 1 or 3) of a file. Raises Corrupt naming the tile that does not decode."""
        header = stream.header
        pixels = np.full((header.height, header.width, 1 if header.grey else 3), 128, np.uint8)
        tiles = places(header.height, header.width, header.tile)

        def decode(index: int, payload: bytes) -> None:
            target = pixels[tiles[index]]
            rows, columns = (-(-side // BLOCK) for side in target.shape[:2])
            decoder = coder.Decoder(payload)
            symbols = decoder.take(table_ids(header.quality, rows * columns), tables.gaussian_tables())
            decoder.finish()
            x = inverse(symbols.reshape(3, BLOCK, BLOCK, rows, columns) * np.float32(step_of(header.quality)))
            target[:] = to_bytes(x[:, : target.shape[0], : target.shape[1]], header.grey)

        decode_each(dict(enumerate(stream.tiles)), decode, partial=options.partial, missing=options.missing)
        return options.cut(pixels)


def main(out: Path) -> Path:
    """Write the photo by this codec at one bit a pixel, and what comes back; returns the picture."""
    out.mkdir(parents=True, exist_ok=True)
    codec = DctCodec()
    data = regrain.encode(PHOTO, model=codec, target_bpp=1.0)
    (out / "own_method.rgn").write_bytes(data)
    picture = regrain.decode(data, model=codec)
    print(f"{len(data)} bytes, {regrain.inspect(data).bpp:.3f} bpp, method {regrain.inspect(data).method}")
    picture.save(path := out / "own_method.png")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
