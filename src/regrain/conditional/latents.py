"""What stands between the two halves of the codec: a picture's latents as arrays, with the bits of each place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Header
from regrain.conditional import grid
from regrain.conditional.config import HYPER_FACTOR
from regrain.conditional.context_model import ContextModel, Symbols
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.encode import tile_parts
from regrain.conditional.networks import Image
from regrain.entropy.coder import Part, ideal_bits
from regrain.errors import UsageError

__all__ = ["Latents", "coded_latents"]


@dataclass(frozen=True, eq=False)
class Latents:
    """A picture's latents, one place for 16 x 16 pixels; `from_latents` reads all of it but `symbols` and `bits`.

    `y_hat`, float32 (C, H, W), is what the decoder has, `symbols`, int32 (C, H, W), the integers that a file codes, and
    `bits`, float32 (H, W), what a place takes of an ideal coder, its share of the hyper-latents included. Of the
    picture: `width` and `height` in pixels, `quality` 0 to 100, whether it is `grey`, the `fingerprint` of the weights.
    """

    y_hat: Image
    symbols: Symbols
    bits: Image
    width: int
    height: int
    quality: float
    grey: bool
    fingerprint: bytes

    @property
    def header(self) -> Header:
        """What a file would say of it. Raises UsageError for a size or a quality out of range."""
        return Header(self.width, self.height, round(256 * self.quality), self.fingerprint, grey=self.grey)

    def checked(self, channels: int) -> Image:
        """`y_hat` as networks may see it, within +-LATENT_MAX.

        Raises UsageError unless it has so many channels, covers the picture, and is finite.
        """
        y_hat, wanted = np.asarray(self.y_hat), (channels, *grid.latent_size(self.height, self.width))
        if y_hat.shape != wanted or y_hat.dtype.kind not in "fiu":
            raise UsageError(
                f"y_hat is {y_hat.dtype} {y_hat.shape}; allowed are numbers {wanted} "
                f"for {self.width} x {self.height} pixels"
            )
        if not np.isfinite(y_hat).all():
            raise UsageError("y_hat holds NaN or infinity; finite numbers are allowed")
        return y_hat.clip(-LATENT_MAX, LATENT_MAX).astype(np.float32)


def coded_latents(model: ContextModel, y: Image, quality: int, tile: int) -> tuple[Image, Symbols, Image]:
    """y_hat, symbols and bits of latents y (C, H, W) as a file has them; quality is q times 256, tile in pixels."""
    y_hat, symbols = np.empty_like(y), np.empty(y.shape, np.int32)
    bits = np.empty(y.shape[1:], np.float32)
    for region in grid.tiles(y.shape[1], y.shape[2], tile // grid.STRIDE):
        parts, z_hat, state = tile_parts(model, region, y[:, *region.latents], quality)
        y_hat[:, *region.latents], symbols[:, *region.latents] = state.y_hat, state.symbols
        bits[region.latents] = _bits(model, parts, z_hat.shape[1:], state.y_hat.shape[1:])
    return y_hat, symbols, bits


def _bits(model: ContextModel, parts: list[Part], hyper: tuple[int, ...], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Bits of the places of a tile, (*size); those of a hyper-latent are shared by the places that it covers."""
    rows, columns = (np.arange(side) // HYPER_FACTOR for side in size)
    of_z = ideal_bits(parts[0]).reshape(-1, *hyper).sum(0) / np.outer(np.bincount(rows), np.bincount(columns))
    bits: NDArray[np.float64] = of_z[np.ix_(rows, columns)]
    for step, part in zip(model.order, parts[1:], strict=True):
        bits[step.mask(*size)] += ideal_bits(part).reshape(step.last - step.first, -1).sum(0)
    return bits
