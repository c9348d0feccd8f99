"""Picture -> latents -> bytes, one line a station.

    y = g_a(x)    z = round(h_a(gain y))    symbols = round(gain y - mean)    bytes = code(z, symbols | index)

g_a is the only heavy part and does not depend on quality: rate control repeats only what follows it.
"""

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import dct, grid
from regrain.conditional.config import HYPER_FACTOR, HYPER_MAX, STRIDE
from regrain.conditional.context_model import ContextModel, State, Symbols, checksum, hyper_table_ids
from regrain.conditional.networks import Image, Networks
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.image import dilate, pad_edge, to_signed

__all__ = ["ADDED_MAX", "analysis_transform", "correct_latents", "encode_tiles", "latents_of", "tile_parts"]

log = logging.getLogger(__name__)

WINDOW, HALO = 64, 8
SYMBOL_MAX: Final = 2**24
ADDED_MAX: Final = 4.0
"""What the network of g_a adds to a latent at most: 3.57 in the 5263 crops it was trained on. Where lines a pixel wide
drive it out of that range it adds up to 17, which makes files larger than the raw picture, and darker pictures."""
FINE_SHARE: Final = 0.01
"""A picture is too fine for the latents where this share of its blocks are."""


def analysis_transform(networks: Networks, pixels: NDArray[np.uint8]) -> Image:
    """y of a whole picture, window by window. pixels (H, W, 1 or 3) -> float32 (latent, ceil(H/16), ceil(W/16)).

    Logs a warning where much of the picture is finer than latents can hold.
    """
    rows, columns = grid.latent_size(*pixels.shape[:2])
    y, fine_count = np.empty((0, rows, columns), np.float32), 0
    for window in grid.windows(rows, columns, WINDOW, HALO):
        x = pad_edge(to_signed(pixels[window.outer.pixels]), STRIDE)
        latents, fine = latents_of(networks, x)
        if not len(y):
            y = np.empty((len(latents), rows, columns), np.float32)
        core = window.core.within(window.outer).latents
        y[:, *window.core.latents] = latents[:, *core]
        fine_count += int(fine[core].sum())
    if fine_count >= FINE_SHARE * rows * columns:
        log.warning(
            "%.0f %% of the picture has lines or dots finer than two pixels, of which nothing survives at any quality: "
            "a lossless format keeps them",
            100 * fine_count / (rows * columns),
        )
    return y


def latents_of(networks: Networks, x: Image) -> tuple[Image, NDArray[np.bool_]]:
    """y (latent, H, W) of x (3, 16 H, 16 W), and which blocks have detail that y cannot hold, bool (H, W).

    y is the DCT and what the network adds to it, but for two cases that no photo in the test sets has. Where the
    network adds more than ADDED_MAX, and in the blocks around, y is the DCT alone. Blocks with detail that is too fine
    keep their mean colour.
    """
    return correct_latents(*networks.analysis(x), x)


def correct_latents(added: Image, ground: Image, x: Image) -> tuple[Image, NDArray[np.bool_]]:
    """As `latents_of`, of what the network adds and of the DCT."""
    outlier = ~(np.abs(added).max(0) <= ADDED_MAX)
    y = np.where(dilate(outlier, 1), ground, added + ground) if outlier.any() else added + ground
    fine = dct.fine_blocks(x, ground)
    return (dct.match_means(y, x, fine) if fine.any() else y), fine


def encode_tiles(model: ContextModel, y: Image, quality: int, tile: int) -> list[bytes]:
    """The latents section of every tile in raster order; quality is q times 256, tile in pixels."""
    regions = grid.tiles(y.shape[1], y.shape[2], tile // STRIDE)
    return [_encode_tile(model, index, region, y[:, *region.latents], quality) for index, region in enumerate(regions)]


def _encode_tile(model: ContextModel, index: int, region: grid.Region, y: Image, quality: int) -> bytes:
    parts, z_hat, state = tile_parts(model, region, y, quality)
    return coder.encode(parts, checksum(index, z_hat, state.symbols))


def tile_parts(
    model: ContextModel, region: grid.Region, y: Image, quality: int
) -> tuple[list[coder.Part], Symbols, State]:
    """What is coded of a tile's latents y (C, H, W): z's part, one for each step of the coding order; z, last state."""
    gained = model.gain(quality) * y
    z = model.networks.hyper_analysis(pad_edge(gained, HYPER_FACTOR))
    z_hat = _round(z, HYPER_MAX)
    table_ids = hyper_table_ids(*z_hat.shape)
    parts: list[coder.Part] = [(z_hat.reshape(-1), table_ids, model.hyper_tables(quality))]
    state = model.start(z_hat, quality, (region.height, region.width))
    for number, step in enumerate(model.order):
        mean, scale_index, mask = state.predict(number, step)
        symbols = _round(gained[step.channels, mask] - mean, SYMBOL_MAX)
        parts.append((symbols.reshape(-1), scale_index.reshape(-1), gaussian_tables()))
        state.update(step, symbols, mean, mask)
    return parts, z_hat, state


def _round(values: Image, most: int) -> NDArray[np.int32]:
    """The nearest integers within +-most, int32, of the same shape; NaN, which broken weights give, becomes 0."""
    return np.rint(np.nan_to_num(values, nan=0.0)).clip(-most, most).astype(np.int32)
