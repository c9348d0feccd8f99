"""What is drawn on a screen (letters, lines, flat areas) <-> bytes: a layer in front of the picture of the latents.

    pixels -> squares of 16 x 16 of which much is one colour -> few colours -> lossless WebP      the foreground
           -> all other squares, and a smooth continuation of them          -> latents            the background

That is the model of mixed raster content (ITU-T T.44). A letter of ten pixels costs a transform all its coefficients,
and a list of colours next to nothing.

    payload = cell*      cell = length (varint) body      cells of CELL x CELL pixels, in raster order
    body = a bitstream of WebP's lossless format (RFC 9649, section 3): alpha 255 is foreground, 0 is background
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from regrain.content import SIDE, are_plain, colour_codes
from regrain.errors import Corrupt, LimitError, Truncated
from regrain.image.alpha import fill_hidden
from regrain.image.pixels import dilate, pad_edge
from regrain.image.quantisation import Quantisation
from regrain.tiles import Place, places
from regrain.varint import get_varint, put_varint

__all__ = ["Foreground", "foreground_cells", "paste_foreground"]

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
CELL: Final = 512
"""Side of a cell in pixels, a multiple of every side by which a picture is reduced. A hostile bitstream of a cell takes
100 million bytes at most."""
PRICE, HALVING = 10_000.0, 16
"""Squared levels a bit at quality 0, and by how much the quality rises while that falls to half."""
SOFT, SOFT_MOST = 3, 36
"""Levels of a step as photos and gradients have it, and how many of them, of 480, a drawn square has at most."""
SQUARE_COLOURS: Final = 64
"""Colours of a drawn square at most: more of them are those of a photo that begins in it."""
KNOWN_LEAST: Final = 16
"""Pixels of a colour in the drawn squares of a cell by which it counts beside them, too."""
MARGIN: Final = 2
"""Squares around what is left to latents that have latents, too: others change no pixel by more than 3 levels."""
RUN: Final = 3
"""Soft squares in a row that go to latents; fewer between drawn ones, as an icon has, count as drawn."""
_RIFF: Final = 12
_VP8L_SIGNATURE: Final = 0x2F
_HAS_ALPHA: Final = 0x10
"""In the fifth byte."""
_HEAD: Final = 5
"""Bytes of the signature and the size."""


@dataclass(frozen=True)
class _Cell:
    """The foreground of a place: which of its pixels it has, their colours, and its bodies by the number of merges."""

    mask: Mask
    colours: Quantisation
    bodies: dict[int, bytes] = field(default_factory=dict)

    def body(self, price: float) -> bytes:
        """A lossless WebP bitstream in as many colours as are worth the price; what was made before is kept."""
        merges = self.colours.merge_count(price)
        if merges not in self.bodies:
            self.bodies[merges] = self._encode(price)
        return self.bodies[merges]

    def _encode(self, price: float) -> bytes:
        layer = np.zeros((*self.mask.shape, 4), np.uint8)
        layer[self.mask, :3] = self.colours.pixels(price)
        layer[self.mask, 3] = 255
        file = io.BytesIO()
        Image.fromarray(layer).save(file, "WEBP", lossless=True, quality=100, method=4)
        data = file.getvalue()
        length = int.from_bytes(data[_RIFF + 4 : _RIFF + 8], "little")
        return data[_RIFF + 8 : _RIFF + 8 + length]


@dataclass(frozen=True)
class Foreground:
    """What of a picture's `pixels` (H, W, 1 or 3) is drawn: whole `squares` of 16 x 16 pixels, bool (rows, columns).

    `mask` (H, W) are the pixels of the layer: those of the squares, and in the squares next to these all that have one
    of the colours that KNOWN_LEAST of their cell's pixels have.
    """

    pixels: U8
    squares: Mask
    mask: Mask

    @classmethod
    def of(cls, pixels: U8) -> Self | None:
        """The foreground of pixels (H, W, 1 or 3), or None where nothing of them is drawn.

        >>> page = np.full((48, 48, 3), 255, np.uint8)
        >>> Foreground.of(page).mask.all(), Foreground.of(np.random.default_rng(0).integers(0, 256, page.shape))
        (np.True_, None)
        """
        squares = _drawing(pixels)
        if not squares.any():
            return None
        mask = _of_pixels(squares, pixels)
        around = _of_pixels(dilate(squares, 1) & ~squares, pixels)
        for place in _cell_places(pixels):
            codes, near = colour_codes(pixels[place]), around[place]
            colours, counts = np.unique(codes[mask[place]], return_counts=True)
            mask[place][near] = np.isin(codes[near], colours[counts >= KNOWN_LEAST])
        return cls(pixels, squares, mask)

    def background(self) -> U8:
        """The pixels that latents stand for: those of no foreground, and a smooth continuation of them."""
        return fill_hidden(self.pixels, np.where(self.mask, np.uint8(0), np.uint8(255)))

    def covered_tiles(self, tile: int) -> frozenset[int]:
        """The tiles, of so many pixels a side, whose latents hardly matter to any pixel of the background."""
        needed = dilate(~self.squares, MARGIN)
        rows, columns = needed.shape
        tiles = enumerate(places(rows, columns, tile // SIDE))
        return frozenset(number for number, place in tiles if not needed[place].any())

    def payload(self, quality: float) -> bytes:
        """The bytes of the layer at a quality, 0 to 100."""
        price = PRICE * 2 ** (-quality / HALVING)
        bodies = [b"" if cell is None else cell.body(price) for cell in self._cells]
        return b"".join(put_varint(len(body)) + body for body in bodies)

    @cached_property
    def _cells(self) -> list[_Cell | None]:
        return [self._cell(place) for place in _cell_places(self.pixels)]

    def _cell(self, place: Place) -> _Cell | None:
        mask = self.mask[place]
        if not mask.any():
            return None
        codes = colour_codes(self.pixels[place])
        starts = np.zeros(mask.shape, bool)
        starts[:, 1:] |= codes[:, 1:] != codes[:, :-1]
        starts[1:] |= codes[1:] != codes[:-1]
        return _Cell(mask, Quantisation.of(codes[mask], starts[mask]))


def foreground_cells(payload: bytes, size: tuple[int, int]) -> list[tuple[Place, bytes]]:
    """The cells of a picture of `size` (height, width) that have a body, and their bodies, none of them decoded yet.

    Raises Corrupt where the payload is of another length than its cells, or a body is not of its cell's size.
    """
    at, cells = 0, []
    for place in places(*size, CELL):
        try:
            length, start = get_varint(payload, at)
        except (Truncated, Corrupt) as error:
            raise Corrupt(f"foreground: {error}") from None
        at = start + length
        if at > len(payload):
            raise Corrupt("foreground: its bytes end too soon")
        if length:
            _check_head(payload[start:at][:_HEAD], place)
            cells.append((place, payload[start:at]))
    if at != len(payload):
        raise Corrupt("foreground: its bytes go on after the last cell")
    return cells


def paste_foreground(
    pixels: U8, cells: Iterable[tuple[Place, bytes]], origin: tuple[int, int] = (0, 0), reduction: int = 1
) -> None:
    """Put the cells of a foreground onto a part of their picture, pixels (h, w, 1 or 3).

    The part begins at `origin` (top, left), or is the whole picture reduced by so much. Only the cells that the part
    touches are decoded. Raises Corrupt for bodies that are not what `Foreground.payload` writes.
    """
    (top, left), (height, width) = origin, pixels.shape[:2]
    for place, body in cells:
        down, across = (slice(part.start // reduction, -(-part.stop // reduction)) for part in place)
        rows = slice(max(down.start, top), min(down.stop, top + height))
        columns = slice(max(across.start, left), min(across.stop, left + width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        layer = _layer(body) if reduction == 1 else _layer(body).reduce(reduction)
        part = np.asarray(layer)[
            rows.start - down.start : rows.stop - down.start, columns.start - across.start : columns.stop - across.start
        ]
        target = pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        weight = part[..., 3:].astype(np.uint16)
        mixed = (part[..., : target.shape[2]] * weight + target * (255 - weight) + 127) // 255
        target[...] = mixed.astype(np.uint8)


def _check_head(head: bytes, place: Place) -> None:
    """Raise Corrupt unless a bitstream begins with its signature and the size of its place."""
    height, width = (part.stop - part.start for part in place)
    sides = int.from_bytes(head[1:], "little")
    claimed = (sides >> 14 & 0x3FFF) + 1, (sides & 0x3FFF) + 1
    if len(head) < _HEAD or head[0] != _VP8L_SIGNATURE or claimed != (height, width):
        raise Corrupt(f"foreground: no lossless WebP bitstream of {width} x {height} pixels")


def _layer(body: bytes) -> Image.Image:
    """The picture, RGBA, of a WebP bitstream whose head was checked; what that says of alpha is but a hint."""
    with_alpha = body[:4] + bytes([body[4] | _HAS_ALPHA]) + body[_HEAD:]
    chunk = b"WEBPVP8L" + len(body).to_bytes(4, "little") + with_alpha + bytes(len(body) % 2)
    try:
        file = io.BytesIO(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk)
        layer = Image.open(file, formats=["WEBP"]).convert("RGBA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"foreground: Pillow's MAX_IMAGE_PIXELS is less than a cell has: {error}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise Corrupt(f"foreground: {error or 'its bitstream does not decode'}") from None
    if any(layer.getchannel("A").histogram()[1:255]):
        raise Corrupt("foreground: alpha is neither 0 nor 255")
    return layer


def _drawing(pixels: U8) -> Mask:
    """Squares that are plain, with few soft steps, and what they close in; bool (rows, columns).

    Of all others those stay that lie in a square of 3 x 3, beyond the picture's edges too, and soft ones in a RUN.
    """
    rows, columns = (-(-side // SIDE) for side in pixels.shape[:2])
    drawn, soft = (np.empty((rows, columns), bool) for _ in range(2))
    for row in range(rows):
        band = pad_edge(pixels[row * SIDE : (row + 1) * SIDE].transpose(2, 0, 1), SIDE)
        squares = band.reshape(-1, SIDE, columns, SIDE).transpose(2, 1, 3, 0)
        codes = np.sort(colour_codes(squares).reshape(columns, SIDE * SIDE))
        colours = 1 + (np.diff(codes) > 0).sum(1)
        soft[row] = _soft_steps(squares) > SOFT_MOST
        drawn[row] = are_plain(codes) & (colours <= SQUARE_COLOURS) & ~soft[row]
    if not drawn.any():
        return drawn
    return ~(dilate(~dilate(drawn, 1), 1) | _in_runs(soft) | _in_runs(soft.T).T)


def _cell_places(pixels: U8) -> list[Place]:
    """Where the cells of a picture lie."""
    height, width = pixels.shape[:2]
    return places(height, width, CELL)


def _in_runs(mask: Mask) -> Mask:
    """The places of the mask, bool (rows, columns), of which RUN or more lie side by side in a row."""
    starts = sliding_window_view(np.pad(mask, ((0, 0), (0, RUN - 1))), RUN, 1).all(-1)
    return np.asarray(sliding_window_view(np.pad(starts, ((0, 0), (RUN - 1, 0))), RUN, 1).any(-1))


def _of_pixels(squares: Mask, pixels: U8) -> Mask:
    """The mask (H, W) of the squares' pixels."""
    height, width = pixels.shape[:2]
    return squares.repeat(SIDE, 0).repeat(SIDE, 1)[:height, :width]


def _soft_steps(squares: U8) -> NDArray[np.int64]:
    """Of squares (N, SIDE, SIDE, C) how many neighbours differ, and by SOFT levels or less in every channel, (N,)."""
    steps = (np.abs(np.diff(squares.astype(np.int16), axis=axis)).max(-1) for axis in (1, 2))
    counts: NDArray[np.int64] = sum(((step > 0) & (step <= SOFT)).sum((1, 2)) for step in steps)
    return counts
