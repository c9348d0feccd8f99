"""The coding order of y: which symbols are coded in which step, and which channels each step may know.

The channels of y, low frequencies first, are cut into slices (Minnen & Singh 2020, "Channel-wise autoregressive entropy
models"), each a step that sees the slices before it in its neighbourhood. The first slice takes two steps, one for each
parity of the chequerboard (He et al. 2021, "Checkerboard context model"), the second seeing the first.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.errors import UsageError, quote

__all__ = ["CodingStep", "coding_order", "hold_slices"]

CONTEXT_MAX: Final = 96
"""A context sees at most this many channels of y: the sums of the integer wall stay exact."""


class CodingStep(NamedTuple):
    """Channels `first` to `last` (exclusive) of y, at places of one `parity`, given the first `context_channels`."""

    first: int
    last: int
    context_channels: int
    parity: int | None = None

    @property
    def channels(self) -> slice:
        """The index of this step's channels in y."""
        return slice(self.first, self.last)

    def mask(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Where this step has symbols, bool (rows, columns); parity 0 has the top left corner."""
        if self.parity is None:
            return np.ones((rows, columns), np.bool_)
        inside: NDArray[np.bool_] = (np.arange(rows)[:, None] + np.arange(columns)) % 2 == self.parity
        return inside


def hold_slices(slices: object) -> None:
    """Raise UsageError unless these are ascending channels from 1 to CONTEXT_MAX."""
    edges = [*slices] if isinstance(slices, list | tuple) and len(slices) <= CONTEXT_MAX else [0]
    if not all(type(edge) is int and 0 < edge <= CONTEXT_MAX for edge in edges) or sorted({*edges}) != edges:
        what = edges if edges != [0] else quote(slices)
        raise UsageError(f"slices are {what}; ascending channels from 1 to {CONTEXT_MAX} are allowed")


def coding_order(channels: int, slices: Iterable[int]) -> tuple[CodingStep, ...]:
    """The steps over y. `slices` are the first channels of all slices but the first; those past the end drop out.

    Without any slice there is one step for everything: the plain mean-scale hyperprior (Minnen et al. 2018).

    >>> [step[:3] for step in coding_order(8, [2, 6])]
    [(0, 2, 0), (0, 2, 2), (2, 6, 2), (6, 8, 6)]
    """
    if not (edges := [edge for edge in slices if edge < channels]):
        return (CodingStep(0, channels, 0),)
    later = (CodingStep(first, last, first) for first, last in pairwise([*edges, channels]))
    return CodingStep(0, edges[0], 0, 0), CodingStep(0, edges[0], edges[0], 1), *later
