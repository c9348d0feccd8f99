"""Bytes -> latents -> picture, one line a station.

    z_hat = decode    for each pass: symbols = decode(index)    y_hat = (symbols + mean) / gain
    x_1 = realism init_noise eps, or alpha_1 sketch + sigma_1 eps where there is a sampler
    x_s = DDIM(x_t, X(x_t, t, y_hat), eta)    pixels = x_0

Steps are the outer loop and windows the inner one, each window reading a halo of its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain.conditional import grid, symbols
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.frozen import Model
from regrain.conditional.passes import Pass
from regrain.diffusion import noise, sampler
from regrain.diffusion.budget import Budget, begun
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.image import to_bytes
from regrain.tiles import decode_each

__all__ = ["Knobs", "decode_tiles", "regrow", "tile_symbols"]

Reader: TypeAlias = Callable[[grid.Region], Tensor]
"""Gives x_t, (3, H, W), of a region."""
WINDOW, HALO = 64, 4
KEPT_MOST = 2**25
"""Bytes of pictures whose contexts are kept from step to step, 20 bytes a pixel; those of larger ones are made anew."""


@dataclass(frozen=True)
class Knobs:
    """What the user turns at decode time: steps >= 1 or a time for them, realism and eta in [0, 1], seed, and the
    deviation of the noise that sampling starts from, in units of the schedule's own; and the window in latents."""

    steps: int | Budget = 1
    realism: float = 1.0
    eta: float = 0.0
    seed: int = 0
    init_noise: float = 1.0
    window: int = WINDOW


def decode_tiles(
    model: Model,
    payloads: Sequence[bytes | None],
    size: tuple[int, int],
    quality: int,
    tile: int,
    *,
    partial: bool = False,
) -> Tensor:
    """y_hat of a whole picture of `size` (height, width), float32 (latent, rows, columns), within +-LATENT_MAX.

    Raises Corrupt naming the tile that is missing (None) or damaged. Under `partial` such a tile is lost instead: its
    latents are 0, a logged warning names it, and Corrupt is raised only where no tile is left.
    """
    rows, columns = grid.latent_size(*size)
    y_hat = torch.from_numpy(np.zeros((model.config.transform.latent, rows, columns), np.float32))  # not touched yet
    regions = grid.tiles(rows, columns, tile // grid.STRIDE)

    def decode(index: int, payload: bytes) -> None:
        """One tile."""
        _, symbol, mean = _walked(model, payload, index, regions[index], quality)
        latents = (torch.from_numpy(symbol) + mean) / model.latents.gain(quality)
        y_hat[:, *regions[index].latents] = latents.clamp(-LATENT_MAX, LATENT_MAX)

    decode_each(payloads, decode, partial=partial)
    return y_hat


def tile_symbols(
    model: Model, payload: bytes, index: int, region: grid.Region, quality: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """z_hat (hyper, ceil(h/4), ceil(w/4)) and y's symbols (latent, h, w), int32. Raises Corrupt."""
    z_hat, symbol, _ = _walked(model, payload, index, region, quality)
    return z_hat, symbol


def _walked(
    model: Model, payload: bytes, index: int, region: grid.Region, quality: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], Tensor]:
    """z_hat, y's symbols, and the means of gained y."""
    latents, config = model.latents, model.config.transform
    shape, size = (config.hyper, *symbols.hyper_size(region)), (region.height, region.width)
    symbol = np.zeros((config.latent, *size), np.int32)

    def taken(part: Pass, _mean: Tensor, ids: Tensor) -> Tensor:
        """The symbols of a pass, off the stream; `symbol` keeps them as the integers they are."""
        places = part.places(*size)
        known = ids[0].int().numpy()[:, places]
        symbol[part.channels, places] = decoder.take(known.reshape(-1), gaussian_tables()).reshape(known.shape)
        return torch.from_numpy(symbol[part.channels]).float()[None]

    decoder = coder.Decoder(payload)
    z_hat = decoder.take(symbols.hyper_ids(*shape), latents.hyper_tables(quality)).reshape(shape)
    walked = latents.walk(torch.from_numpy(z_hat), quality, size, taken)
    decoder.finish(symbols.check(index, z_hat, symbol))
    return z_hat, symbol, walked.mean[0]


def regrow(
    model: Model, y_hat: Tensor, size: tuple[int, int], quality: int, *, grey: bool, knobs: Knobs
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3): DDIM over a uniform grid of steps from seeded noise at t = 1."""
    rows, columns = y_hat.shape[1:]
    windows = list(grid.windows(rows, columns, knobs.window, HALO))
    out = np.empty((*size, 1 if grey else 3), np.uint8)
    level = 1.0 if model.samples(knobs.realism) else knobs.realism * model.config.init_noise
    initial = _noise_reader(knobs.init_noise if knobs.realism else 0.0, knobs.seed, 0)

    def start(region: grid.Region) -> Tensor:
        """x_1."""
        cond = y_hat[:, *region.latents].to(model.device)
        return model.start(initial(region).to(model.device), cond, knobs.realism).cpu()

    contexts: dict[grid.Window, Tensor] = {}

    def seen(window: grid.Window, t: float, read: Reader) -> tuple[Tensor, Tensor]:
        """x_t in a window, and x_0 as estimated from it."""
        x_t, cond = read(window.outer), y_hat[:, *window.outer.latents].to(model.device)
        context = contexts[window] if window in contexts else model.context(cond, quality, knobs.realism)
        if context is not None:
            contexts[window] = context
        return x_t, model.denoise(x_t.to(model.device), t, cond, quality, knobs.realism, context).cpu()

    read: Reader = start
    steps, see = begun(knobs.steps, seen, windows[0], 1.0, read, work=grid.work(windows))
    levels, times = model.levels(knobs.realism), sampler.time_grid(steps)
    for number, (t, s) in enumerate(pairwise(times), start=1):
        fresh = _noise_reader(level, knobs.seed, number)
        shape = (0,) if s == 0 else (3, rows * grid.STRIDE, columns * grid.STRIDE)
        x_s = torch.empty(shape, dtype=torch.float32)
        for window in windows:
            x_t, x_0 = see(window, t, read)
            if s == 0 or out.nbytes > KEPT_MOST:
                contexts.pop(window, None)
            z = fresh(window.outer) if knobs.eta and s else None
            core = window.core.within(window.outer).pixels
            part = sampler.ddim_step(x_t, x_0, t, s, levels, eta=knobs.eta, noise=z)[:, *core]
            if s == 0:
                target = out[window.core.pixels]
                target[...] = to_bytes(part[:, : target.shape[0], : target.shape[1]].numpy(), grey)
            else:
                x_s[:, *window.core.pixels] = part
        read = _buffer_reader(x_s)
    return out


def _noise_reader(level: float, seed: int, number: int) -> Reader:
    def read(region: grid.Region) -> Tensor:
        height, width = region.height * grid.STRIDE, region.width * grid.STRIDE
        if level == 0:
            return torch.zeros(3, height, width, dtype=torch.float32)
        values = noise.normal(seed, number, region.top * grid.STRIDE, region.left * grid.STRIDE, height, width)
        return torch.from_numpy(values) * level

    return read


def _buffer_reader(x_t: Tensor) -> Reader:
    return lambda region: x_t[:, *region.pixels]
