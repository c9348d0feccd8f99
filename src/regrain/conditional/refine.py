"""An encoder that tries harder: the latents of one picture, optimised for its bytes and for what they decode to.

    minimise   bits(symbols | scale indices) + sum_k weight_k distortion_k(decoded picture)
    symbols    floor(r) + B,   r = gain y - mean,   B in [0, 1] a relaxed coin that falls to the nearer integer

Stochastic Gumbel annealing (Yang, Bamler and Mandt 2020, "Improving Inference for Neural Image Compression", sec. 3.2):
coins are tossed at a temperature that is held for a third of the iterations and then falls, so that they end as
roundings. Bits are those of the frozen tables. Scale indices and hyper-latents stay as they are for `REFRESHED`
iterations. Then the latents are coded for once, which gives the true cost: the best latents so far are kept, and at
first these are the encoder's own. The decoder knows nothing of all this.

What a unit of distortion weighs, quality itself says: the bits that the encoder would spend to lower it by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import grid
from regrain.conditional.config import STRIDE
from regrain.conditional.context_model import ContextModel, State
from regrain.conditional.encode import tile_parts
from regrain.conditional.networks import Differentiable, Image, View
from regrain.entropy import coder
from regrain.entropy.integer import QUALITY_TOP
from regrain.entropy.tables import LEVELS, gaussian_tables
from regrain.image import to_signed

__all__ = ["WINDOW", "Trial", "refine"]

WINDOW, HALO = 48, 4
"""Latents on a side of what is decoded at once, and beyond it on each side."""
REFRESHED: Final = 10
HELD: Final = 1 / 3
"""The share of the iterations in which temperature and step are held."""
HOT, COLD = 0.25, 0.1
"""Temperatures: at 0.5, which is the paper's, a thousand latents that are 0 cost more than the few others gain."""
STEP: Final = 0.02
"""In units of the quantiser, where the gradient is steep; it ends at a twentieth."""
STEEP: Final = 1.0
"""Bits a unit: a gradient below this moves its latent by less."""
MEMORY = 0.9, 0.999
"""Of Adam (Kingma and Ba 2015): how much of the mean of gradients, and of their squares, an iteration keeps."""
SHARES: Final = np.array([[0.5, 0.0], [0.0, 0.5]])
"""Of what counts: rows are the faithful and the default picture, columns squared error and 1 - MS-SSIM."""
REALISMS: Final = (0.0, 1.0)
THRIFT: Final = 0.85
"""What distortions weigh less than quality itself says: gains come as fewer bits first."""
NEAR: Final = 768
"""Steps of quality to each side, between which bits and distortions are compared."""

Weights: TypeAlias = NDArray[np.float64]
"""Of the distortions, (2, 2), in the places of `SHARES`."""


class Trial(NamedTuple):
    """After so many of the iterations: the best latents so far (C, H, W), and what they save, as a share of the bits.

    What is saved are bits, and distortion at its weight: about the BD-rate.
    """

    iteration: int
    iterations: int
    gain: float
    y: Image


class _Tile(NamedTuple):
    """A tile that was coded for once: its last state, and the scale indices of each step, (last - first, n)."""

    region: grid.Region
    state: State
    indices: list[coder.Ids]


class _Coded(NamedTuple):
    """Latents that were coded for once: bits, y_hat (C, H, W), and their tiles."""

    bits: float
    y_hat: Image
    tiles: list[_Tile]


