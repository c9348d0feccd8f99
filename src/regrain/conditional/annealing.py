"""The parts of stochastic Gumbel annealing: relaxed coins, prices of symbols, and steps downhill."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from regrain.conditional.networks import Image
from regrain.entropy import coder
from regrain.entropy.tables import LEVELS, gaussian_tables

__all__ = ["Adam", "coins", "prices"]

STEEP: Final = 1.0
"""Bits a unit: a gradient below this moves its latent by less."""
MEMORY = 0.9, 0.999
"""Of Adam (Kingma and Ba 2015): how much of the mean of gradients, and of their squares, an iteration keeps."""


@dataclass
class Adam:
    """The means of gradients and of their squares, and of how many."""

    mean: Image
    square: Image
    count: int = 0

    @classmethod
    def like(cls, y: Image) -> "Adam":
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


def coins(part: Image, temperature: float, random: np.random.Generator) -> tuple[Image, Image]:
    """Relaxed coins in [0, 1], and their slope, for the fractional parts of latents; any shape.

    B = sigmoid((logit + L) / temperature), L logistic noise, logit = (atanh(part) - atanh(1 - part)) / temperature: the
    binary form of the paper's eq. 8 under the Gumbel-softmax.

    >>> coins(np.float32([0.1, 0.9]), 0.1, np.random.default_rng(0))[0].round()
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


def prices(indices: coder.Ids, symbols: Image) -> Image:
    """What a unit more than these symbols costs, in bits, by scale indices of the same shape."""
    table = _price_table()
    reach = table.shape[1] // 2
    places = (symbols + reach).clip(0, table.shape[1] - 1).astype(np.int64)
    price: Image = table[indices, places]
    return price
