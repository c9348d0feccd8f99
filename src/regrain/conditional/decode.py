"""Bytes -> latents -> picture, one line a station.

    z_hat = decode    for each step: symbols = decode(index)    behind them y_hat = (symbols + mean) / gain
    x_1 = realism init_noise eps; where there is a sampler 0 in one step, which makes the picture g, and
          alpha_1 g + sigma_1 m eps in more, where m lets no noise onto strong edges of g
    x_s = DDIM(x_t, X(x_t, t, y_hat), eta)    pixels = x_0, or g + realism (x_0 - g)
                                                                  (second order: X corrected by that of the step before)

Sampling steps are the outer loop and windows the inner one, each window reading a halo of its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import grid
from regrain.conditional.config import STRIDE
from regrain.conditional.context_model import ContextModel, checksum, hyper_size, hyper_table_ids
from regrain.conditional.denoising import Denoiser, apply_realism
from regrain.conditional.following import following
from regrain.conditional.networks import Context, Image
from regrain.diffusion import noise, sampler
from regrain.diffusion.budget import choose_steps
from regrain.diffusion.schedule import Schedule
from regrain.entropy import coder
from regrain.entropy.tables import gaussian_tables
from regrain.image import to_bytes
from regrain.memory import CONTEXTS_MOST
from regrain.options import DecodeOptions
from regrain.tiles import BLANK, decode_each

__all__ = ["decode_latents", "decode_tile", "reconstruct"]

Symbols = NDArray[np.int32]
Reader: TypeAlias = Callable[[grid.Region], Image]
"""Gives x_t, (3, H, W), of a region."""
WINDOW, HALO = 64, 4


def decode_latents(
    model: ContextModel,
    payloads: Sequence[bytes | None],
    size: tuple[int, int],
    quality: int,
    tile: int,
    *,
    partial: bool = False,
    area: grid.Region | None = None,
    channels: int | None = None,
    missing: set[int] | None = None,
) -> Image:
    """y_hat of an `area` of a picture of `size` (height, width): float32 (channels, rows, columns), +-LATENT_MAX.

    None stands for the whole picture, and for all channels. Only the tiles that the area touches are decoded, and of
    these only the steps that the first `channels` need. Raises Corrupt naming the tile that is missing (None) or
    damaged. Under `partial` such a tile is lost instead: its latents are 0, a logged warning names it, and Corrupt is
    raised only where no tile is left; the numbers of lost tiles go into `missing`.
    """
    rows, columns = grid.latent_size(*size)
    area = area or grid.Region(0, rows, 0, columns)
    channels = model.channels if channels is None else channels
    y_hat = np.zeros((channels, area.height, area.width), np.float32)
    regions = grid.tiles_below(area, rows, columns, tile // STRIDE)

    def decode(index: int, payload: bytes) -> None:
        *_, latents = decode_tile(model, payload, index, regions[index], quality, channels)
        part = regions[index].intersection(area)
        y_hat[:, *part.within(area).latents] = latents[:channels, *part.within(regions[index]).latents]

    decode_each({index: payloads[index] for index in regions}, decode, partial=partial, missing=missing)
    return y_hat


def decode_tile(
    model: ContextModel, payload: bytes, number: int, region: grid.Region, quality: int, channels: int | None = None
) -> tuple[Symbols, Symbols, Image]:
    """z_hat (hyper, ceil(h/4), ceil(w/4)), the symbols of y, and y_hat, both (latent, h, w). Raises Corrupt.

    The steps that the first `channels` do not need are left out, and with them the check of the whole payload. A tile
    of no bytes has latents of 0.
    """
    shape = (model.hyper, *hyper_size(region))
    if not payload:
        y = np.zeros((model.channels, region.height, region.width), np.int32)
        return np.zeros(shape, np.int32), y, y.astype(np.float32)
    decoder, size = coder.Decoder(payload), (region.height, region.width)
    z_hat = decoder.take(hyper_table_ids(*shape), model.hyper_tables(quality)).reshape(shape)
    steps = [step for step in model.order if channels is None or step.first < channels]
    with following(model, steps, z_hat, quality, size) as follower:
        scales = model.start_scales(z_hat, quality, size)
        for at, step in enumerate(steps):
            mask = step.mask(*size)
            index = scales.predict(at, step, mask)
            symbols = decoder.take(index.reshape(-1), gaussian_tables()).reshape(index.shape)
            scales.update(step, symbols, mask)
            follower.add(symbols)
        if len(steps) == len(model.order):
            decoder.finish(checksum(number, z_hat, scales.symbols))
    return z_hat, scales.symbols, follower.y_hat()


def reconstruct(
    denoiser: Denoiser,
    y_hat: Image,
    size: tuple[int, int],
    quality: int,
    options: DecodeOptions,
    *,
    grey: bool,
    origin: tuple[int, int] = (0, 0),
    window: int = WINDOW,
) -> NDArray[np.uint8]:
    """The picture, uint8 (*size, 1 or 3): steps over a uniform grid of times from seeded noise at t = 1.

    `origin` is the place of the first latent in its picture, whose noise it has. `window` is the side of the squares of
    latents that the networks see at once; one whose latents are all 0 stays grey. Nothing of a whole picture but its
    pixels is held where there is one step: x_1 is drawn, and read, window by window.
    """
    denoiser = denoiser.for_steps(options.steps) if isinstance(options.steps, int) else denoiser
    windows, out = _windows(y_hat, window), np.full((*size, 1 if grey else 3), BLANK, np.uint8)
    if not windows:
        return out
    realism = options.realism
    std = 1.0 if denoiser.samples(realism) else realism * denoiser.config.init_noise
    initial = _noise_reader(options.init_noise if std else 0.0, options.seed, 0, origin)
    contexts: dict[grid.Region, Context] = {}

    def context_of(region: grid.Region) -> Context | None:
        """What the sampler computes of a window's latents, once."""
        context = contexts.pop(region, None) or denoiser.context(y_hat[:, *region.latents], quality, realism)
        if context is not None:
            contexts[region] = context
        return context

    def start(region: grid.Region) -> Image:
        return denoiser.start(initial(region), context_of(region), realism)

    def estimate(place: grid.Window, t: float, read: Reader) -> tuple[Image, Image]:
        x_t, context = read(place.outer), context_of(place.outer)
        return x_t, denoiser.estimate(x_t, t, y_hat[:, *place.outer.latents], quality, realism, context)

    read: Reader = start
    steps, step = choose_steps(options.steps, estimate, windows[0], 1.0, read, work=grid.work(windows))
    if steps == 1 and denoiser.samples(realism):  # a budget has time for no more: not the sampler's work, then
        return reconstruct(denoiser, y_hat, size, quality, replace(options, steps=1), grey=grey, origin=origin)
    shape = 3, STRIDE * y_hat.shape[1], STRIDE * y_hat.shape[2]
    rule = _StepRule.of(options, denoiser.passes(steps, realism), denoiser.schedule(realism), shape)
    for number, (t, s) in enumerate(pairwise(rule.times), start=1):
        fresh = _noise_reader(std, options.seed, number, origin)
        x_s = np.zeros((0,) if s == 0 else shape, np.float32)
        for place in windows:
            x_t, x_0 = step(place, t, read)
            context = (contexts.pop if s == 0 or out.nbytes > CONTEXTS_MOST else contexts.get)(place.outer, None)
            core = place.core.within(place.outer).pixels
            gate = np.float32(1) if context is None else context.gate[:, *core]
            z = fresh(place.core) * gate if rule.eta and s else None
            part = rule.step(place.core, number, x_t[:, *core], x_0[:, *core], z)
            if s == 0:
                target = out[place.core.pixels]
                if context is not None:
                    part = apply_realism(part, context.guide[:, *core], realism)
                target[...] = to_bytes(part[:, : target.shape[0], : target.shape[1]], grey)
            else:
                x_s[:, *place.core.pixels] = part
        read = _buffer_reader(x_s)
    return out


