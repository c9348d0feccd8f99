"""Bytes -> latents -> picture without torch, station by station as in `conditional.decode`.

z_hat = decode    for each pass: symbols = decode(index)    y_hat = (symbols + mean) / gain
x_1 = realism init_noise eps, or alpha_1 sketch + sigma_1 eps where there is a sampler
x_s = DDIM(x_t, X(x_t, t, y_hat), eta)    pixels = x_0
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import grid, symbols
from regrain.conditional.passes import Pass
from regrain.diffusion import noise
from regrain.diffusion.budget import Budget, begun
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.image import to_bytes
from regrain.onnx import ddim
from regrain.onnx.model import Model
from regrain.onnx.sampler import Context
from regrain.tiles import decode_each

__all__ = ["decode_tiles", "regrow", "tile_symbols"]

Image = NDArray[np.float32]
Symbols = NDArray[np.int32]
Reader: TypeAlias = Callable[[grid.Region], Image]
"""Gives x_t, (3, H, W), of a region."""

WINDOW, HALO = 64, 4
KEPT_MOST = 2**25
"""Bytes of pictures whose contexts are kept from step to step, 19 bytes a pixel; those of larger ones are made anew."""


def decode_tiles(
    model: Model,
    payloads: Sequence[bytes | None],
    size: tuple[int, int],
    quality: int,
    tile: int,
    *,
    partial: bool = False,
) -> Image:
    """y_hat of a whole picture of `size` (height, width), (latent, rows, columns).

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: its
    latents are 0, a logged warning names it, and Corrupt is raised only where no tile is left.
    """
    rows, columns = grid.latent_size(*size)
    y_hat = np.zeros((model.latents.channels, rows, columns), np.float32)
    regions = grid.tiles(rows, columns, tile // grid.STRIDE)

    def decode(index: int, payload: bytes) -> None:
        """One tile."""
        *_, y_hat[:, *regions[index].latents] = tile_symbols(model, payload, index, regions[index], quality)

    decode_each(payloads, decode, partial=partial)
    return y_hat


def tile_symbols(
    model: Model, payload: bytes, index: int, region: grid.Region, quality: int
) -> tuple[Symbols, Symbols, Image]:
    """z_hat (hyper, ceil(h/4), ceil(w/4)), y's symbols and y_hat (latent, h, w). Raises Corrupt."""
    latents = model.latents
    shape = (latents.hyper, *symbols.hyper_size(region))

    def read(_part: Pass, ids: NDArray[np.int64]) -> Symbols:
        """The symbols of a pass, off the stream."""
        return decoder.take(ids.reshape(-1), gaussian_tables()).reshape(ids.shape)

    decoder = coder.Decoder(payload)
    z_hat = decoder.take(symbols.hyper_ids(*shape), latents.hyper_tables(quality)).reshape(shape)
    symbol, y_hat = latents.walk(z_hat, quality, (region.height, region.width), read)
    decoder.finish(symbols.check(index, z_hat, symbol))
    return z_hat, symbol, y_hat


def regrow(
    model: Model,
    y_hat: Image,
    size: tuple[int, int],
    quality: int,
    *,
    grey: bool,
    steps: int | Budget = 1,
    realism: float = 1.0,
    eta: float = 0.0,
    seed: int = 0,
    init_noise: float = 1.0,
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3): DDIM over a uniform grid of steps from seeded noise at t = 1."""
    rows, columns = y_hat.shape[1:]
    windows = list(grid.windows(rows, columns, WINDOW, HALO))
    out = np.empty((*size, 1 if grey else 3), np.uint8)
    level = 1.0 if model.samples(realism) else realism * model.init_noise
    initial = _noise_reader(init_noise if realism else 0.0, seed, 0)
    contexts: dict[grid.Region, Context] = {}
    levels = model.levels(realism)

    def context_of(region: grid.Region) -> Context | None:
        """That of a window, made once."""
        context = contexts.pop(region, None) or model.context(y_hat[:, *region.latents], quality, realism)
        if context is not None:
            contexts[region] = context
        return context

    def start(region: grid.Region) -> Image:
        """x_1."""
        return model.start(initial(region), context_of(region), realism)

    def seen(window: grid.Window, t: float, read: Reader) -> tuple[Image, Image]:
        """x_t in a window, and x_0 as estimated from it."""
        x_t, context = read(window.outer), context_of(window.outer)
        return x_t, model.denoise(x_t, t, y_hat[:, *window.outer.latents], quality, realism, context)

    read: Reader = start
    count, see = begun(steps, seen, windows[0], 1.0, read, work=grid.work(windows))
    for number in range(1, count + 1):
        t, s = (count - number + 1) / count, (count - number) / count
        fresh = _noise_reader(level, seed, number)
        x_s = np.empty((0,) if s == 0 else (3, rows * grid.STRIDE, columns * grid.STRIDE), np.float32)
        for window in windows:
            x_t, x_0 = see(window, t, read)
            if s == 0 or out.nbytes > KEPT_MOST:
                contexts.pop(window.outer, None)
            z = fresh(window.outer) if eta and s else None
            part = ddim.step(x_t, x_0, t, s, eta, z, levels)[:, *window.core.within(window.outer).pixels]
            if s == 0:
                target = out[window.core.pixels]
                target[...] = to_bytes(part[:, : target.shape[0], : target.shape[1]], grey)
            else:
                x_s[:, *window.core.pixels] = part
        read = _buffer_reader(x_s)
    return out


def _noise_reader(level: float, seed: int, number: int) -> Reader:
    def read(region: grid.Region) -> Image:
        height, width = region.height * grid.STRIDE, region.width * grid.STRIDE
        if level == 0:
            return np.zeros((3, height, width), np.float32)
        values = noise.normal(seed, number, region.top * grid.STRIDE, region.left * grid.STRIDE, height, width)
        return values * np.float32(level)

    return read


def _buffer_reader(x_t: Image) -> Reader:
    return lambda region: x_t[:, *region.pixels]