def refine(
    model: ContextModel,
    decoder: Differentiable,
    y: Image,
    pixels: NDArray[np.uint8],
    quality: int,
    tile: int,
    iterations: int,
) -> Iterator[Trial]:
    """The best latents so far, before the first iteration and after each.

    y (C, H, W) are those of the encoder for pixels (up to 16 H, up to 16 W, 1 or 3); quality is q times 256, tile in
    pixels. The same arguments give the same latents on the same machine. Nothing comes of a picture whose bits or
    distortions do not change with quality. No latents count that take more bits than y.
    """
    scene = _Scene(model, decoder, pixels, quality, grid.tiles(y.shape[1], y.shape[2], tile // STRIDE))
    weights = scene.weights(y)
    if not weights.any():
        return
    gain, random, adam = model.gain(quality), np.random.default_rng(0), _Adam.like(y)
    first = coded = scene.code(y, quality)
    cost = first_cost = scene.cost(coded, weights)
    best, gained = y, gain * y
    for iteration in range(1, iterations + 1):
        yield Trial(iteration - 1, iterations, (first_cost - cost) / max(first.bits, 1.0), best)
        progress = max(0.0, (iteration - 1) / iterations - HELD) / (1 - HELD)
        temperature = HOT * (COLD / HOT) ** progress
        slope, rise, y_hat = _toss(coded.tiles, gained, temperature, random)
        gradient = (slope + scene.fall(y_hat, weights, iteration) / gain) * rise
        gained = gained - np.float32(STEP * (1 - 0.95 * progress)) * adam.direction(gradient)
        if iteration % REFRESHED == 0 or iteration == iterations:
            coded = scene.code(gained / gain, quality)
            now = scene.cost(coded, weights)
            if now < cost and coded.bits <= first.bits:
                cost, best = now, gained / gain
    yield Trial(iterations, iterations, (first_cost - cost) / max(first.bits, 1.0), best)


@dataclass
class _Adam:
    """The means of gradients and of their squares, and of how many."""

    mean: Image
    square: Image
    count: int = 0

    @classmethod
    def like(cls, y: Image) -> "_Adam":
        """For latents of this shape."""
        return cls(np.zeros_like(y), np.zeros_like(y))

    def direction(self, gradient: Image) -> Image:
        """Where to go down from, about 1 for a gradient that is steep and steady."""
        self.count += 1
        for kept, power, average in zip(MEMORY, (1, 2), (self.mean, self.square), strict=True):
            average *= np.float32(kept)
            average += np.float32(1 - kept) * gradient**power
        mean, square = (
            average / np.float32(1 - kept**self.count)
            for kept, average in zip(MEMORY, (self.mean, self.square), strict=True)
        )
        direction: Image = mean / (np.sqrt(square) + np.float32(STEEP))
        return direction


@dataclass(frozen=True)
class _Scene:
    """One picture at one quality, and what codes and decodes it."""

    model: ContextModel
    decoder: Differentiable
    pixels: NDArray[np.uint8]
    quality: int
    regions: list[grid.Region]

    def code(self, y: Image, quality: int) -> _Coded:
        """Bits and y_hat of latents as a file would have them."""
        bits, y_hat, tiles = 0.0, np.empty_like(y), []
        for region in self.regions:
            parts, _, state = tile_parts(self.model, region, y[:, *region.latents], quality)
            bits += sum(float(coder.ideal_bits(part).sum()) for part in parts)
            y_hat[:, *region.latents] = state.y_hat
            widths = (step.last - step.first for step in self.model.order)
            indices = [ids.reshape(width, -1) for (_, ids, _), width in zip(parts[1:], widths, strict=True)]
            tiles.append(_Tile(region, state, indices))
        return _Coded(bits, y_hat, tiles)

    def weights(self, y: Image) -> Weights:
        """Bits for a unit of each distortion, by its share: how both change with quality. 0 where they do not."""
        ends = [max(0, self.quality - NEAR), min(QUALITY_TOP, self.quality + NEAR)]
        low, high = (self.code(y, end) for end in ends)
        saved = self.distortions(low.y_hat, ends[0]) - self.distortions(high.y_hat, ends[1])
        price = np.divide(high.bits - low.bits, saved, out=np.zeros_like(saved), where=saved > 0)
        shares = SHARES * (price > 0)
        weights: Weights = THRIFT * price * shares / max(shares.sum(), np.finfo(float).tiny)
        return weights

    def cost(self, coded: _Coded, weights: Weights) -> float:
        """Bits, and the weighted distortions."""
        return coded.bits + float((weights * self.distortions(coded.y_hat, self.quality)).sum())

    def distortions(self, y_hat: Image, quality: int) -> Weights:
        """Of both pictures, (2, 2); 0 of a picture that has no share."""
        total = np.zeros_like(SHARES)
        for row in np.flatnonzero(SHARES.any(1)):
            for place in _windows(y_hat):
                view = self._view(y_hat, place)
                total[row] += self.decoder.distortion(view, quality / QUALITY_TOP, REALISMS[row])
        return total

    def fall(self, y_hat: Image, weights: Weights, iteration: int) -> Image:
        """The gradient of the weighted distortions by y_hat (C, H, W), of one picture in each iteration for all."""
        rows = np.flatnonzero(weights.any(1))
        row = rows[iteration % len(rows)]
        total = np.zeros_like(y_hat)
        for place in _windows(y_hat):
            view = self._view(y_hat, place)
            part = self.decoder.descend(view, self.quality / QUALITY_TOP, REALISMS[row], weights[row] * len(rows))
            total[:, *place.outer.latents] += part
        return total

    def _view(self, y_hat: Image, place: grid.Window) -> View:
        """Of a window: its latents, the picture of its core, and where that lies in what they decode to."""
        target, inside = to_signed(self.pixels[place.core.pixels]), place.core.within(place.outer)
        top, left = inside.top * STRIDE, inside.left * STRIDE
        core = slice(top, top + target.shape[1]), slice(left, left + target.shape[2])
        return View(y_hat[:, *place.outer.latents], target, core)


def _windows(y_hat: Image) -> Iterator[grid.Window]:
    return grid.windows(y_hat.shape[1], y_hat.shape[2], WINDOW, HALO)


def _toss(
    tiles: list[_Tile], gained: Image, temperature: float, random: np.random.Generator
) -> tuple[Image, Image, Image]:
    """What coins make of gained latents: each is (C, H, W).

    The bits that a unit more costs, how fast a coin's value rises with its latent, and y_hat.
    """
    slopes, rises, y_hat = (np.zeros_like(gained) for _ in range(3))
    for region, coded, indices in tiles:
        u, slope, rise = (whole[:, *region.latents] for whole in (gained, slopes, rises))
        state = replace(coded, y_hat=y_hat[:, *region.latents])
        for number, step in enumerate(state.model.order):
            mask = step.mask(*u.shape[1:])
            mean = state.mean(number, step, mask)
            residual = u[step.channels, mask] - mean
            low = np.floor(residual)
            value, rise[step.channels, mask] = _coins(residual - low, temperature, random)
            slope[step.channels, mask] = _prices(indices[number], low)
            state.y_hat[step.channels, mask] = (low + value + mean) / state.gain[step.channels, 0]
    return slopes, rises, y_hat


def _coins(part: Image, temperature: float, random: np.random.Generator) -> tuple[Image, Image]:
    """Relaxed coins in [0, 1], and their slope, for the fractional parts of latents; any shape.

    B = sigmoid((logit + L) / temperature), L logistic noise, logit = (atanh(part) - atanh(1 - part)) / temperature: the
    binary form of the paper's eq. 8 under the Gumbel-softmax.

    >>> _coins(np.float32([0.1, 0.9]), 0.1, np.random.default_rng(0))[0].round()
    array([0., 1.], dtype=float32)
    """
    part = part.clip(1e-4, 1 - 1e-4)
    chance = random.random(part.shape, np.float32).clip(1e-7, 1 - 1e-7)
    logit = (np.arctanh(part) - np.arctanh(1 - part)) / temperature
    value = 1 / (1 + np.exp(-((logit + np.log(chance / (1 - chance))) / temperature).clip(-60, 60)))
    slope = value * (1 - value) * (1 / (1 - part**2) + 1 / (1 - (1 - part) ** 2)) / temperature**2
    return value.astype(np.float32), slope.astype(np.float32)


@lru_cache(maxsize=1)
def _price_table() -> Image:
    """What the frozen tables take for k + 1 more than for k, in bits, (64, 2 n): k from -n on; escapes cost 8 bits."""
    tables = gaussian_tables()
    reach = max(-table.first for table in tables) + 2
    symbols = np.arange(-reach, reach + 1)
    bits = np.empty((LEVELS, symbols.size))
    for row, table in zip(bits, tables, strict=True):
        slots = np.clip(symbols - table.first, -1, table.size)
        outside = (slots < 0) | (slots == table.size)
        row[:] = np.where(outside, table.bits()[-1] + 8, table.bits()[np.where(outside, 0, slots)])
    return np.diff(bits).astype(np.float32)


def _prices(indices: coder.Ids, symbols: Image) -> Image:
    """What a unit more than these symbols costs, in bits, by scale indices of the same shape."""
    table = _price_table()
    reach = table.shape[1] // 2
    places = (symbols + reach).clip(0, table.shape[1] - 1).astype(np.int64)
    prices: Image = table[indices, places]
    return prices
