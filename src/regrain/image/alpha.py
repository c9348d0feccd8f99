"""Alpha <-> bytes, without loss.

    data = kind[1] body      kind 0: the value everywhere, one byte      kind 1: alpha is 0 or 255, a bit a pixel, first
    pixel in the high bit, zeros after the last      kinds 2 to 5: bytes in raster order: alpha, its difference down,
    across, across and down, modulo 256      bodies of kinds 1 to 5 are one raw deflate stream (RFC 1951)

Invariant: `decode_alpha(encode_alpha(a), *a.shape)` equals a; other bytes end in `Corrupt`, in memory bounded by the
size asked for. A cumulative sum undoes a difference, whatever its direction, so decoding has no loop over pixels.

Colours under alpha 0, which nobody sees, are filled from those around them, or they would cost bytes and bleed into
what is seen.
"""

import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from regrain.errors import Corrupt

U8 = npt.NDArray[np.uint8]
_CONSTANT, _BITS = 0, 1
_SAMPLE = 2**20
_RAW = -15
"""What zlib calls a deflate stream without its own header."""
_AXES: dict[int, tuple[int, ...]] = {2: (), 3: (0,), 4: (1,), 5: (0, 1)}


def encode_alpha(alpha: U8) -> bytes:
    """Alpha, uint8 (height, width), to bytes; the kind is taken that a quick deflate of some rows makes smallest.

    >>> alpha = np.array([[0, 255, 255], [0, 255, 0]], np.uint8)
    >>> bool((decode_alpha(encode_alpha(alpha), 2, 3) == alpha).all())
    True
    """
    first = int(alpha.flat[0])
    if (alpha == first).all():
        return bytes([_CONSTANT, first])
    if ((alpha == 0) | (alpha == 255)).all():
        kind = _BITS
    else:
        stride = -(-alpha.size // _SAMPLE)
        kind = min(_AXES, key=lambda kind: len(zlib.compress(_differences(alpha, kind)[::stride].tobytes(), 1, _RAW)))
    plane = np.packbits(alpha == 255) if kind == _BITS else _differences(alpha, kind)
    return bytes([kind]) + zlib.compress(plane.tobytes(), 6 if plane.size > _SAMPLE else 9, _RAW)


def decode_alpha(data: bytes, height: int, width: int) -> U8:
    """The alpha of `encode_alpha`, uint8 (height, width). Raises `Corrupt` on bytes of another size or form."""
    kind, body = (data[0], data[1:]) if data else (-1, b"")
    if kind == _CONSTANT and len(body) == 1:
        return np.full((height, width), body[0], np.uint8)
    if kind == _BITS:
        return _unpack_bits(body, height, width)
    if kind not in _AXES:
        raise Corrupt(f"alpha: kind {kind} with {len(body)} bytes; allowed is 0 with 1 byte, or 1 to 5")
    plane = _inflate(body, height * width).reshape(height, width)
    for axis in _AXES[kind]:
        plane = np.add.accumulate(plane, axis=axis, dtype=np.uint8)
    return plane


def fill_hidden(pixels: U8, alpha: U8) -> U8:
    """Pixels (height, width, 1 or 3) where those under alpha 0 are a smooth continuation of the others, which stay.

    Averages of what is seen, over squares of 2, 4, 8, ... pixels, fill what the finer squares leave open (the pyramid
    of Gortler et al., "The Lumigraph", 1996). All are 0 where nothing is seen.

    >>> fill_hidden(np.array([[[0], [7]]], np.uint8), np.array([[255, 0]], np.uint8)).tolist()
    [[[0], [0]]]
    """
    visible = alpha > 0
    if visible.all():
        return pixels
    if not visible.any():
        return np.zeros_like(pixels)
    planes = np.concatenate([pixels, np.where(visible, np.uint8(255), np.uint8(0))[..., None]], axis=2)
    return np.ascontiguousarray(np.asarray(_fill(Image.fromarray(planes)))[..., :-1])


def _fill(image: Image.Image) -> Image.Image:
    """An image in mode LA or RGBA with the pixels of alpha 0 filled and alpha 255. Pillow weights by alpha."""
    mask = image.getchannel("A").point([0] + [255] * 255)
    image.putalpha(mask)
    if mask.getextrema() == (255, 255):
        return image
    width, height = image.size
    coarse = _fill(image.reduce(2))
    fine = coarse.resize(image.size, Image.Resampling.BILINEAR, box=(0, 0, width / 2, height / 2))
    return Image.composite(image, fine, mask)


def _differences(alpha: U8, kind: int) -> U8:
    """Alpha less its neighbour above (axis 0), to the left (axis 1), or both in turn, modulo 256."""
    for axis in _AXES[kind]:
        alpha = np.diff(alpha, axis=axis, prepend=np.uint8(0))
    return alpha


def _unpack_bits(body: bytes, height: int, width: int) -> U8:
    """Bits to 0 and 255; bits left over must be 0."""
    bits = np.unpackbits(_inflate(body, -(-height * width // 8)))
    if bits[height * width :].any():
        raise Corrupt("alpha: the bits after the last pixel are not 0")
    alpha = bits[: height * width].reshape(height, width)
    alpha *= np.uint8(255)
    return alpha


def _inflate(body: bytes, size: int) -> U8:
    """Exactly `size` bytes out of exactly one raw deflate stream, else `Corrupt`; never more than size + 1 are made."""
    unpacker = zlib.decompressobj(_RAW)
    try:
        plane = unpacker.decompress(body, size + 1)
    except zlib.error as error:
        raise Corrupt(f"alpha: {error}") from None
    if len(plane) != size or not unpacker.eof or unpacker.unused_data:
        raise Corrupt(f"alpha: its bytes do not unpack to exactly {size}")
    return np.frombuffer(bytearray(plane), np.uint8)
