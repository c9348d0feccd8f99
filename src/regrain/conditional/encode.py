"""Picture -> latents -> bytes, one line a station.

    y = g_a(x)    z = round(h_a(gain y))    symbols = round(gain y - mean)    bytes = code(z, symbols | index)

g_a is the only heavy part and does not depend on quality: rate control repeats only what follows it.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.conditional import grid, symbols
from regrain.conditional.frozen import Model
from regrain.conditional.model import HYPER_MAX
from regrain.conditional.passes import Pass
from regrain.entropy import coder
from regrain.image import pad_edge, to_signed

__all__ = ["analyse", "encode_tiles"]

log = logging.getLogger(__name__)

WINDOW, HALO = 64, 8
SYMBOL_MAX = 2**24
FINE_SHARE = 0.01
"""A picture is too fine for the latents where this share of its blocks are."""


@torch.no_grad()
def analyse(model: Model, pixels: NDArray[np.uint8]) -> Tensor:
    """y of a whole picture, window by window. pixels (H, W, 1 or 3) -> float32 (latent, ceil(H/16), ceil(W/16)).

    Logs a warning where much of the picture is finer than latents can say.
    """
    rows, columns = grid.latent_size(*pixels.shape[:2])
    y = torch.empty(model.config.transform.latent, rows, columns, dtype=torch.float32)
    fine_blocks = 0
    for window in grid.windows(rows, columns, WINDOW, HALO):
        x = torch.from_numpy(pad_edge(to_signed(pixels[window.outer.pixels]), grid.STRIDE))[None]
        part, fine = model.analysis.encode(x.to(model.device).contiguous(memory_format=torch.channels_last))
        core = window.core.within(window.outer).latents
        y[:, *window.core.latents] = part[0, :, *core].cpu()
        fine_blocks += int(fine[0][core].sum())
    if fine_blocks >= FINE_SHARE * rows * columns:
        log.warning(
            "%.0f %% of the picture has lines or dots finer than two pixels, of which nothing survives at any quality: "
            "a lossless format keeps them",
            100 * fine_blocks / (rows * columns),
        )
    return y


def encode_tiles(model: Model, y: Tensor, quality: int, tile: int) -> list[bytes]:
    """The latents section of every tile in raster order; quality is q times 256, tile in pixels."""
    regions = grid.tiles(y.shape[1], y.shape[2], tile // grid.STRIDE)
    return [_encode_tile(model, index, region, y[:, *region.latents], quality) for index, region in enumerate(regions)]


@torch.no_grad()
def _encode_tile(model: Model, index: int, region: grid.Region, y: Tensor, quality: int) -> bytes:
    latents = model.latents
    gained = latents.gain(quality) * y
    padded = torch.from_numpy(pad_edge(gained.numpy(), symbols.HYPER_FACTOR))
    z = model.hyper_analysis(padded[None])[0].round().clamp(-HYPER_MAX, HYPER_MAX)

    def rounded(part: Pass, mean: Tensor, _index: Tensor) -> Tensor:
        """The symbols of a pass."""
        return (gained[None, part.channels] - mean).round().clamp(-SYMBOL_MAX, SYMBOL_MAX)

    walked = latents.walk(z, quality, (region.height, region.width), rounded)
    z_symbol, symbol, ids = (tensor.int().numpy() for tensor in (z, walked.symbols[0], walked.scale_index[0]))
    parts = symbols.parts(latents.passes, latents.hyper_tables(quality), z_symbol, symbol, ids)
    return coder.encode(parts, symbols.check(index, z_symbol, symbol))
