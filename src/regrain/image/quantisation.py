"""Few colours for a drawn picture, the fewer the cheaper a file is to be.

Pairwise nearest neighbours (Equitz, "A new vector quantization clustering algorithm", IEEE Trans. ASSP 37, 1989): begin
with all colours, and merge two after the other. The next two are those that cost least

    w_1 w_2 / (w_1 + w_2) |c_1 - c_2|^2 / (min(e_1, e_2) + ENTRY)          squared levels a bit saved

e counts the pixels of a colour whose neighbour to the left or above has another one: a colour costs bits where it
begins, not where it goes on. w weighs its pixels: e of them once, all others INSIDE times, since the eye sees an error
of a wide ground before one of an edge. So grounds keep their colours, and the shades of letters give way.
Invariant: the order of merges does not depend on the price at which they end, so that it is computed once.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS_MOST", "Quantisation"]

COLOURS_MOST: Final = 255
"""Colours of a palette: 256 with the transparent one."""
STARTS_MOST: Final = 1024
"""Colours to begin with. Of more than these the most frequent half stay, and all others begin as averages of cubes."""
INSIDE: Final = 8
"""How much a pixel weighs where no colour begins."""
ENTRY: Final = 24
"""Bits of a colour by itself."""
WEIGHTS: Final = (6 / 7, 12 / 7, 3 / 7)
"""Of the squares of red, green and blue; their mean is 1."""
Colours = NDArray[np.float64]


@dataclass(frozen=True)
class Quantisation:
    """The colours of some pixels, and the order in which they merge.

    `labels` gives each pixel one of `colours` (M, 3), of which `counts` (M,) are the pixels. `merges` (K, 2) are the
    colours of each merge, the one that stays and the one that goes; `prices` (K,) is what each costs.
    """

    labels: NDArray[np.int32]
    colours: Colours
    counts: Colours
    merges: NDArray[np.int32]
    prices: Colours

    @classmethod
    def of(cls, codes: NDArray[np.int32], starts: NDArray[np.bool_]) -> Self:
        """Of pixels (N,), N >= 1, whose codes are 65536 red + 256 green + blue; `starts` is true where one begins."""
        values, labels, numbers = np.unique(codes, return_inverse=True, return_counts=True)
        counts: Colours = numbers.astype(np.float64)
        colours = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.float64)
        if len(values) > STARTS_MOST:
            groups = _groups(colours, counts)
            sums = [np.bincount(groups, counts * channel) for channel in colours.T]
            labels, counts = groups[labels], np.asarray(np.bincount(groups, counts), np.float64)
            colours = np.stack(sums, 1) / counts[:, None]
        edges: Colours = np.asarray(np.bincount(labels, starts, len(colours)), np.float64)
        return cls(labels.astype(np.int32), colours, counts, *_merge(colours, counts, edges))

    def merge_count(self, price: float) -> int:
        """How many merges are done: all up to the first above the price, and so many that COLOURS_MOST are left."""
        least = max(0, len(self.colours) - COLOURS_MOST)
        above = np.flatnonzero(self.prices[least:] > price)
        return least + int(above[0]) if len(above) else len(self.prices)

    def pixels(self, price: float) -> NDArray[np.uint8]:
        """The pixels (N, 3) in the colours that are left at a price."""
        roots = np.arange(len(self.colours))
        for stays, goes in self.merges[: self.merge_count(price)]:
            roots[roots == goes] = stays
        palette: NDArray[np.uint8] = np.rint(self._representatives(roots)).astype(np.uint8)
        return palette[roots[self.labels]]

    def _representatives(self, roots: NDArray[np.int64]) -> Colours:
        """At each root the colour of its group: that of more than half of its pixels, where there is one, or the mean.

        Rows of others hold what has no meaning.
        """
        totals = np.maximum(np.bincount(roots, self.counts, len(roots)), 1)
        sums = [np.bincount(roots, self.counts * channel, len(roots)) for channel in self.colours.T]
        colours = np.stack(sums, 1) / totals[:, None]
        ruling = 2 * self.counts > totals[roots]
        colours[roots[ruling]] = self.colours[ruling]
        return colours


def _groups(colours: Colours, counts: Colours) -> NDArray[np.int64]:
    """A group for each colour: one for each of the more frequent half of STARTS_MOST, and cubes of the others."""
    order = np.argsort(-counts, kind="stable")
    frequent, rare = np.split(order, [STARTS_MOST // 2])
    groups = np.empty(len(colours), np.int64)
    groups[frequent] = np.arange(len(frequent))
    for bits in range(6, 1, -1):
        red, green, blue = colours[rare].astype(np.int64).T >> (8 - bits)
        cubes, members = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
        if len(cubes) <= STARTS_MOST // 2:
            break
    groups[rare] = len(frequent) + members
    return groups


def _merge(colours: Colours, counts: Colours, edges: Colours) -> tuple[NDArray[np.int32], Colours]:
    """All merges, down to one colour, in their order, and their prices."""
    centres, weights, starts = colours * np.sqrt(WEIGHTS), edges + INSIDE * (counts - edges), edges.copy()
    alive, merges, prices = np.ones(len(colours), bool), list[tuple[int, int]](), list[float]()

    def row(one: int) -> Colours:
        """What it costs to merge one colour with each; infinity with itself and with those that are gone."""
        squares = np.square(centres - centres[one]).sum(1) * weights * (weights[one] / (weights + weights[one]))
        ratio: Colours = squares / (np.minimum(starts, starts[one]) + ENTRY)
        ratio[~alive] = np.inf
        ratio[one] = np.inf
        return ratio

    costs = np.stack([row(one) for one in range(len(colours))])
    partners = costs.argmin(1)
    least = costs[np.arange(len(costs)), partners]
    for _ in range(len(colours) - 1):
        one = int(least.argmin())
        other = int(partners[one])
        stays, goes = (one, other) if weights[one] >= weights[other] else (other, one)
        merges.append((stays, goes))
        prices.append(float(least[one]))
        total = weights[stays] + weights[goes]
        centres[stays] = (centres[stays] * weights[stays] + centres[goes] * weights[goes]) / total
        weights[stays], starts[stays], alive[goes] = total, starts[stays] + starts[goes], False
        new = row(stays)
        costs[stays], costs[:, stays], costs[:, goes], least[goes] = new, new, np.inf, np.inf
        nearer = new < least
        partners[nearer], least[nearer] = stays, new[nearer]
        stale = alive & ~nearer & ((partners == stays) | (partners == goes))
        stale[stays] = True
        for each in np.flatnonzero(stale):
            partners[each] = costs[each].argmin()
            least[each] = costs[each, partners[each]]
    return np.array(merges, np.int32).reshape(-1, 2), np.array(prices)
