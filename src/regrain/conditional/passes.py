"""The passes over y: which symbols are coded when, and what each pass may know.

The channels of y, low frequencies first, are cut into slices (Minnen & Singh 2020), each a pass that sees those before
it in its neighbourhood. The first slice takes two passes, one a colour of the chequerboard (He et al. 2021), the second
seeing the first.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regrain.errors import UsageError, shown

__all__ = ["Pass", "hold_slices", "passes"]

KNOWN_MAX = 96
"""A context sees at most this many channels of y: the sums of the integer wall stay exact."""


class Pass(NamedTuple):
    """Channels `first` to `last` (exclusive) of y, at places of one `colour`, given the channels below `known`."""

    first: int
    last: int
    known: int
    colour: int | None = None

    @property
    def channels(self) -> slice:
        """What to index the channels of y with."""
        return slice(self.first, self.last)

    def places(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Where this pass has symbols, bool (rows, columns); colour 0 has the top left corner."""
        if self.colour is None:
            return np.ones((rows, columns), np.bool_)
        inside: NDArray[np.bool_] = (np.arange(rows)[:, None] + np.arange(columns)) % 2 == self.colour
        return inside


def hold_slices(slices: object) -> None:
    """Raise UsageError unless these are ascending channels from 1 to KNOWN_MAX."""
    edges = [*slices] if isinstance(slices, list | tuple) and len(slices) <= KNOWN_MAX else [0]
    if not all(type(edge) is int and 0 < edge <= KNOWN_MAX for edge in edges) or sorted({*edges}) != edges:
        what = edges if edges != [0] else shown(slices)
        raise UsageError(f"slices are {what}; ascending channels from 1 to {KNOWN_MAX} are allowed")


def passes(channels: int, slices: Iterable[int]) -> tuple[Pass, ...]:
    """The passes over y; `slices` are the first channels of all slices but the first; those past the end drop out.

    Without any there is one pass, of everything: the plain mean-scale hyperprior (Minnen et al. 2018).
    """
    if not (edges := [edge for edge in slices if edge < channels]):
        return (Pass(0, channels, 0),)
    later = (Pass(first, last, first) for first, last in pairwise([*edges, channels]))
    return Pass(0, edges[0], 0, 0), Pass(0, edges[0], edges[0], 1), *later
