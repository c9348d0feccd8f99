"""An encoder that tries harder: the latents of one picture, optimised for its bytes and for what they decode to.

    minimise   bits(symbols | scale indices) + sum_k weight_k distortion_k(decoded picture)
    symbols    floor(r) + B,   r = gain y - mean,   B in [0, 1] a relaxed coin that falls to the nearer integer

Stochastic Gumbel annealing (Yang, Bamler and Mandt 2020, "Improving Inference for Neural Image Compression", sec. 3.2):
coins are tossed at a temperature that is held for a third of the iterations and then falls, so that they end as
roundings. Bits are those of the frozen tables. Scale indices and hyper-latents stay as they are for `REFRESHED`
iterations. Then the latents are coded for once, which gives the true cost: the best latents so far are kept, and at
first these are the encoder's own. The decoder knows nothing of all this.

What squared error weighs, quality itself says: the bits that the encoder would spend to lower it by one. A fifth of
what counts is texture (`texture`), from which squared error and MS-SSIM alone take bits away. Bits must not rise, and
so distortions weigh less in the descent while it takes too many, and more while it takes few.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import grid
from regrain.conditional.annealing import Adam, coins, prices
from regrain.conditional.config import STRIDE
from regrain.conditional.context_model import ContextModel, Means
from regrain.conditional.encode import tile_parts
from regrain.conditional.networks import DISTORTIONS, Differentiable, Image, Terms, View
from regrain.entropy import coder
from regrain.entropy.integer import QUALITY_TOP
from regrain.image import to_signed

__all__ = ["WINDOW", "Trial", "refine"]

WINDOW, HALO = 48, 4
"""Latents on a side of what is decoded at once, and beyond it on each side."""
REFRESHED: Final = 5
HELD: Final = 1 / 3
"""The share of the iterations in which temperature and step are held."""
HOT, COLD = 0.25, 0.1
"""Temperatures: at 0.5, which is the paper's, a thousand latents that are 0 cost more than the few others gain."""
STEP: Final = 0.02
"""In units of the quantiser, where the gradient is steep; it ends at a twentieth."""
SHARES: Final = np.array([0.7, 0.1, 0.2 / 3, 0.2 / 3, 0.2 / 3])
"""Of what counts: squared error, MS-SSIM, and three terms of texture."""
SQUARED: Final = np.eye(DISTORTIONS)[0]
REALISM: Final = 1.0
"""Of the picture that counts, which is the default one."""
NEGLIGIBLE: Final = 1e-6
"""A distortion for each value of the picture that is taken for rounding."""
SAVED: Final = 0.04
"""The share of the bits that is to be saved; all else that is gained comes as a better picture."""
THRIFT: Final = 0.7
"""What distortions weigh in the descent at first, of what they are worth."""
HASTE: Final = 2.0
"""Where bits are c times what they are to be, distortions weigh c^HASTE times less, CHANGE_MOST times at most."""
CHANGE_MOST: Final = 2.0
NEAR: Final = 768
"""Steps of quality to each side, between which bits and distortions are compared."""


class Trial(NamedTuple):
    """After so many of the iterations: the best latents so far (C, H, W), and what they save, as a share of the bits.

    What is saved are bits, and distortion at its weight: about the BD-rate.
    """

    iteration: int
    iterations: int
    gain: float
    y: Image