def _windows(y_hat: Image, side: int) -> list[grid.Window]:
    """The windows, of so many latents a side, in which some latent is not 0."""
    rows, columns = y_hat.shape[1:]
    return [place for place in grid.windows(rows, columns, side, HALO) if y_hat[:, *place.core.latents].any()]


@dataclass(frozen=True)
class _StepRule:
    """How a part of a picture goes from x_t to x_s; second-order steps keep the estimates of the step before."""

    schedule: Schedule
    times: tuple[float, ...]
    eta: float
    estimates: Image | None

    @classmethod
    def of(cls, options: DecodeOptions, steps: int, schedule: Schedule, shape: tuple[int, ...]) -> Self:
        """The rule of these options, for pictures of this shape."""
        second_order = options.order == 2 and steps > 1
        estimates = np.empty(shape, np.float32) if second_order else None
        return cls(schedule, sampler.time_grid(steps), options.step_noise, estimates)

    def step(self, region: grid.Region, number: int, x_t: Image, x_0: Image, noise: Image | None) -> Image:
        """x_s of a region after step `number`, from 1 on."""
        t, s = self.times[number - 1], self.times[number]
        if self.estimates is not None:
            latest = self.estimates[:, *region.pixels]
            times = (self.times[number - 2], t, s) if number > 1 else None
            corrected = sampler.second_order(x_0, latest, times, self.schedule)
            latest[...], x_0 = x_0, corrected
        return sampler.ddim_step(x_t, x_0, t, s, self.schedule, eta=self.eta, noise=noise)


def _noise_reader(std: float, seed: int, number: int, origin: tuple[int, int]) -> Reader:
    """Noise of this standard deviation, image `number` of the seed, from `origin` on in latents."""

    def read(region: grid.Region) -> Image:
        height, width = region.height * STRIDE, region.width * STRIDE
        if std == 0:
            return np.zeros((3, height, width), np.float32)
        top, left = (origin[0] + region.top) * STRIDE, (origin[1] + region.left) * STRIDE
        return std * noise.normal(seed, number, top, left, height, width)

    return read


def _buffer_reader(x_t: Image) -> Reader:
    return lambda region: x_t[:, *region.pixels]
