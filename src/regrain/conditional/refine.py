"""An encoder that tries harder: the latents of one picture, optimised for its bytes and for what they decode to.

    minimise   bits(symbols | scale indices) + sum_k weight_k distortion_k(decoded picture)
    symbols    floor(r) + B,   r = gain y - mean,   B in [0, 1] a relaxed coin that falls to the nearer integer

Stochastic Gumbel annealing (Yang, Bamler and Mandt 2020, "Improving Inference for Neural Image Compression", sec. 3.2):
coins are tossed at a temperature that is held for a third of the iterations and then falls, so that they end as
roundings. Bits are those of the frozen tables. Scale indices and hyper-latents stay as they are for `REFRESHED`
iterations. Then the latents are coded for once, which gives the true cost: the best latents so far are kept, and at
first these are the encoder's own. The decoder knows nothing of all this.

What squared error weighs, quality itself says: the bits that the encoder would spend to lower it by one. Three
tenths of what counts are texture (`texture`): squared error and MS-SSIM alone save bits where only its judges look.
As bits must not rise, all distortions weigh less in the descent as long as more bits are taken than `SAVED` allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain.conditional import grid
from regrain.conditional.annealing import Adam, coins, prices
from regrain.conditional.config import STRIDE
from regrain.conditional.context_model import ContextModel, State
from regrain.conditional.encode import tile_parts
from regrain.conditional.networks import Differentiable, Image, View
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
SHARES: Final = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
"""Of what counts, by the distortions of `Differentiable`, all of the picture at this realism:"""
REALISM: Final = 1.0
SAVED: Final = 0.04
"""The share of the bits that is to be saved; all else that is gained comes as a better picture."""
THRIFT: Final = 0.7
"""How much less distortions weigh in the descent at first."""
HASTE: Final = 2.0
"""The power of the share by which bits are too many, by which distortions weigh less from then on."""
NEAR: Final = 768
"""Steps of quality to each side, between which bits and distortions are compared."""

Weights: TypeAlias = NDArray[np.float64]
"""Of the distortions, (DISTORTIONS,)."""


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
    gain, random, adam = model.gain(quality), np.random.default_rng(0), Adam.like(y)
    first = coded = scene.code(y, quality)
    weights = scene.weights(y, first)
    if not weights.any():
        return
    cost = first_cost = scene.cost(coded, weights)
    best, gained, scale = y, gain * y, THRIFT
    for iteration in range(1, iterations + 1):
        yield Trial(iteration - 1, iterations, (first_cost - cost) / max(first.bits, 1.0), best)
        progress = max(0.0, (iteration - 1) / iterations - HELD) / (1 - HELD)
        temperature = HOT * (COLD / HOT) ** progress
        slope, rise, y_hat = _toss(coded.tiles, gained, temperature, random)
        gradient = (slope + scene.fall(y_hat, scale * weights, iteration) / gain) * rise
        gained = gained - np.float32(STEP * (1 - 0.95 * progress)) * adam.direction(gradient)
        if iteration % REFRESHED == 0 or iteration == iterations:
            coded = scene.code(gained / gain, quality)
            scale *= ((1 - SAVED) * first.bits / max(coded.bits, 1.0)) ** HASTE
            now = scene.cost(coded, weights)
            if now < cost and coded.bits <= first.bits:
                cost, best = now, gained / gain
    yield Trial(iterations, iterations, (first_cost - cost) / max(first.bits, 1.0), best)


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

    def weights(self, y: Image, first: _Coded) -> Weights:
        """Bits for a unit of each distortion, by its share; 0 where squared error does not fall with quality.

        What bits buy of squared error is measured. A hundredth of another distortion weighs what a hundredth of this
        does: they fall about as fast, and how fast one falls in one picture is too often chance.
        """
        ends = [max(0, self.quality - NEAR), min(QUALITY_TOP, self.quality + NEAR)]
        low, high = (self.code(y, end) for end in ends)
        saved = float((self.distortions(low.y_hat, ends[0]) - self.distortions(high.y_hat, ends[1]))[0])
        distortions = self.distortions(first.y_hat, self.quality)
        shares = SHARES * (distortions > 0)
        if saved <= 0 or not shares.any():
            return np.zeros_like(SHARES)
        worth = (high.bits - low.bits) / saved * distortions[0] * shares / shares.sum()
        weights: Weights = np.divide(worth, distortions, out=np.zeros_like(worth), where=shares > 0)
        return weights

    def cost(self, coded: _Coded, weights: Weights) -> float:
        """Bits, and the weighted distortions."""
        return coded.bits + float((weights * self.distortions(coded.y_hat, self.quality)).sum())

    def distortions(self, y_hat: Image, quality: int) -> Weights:
        """Of the picture that one step decodes."""
        parts = [self.decoder.distortion(window.view(y_hat), quality / QUALITY_TOP, REALISM) for window in self.windows]
        total: Weights = np.sum(parts, axis=0)
        return total

    def fall(self, y_hat: Image, weights: Weights, draw: int) -> Image:
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
        state = replace(coded, y_hat=y_hat[:, *region.latents])
        for number, step in enumerate(state.model.order):
            mask = step.mask(*u.shape[1:])
            mean = state.mean(number, step, mask)
            residual = u[step.channels, mask] - mean
            low = np.floor(residual)
            value, rise[step.channels, mask] = coins(residual - low, temperature, random)
            slope[step.channels, mask] = prices(indices[number], low)
            state.y_hat[step.channels, mask] = (low + value + mean) / state.gain[step.channels, 0]
    return slopes, rises, y_hat
