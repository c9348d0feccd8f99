"""A picture on its way into a file: all that does not depend on the quality is done.

file = header, alpha, metadata, foreground, and for each tile latents, or nothing where the foreground covers it
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from regrain import bitstream, registry
from regrain.search import QUALITY_UNIT

if TYPE_CHECKING:
    from regrain.image import Foreground, Picture
    from regrain.registry import Codec, Prepared

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """A picture whose heavy part is done.

    `base` is its file without latents and foreground, at quality 0. `covered_tiles` have no latents.
    """

    base: bitstream.Stream
    prepared: "Prepared"
    foreground: "Foreground | None" = None
    covered_tiles: frozenset[int] = frozenset()

    @classmethod
    def of(cls, codec: "Codec", picture: "Picture", header: bitstream.Header, *, with_foreground: bool) -> Self:
        """The draft of a picture, `with_foreground` where something of it is drawn."""
        from regrain.image import Foreground, encode_alpha, fill_hidden

        pixels = picture.pixels if picture.alpha is None else fill_hidden(picture.pixels, picture.alpha)
        alpha, meta = None if picture.alpha is None else encode_alpha(picture.alpha), picture.metadata
        base = bitstream.Stream(header, (), alpha, meta.icc, meta.exif, meta.xmp)
        foreground, covered = Foreground.of(pixels) if with_foreground else None, frozenset[int]()
        if foreground is not None:
            pixels, covered = foreground.background(), foreground.covered_tiles(header.tile)
            if len(covered) == bitstream.tile_count(header):
                return cls(base, _NoLatents(len(covered)), foreground, covered)
        with registry.torch_defaults():
            return cls(base, codec.prepare(pixels, header.tile), foreground, covered)

    def file(self, step: int, prepared: "Prepared | None" = None) -> bytes:
        """The file at quality step / 256, of other latents if they are given."""
        with registry.torch_defaults():
            payloads = (prepared or self.prepared).payloads(step)
        tiles = tuple(b"" if number in self.covered_tiles else payload for number, payload in enumerate(payloads))
        layer = None if self.foreground is None else self.foreground.payload(step / QUALITY_UNIT)
        header = replace(self.base.header, quality=step)
        return bitstream.write(replace(self.base, header=header, tiles=tiles, foreground=layer))


@dataclass(frozen=True)
class _NoLatents:
    """A picture that its foreground covers: so many tiles of no bytes, of which no effort makes fewer."""

    tiles: int

    def payloads(self, _quality: int) -> list[bytes]:
        """No bytes for each tile."""
        return [b""] * self.tiles

    def refined(self, _quality: int, _iterations: int) -> "Iterator[tuple[float, Prepared]]":
        """Nothing."""
        return iter(())
