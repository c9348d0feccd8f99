"""What a file says about itself, without decoding it: header, sections, sizes."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from regrain import bitstream, registry
from regrain.errors import Truncated
from regrain.search import QUALITY_UNIT

__all__ = ["Info", "inspect"]


@dataclass(frozen=True)
class Info:
    """What a file says about itself. Sizes in pixels, `size` in bytes, `quality` 0 to 100, `fingerprint` in hex.

    `content` is what the package's weights of this fingerprint are for, "photo" or "screen"; None for all others.
    Each of `sections` has its name, tile (or step, None where it is of neither), offset and length in bytes, whether it
    is whole (in a progressive file that is cut short the last one may not be), and the PSNR in dB to expect of what is
    decoded up to there, None where nothing is known of it.
    """

    width: int
    height: int
    grey: bool
    alpha: bool
    quality: float
    method: str
    format_version: int
    tile: int
    fingerprint: str
    content: str | None
    tiles: int
    size: int
    bpp: float
    sections: tuple[dict[str, Any], ...]


def inspect(data: bytes) -> Info:
    """Header and sections of a file, without torch. Raises BitstreamError if the file is not whole.

    A progressive file may be cut short, since it decodes after any of its steps.
    """
    header = bitstream.read_header(data)
    with suppress(*(Truncated,) if header.method == bitstream.Method.PROGRESSIVE else ()):
        bitstream.read(data, max_pixels=2**62)
    expected: dict[int | None, float] = dict(enumerate(registry.expected_psnr(header.method, header.fingerprint)))
    sections = tuple({**asdict(section), "psnr": expected.get(section.tile)} for section in bitstream.layout(data))
    return Info(
        width=header.width,
        height=header.height,
        grey=header.grey,
        alpha=header.alpha,
        quality=header.quality / QUALITY_UNIT,
        method=header.method.name.lower(),
        format_version=bitstream.FORMAT_VERSION,
        tile=header.tile,
        fingerprint=header.fingerprint.hex(),
        content=registry.content_of(header.method, header.fingerprint),
        tiles=bitstream.tile_count(header),
        size=len(data),
        bpp=8 * len(data) / (header.width * header.height),
        sections=sections,
    )