class _Tile(NamedTuple):
    """A tile that was coded for once: its last means, and the scale indices of each step, (last - first, n)."""

    region: grid.Region
    means: Means
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
    gain, random, adam = model.gain(quality), np.random.default_rng(0), Adam.like(y)
    coded = scene.code(y, quality)
    bits, distortions = coded.bits, scene.distortions(coded.y_hat, quality)
    weights = scene.weights(y, distortions)
    if not weights.any():
        return
    cost = first_cost = bits + float(weights @ distortions)
    best, gained, scale = y, gain * y, THRIFT
    for iteration in range(1, iterations + 1):
        yield Trial(iteration - 1, iterations, (first_cost - cost) / max(bits, 1.0), best)
        progress = max(0.0, (iteration - 1) / iterations - HELD) / (1 - HELD)
        temperature = HOT * (COLD / HOT) ** progress
        slope, rise, y_hat = _toss(coded.tiles, gained, temperature, random)
        gradient = (slope + scene.fall(y_hat, scale * weights, iteration) / gain) * rise
        gained = gained - np.float32(STEP * (1 - 0.95 * progress)) * adam.direction(gradient)
        if iteration % REFRESHED == 0 or iteration == iterations:
            coded = scene.code(gained / gain, quality)
            scale *= float(np.clip(((1 - SAVED) * bits / max(coded.bits, 1.0)) ** HASTE, 1 / CHANGE_MOST, CHANGE_MOST))
            now = coded.bits + float(weights @ scene.distortions(coded.y_hat, quality))
            if now < cost and coded.bits <= bits:
                cost, best = now, gained / gain
    yield Trial(iterations, iterations, (first_cost - cost) / max(bits, 1.0), best)


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
            tiles.append(_Tile(region, state.means, indices))
        return _Coded(bits, y_hat, tiles)

    def weights(self, y: Image, distortions: Terms) -> Terms:
        """Bits for a unit of each of y's distortions, by its share; 0 where bits buy no squared error.

        What they buy of it is measured. A hundredth of another distortion weighs what a hundredth of this does: they
        fall about as fast, and how fast one falls in one picture is too often chance.
        """
        ends = [max(0, self.quality - NEAR), min(QUALITY_TOP, self.quality + NEAR)]
        low, high = (self.code(y, end) for end in ends)
        errors = [self.distortions(coded.y_hat, end, SQUARED)[0] for coded, end in zip((low, high), ends, strict=True)]
        spent, saved = high.bits - low.bits, errors[0] - errors[1]
        shares = SHARES * (distortions > NEGLIGIBLE * self.pixels.size)
        if not (spent > 0 and saved > 0 and shares.any()):
            return np.zeros_like(SHARES)
        worth = spent / saved * distortions[0] * shares / shares.sum()
        weights: Terms = np.divide(worth, distortions, out=np.zeros_like(worth), where=shares > 0)
        return weights

    def distortions(self, y_hat: Image, quality: int, weights: Terms = SHARES) -> Terms:
        """Of the picture that one step decodes: squared error, and the others that have weight."""
        level = quality / QUALITY_TOP
        parts = [self.decoder.distortion(window.view(y_hat), level, REALISM, weights) for window in self.windows]
        total: Terms = np.sum(parts, axis=0)
        return total

    def fall(self, y_hat: Image, weights: Terms, draw: int) -> Image:
        """The gradient of the weighted distortions by y_hat (C, H, W), those of texture at a draw."""
        total = np.zeros_like(y_hat)
        for window in self.windows:
            part = self.decoder.descend(window.view(y_hat), self.quality / QUALITY_TOP, REALISM, weights, draw)
            total[:, *window.outer.latents] += part
        return total

    @cached_property
    def windows(self) -> list["_Window"]:
        """What is decoded at once: each keeps its target."""
        rows, columns = grid.latent_size(*self.pixels.shape[:2])
        return [_Window.of(place, self.pixels) for place in grid.windows(rows, columns, WINDOW, HALO)]


class _Window(NamedTuple):
    """Latents that are decoded at once, the picture of their core, and where that lies in what they decode to."""

    outer: grid.Region
    target: Image
    core: tuple[slice, slice]

    @classmethod
    def of(cls, place: grid.Window, pixels: NDArray[np.uint8]) -> Self:
        """The window of a picture (H, W, 1 or 3) at a place."""
        target, inside = to_signed(pixels[place.core.pixels]), place.core.within(place.outer)
        top, left = inside.top * STRIDE, inside.left * STRIDE
        core = slice(top, top + target.shape[1]), slice(left, left + target.shape[2])
        return cls(place.outer, target, core)

    def view(self, y_hat: Image) -> View:
        """Of latents of the whole picture."""
        return View(y_hat[:, *self.outer.latents], self.target, self.core)


def _toss(
    tiles: list[_Tile], gained: Image, temperature: float, random: np.random.Generator
) -> tuple[Image, Image, Image]:
    """What coins make of gained latents: each is (C, H, W).

    The bits that a unit more costs, how fast a coin's value rises with its latent, and y_hat.
    """
    slopes, rises, y_hat = (np.zeros_like(gained) for _ in range(3))
    for region, coded, indices in tiles:
        u, slope, rise = (whole[:, *region.latents] for whole in (gained, slopes, rises))
        means = replace(coded, y_hat=y_hat[:, *region.latents])
        for number, step in enumerate(means.order):
            mask = step.mask(*u.shape[1:])
            mean = means.predict(number, step, mask)
            residual = u[step.channels, mask] - mean
            low = np.floor(residual)
            value, rise[step.channels, mask] = coins(residual - low, temperature, random)
            slope[step.channels, mask] = prices(indices[number], low)
            means.y_hat[step.channels, mask] = (low + value + mean) / means.gain[step.channels, 0]
    return slopes, rises, y_hat
