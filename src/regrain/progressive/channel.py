"""Reverse channel coding: a sample of N(shift, I) as the number of one of the candidates that both ends can draw.

    i = argmax_k  z_k . shift - |shift|^2 / 2 - log S_k,    S_k = e_1 + ... + e_k,    z_k ~ N(0, I),  e_k ~ Exp(1)

The first term is the log-ratio of what is wanted to what the receiver expects, S are the arrivals of a Poisson process
(Poisson functional representation, Li and El Gamal 2018), of which the first N are looked at (ordered random coding,
Theis and Yosri 2022). The number takes about K + log2(K + 1) + 1 bits, where K = |shift|^2 / (2 ln 2) bits is the KL
divergence, and work grows as 2^K: so the shift is dealt into chunks of a few bits each.

Chunk c takes every C-th place of a fixed scattered order, so that all chunks are alike and their count C is all that
the receiver is told. All share one set of candidates, each chunk turning signs of its own: scores are a matrix product.
Invariants: what is received follows N(shift, I); it is the same on every machine, since it depends on integers alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.errors import UsageError

__all__ = ["CANDIDATES_MOST", "Message", "chunks_most", "divergence", "receive", "send"]

CHUNK_BITS: Final = 8.0
"""KL divergence of a chunk in bits: work grows as 2 to the power of it, the overhead shrinks slowly."""
SPREAD: Final = 1.75
"""Standard deviations of log-ratio, beyond its mean K, that candidates are there for."""
VALUES_LEAST: Final = 16
"""Values of a chunk."""
CANDIDATES_MOST: Final = 16
"""log2 of the number of candidates."""
_DRAWN_MOST: Final = 2**26
"""Values of all candidates together: some tenths of a second to draw."""
_EXACT: Final = 1024
"""Arrivals drawn at random; after so many, S_k is k but for some 3 %."""
_BLOCK: Final = 2**23
_LANES: Final = noise.CHANNELS_MAX


@dataclass(frozen=True)
class Message:
    """What the receiver is told: log2 of the number of candidates, and the number of the one chosen for each chunk.

    `chosen` is int64 (C,), each from 0 to 2^candidates - 2. Raises UsageError for candidates outside 1 .. 16.
    """

    candidates: int
    chosen: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Hold the ranges above."""
        if not 1 <= self.candidates <= CANDIDATES_MOST:
            raise UsageError(f"2^{self.candidates} candidates: 2^1 to 2^{CANDIDATES_MOST} are allowed")
        last = 2**self.candidates - 2
        if self.chosen.ndim != 1 or not self.chosen.size or not 0 <= self.chosen.min() <= self.chosen.max() <= last:
            raise UsageError(f"numbers of candidates: one or more from 0 to {last} are allowed")


def chunks_most(size: int) -> int:
    """Chunks that `size` values are dealt to at most: 16 values each, so that no message takes for ever."""
    return -(-size // VALUES_LEAST)


def divergence(shift: NDArray[np.float32]) -> float:
    """KL(N(shift, I) || N(0, I)) in bits: what an ideal code would take."""
    return float(np.square(shift, dtype=np.float64).sum()) / (2 * math.log(2))


def send(shift: NDArray[np.float32], seed: int, step: int, *, chunk_bits: float = CHUNK_BITS) -> Message:
    """Choose a sample of N(shift, I), shift (D,) float32, from the noise that (seed, step) names; seed and step from 0.

    `chunk_bits` > 0 is the KL divergence of a chunk. Candidates end at 2^16: with more than 8 bits a
    chunk the sample falls short of its shift. Deterministic. Raises UsageError for an empty shift or one
    that is not finite.
    """
    bits = divergence(shift)
    if not shift.size or not math.isfinite(bits):
        raise UsageError(f"a shift of {shift.size} values and {bits} bits: one or more finite values are allowed")
    count, candidates = _plan(shift.size, bits, chunk_bits)
    deal = _Deal.of(shift.size, count)
    wanted = deal.out(shift) * deal.signs(seed, step)
    race = _Race(count, np.random.default_rng((seed, step)))
    for block in _candidates(seed, step, 2**candidates - 1, len(wanted), count):
        race.enter(block @ wanted)
    return Message(candidates, race.winner)


def receive(message: Message, size: int, seed: int, step: int) -> NDArray[np.float32]:
    """The sample (size,) float32 that a message names. Raises UsageError for more chunks than `chunks_most(size)`."""
    count = message.chosen.size
    if count > chunks_most(size):
        raise UsageError(f"{count} chunks of {size} values: {chunks_most(size)} at most are allowed")
    deal = _Deal.of(size, count)
    sample = deal.signs(seed, step)
    order = np.argsort(message.chosen, kind="stable")
    numbers, starts = np.unique(message.chosen[order], return_index=True)
    for number, chunks in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        sample[:, chunks] *= _rows(seed, step, number, 1, deal.rows)[0][:, None]
    return deal.back(sample)


def _plan(size: int, bits: float, chunk_bits: float) -> tuple[int, int]:
    """Chunks, and log2 of their candidates; more chunks than bits ask for where many values hold few."""
    most = chunks_most(size)
    count = min(most, max(1, math.ceil(bits / chunk_bits)))
    while count < most and (size // count) << _enough(bits / count) > _DRAWN_MOST:
        count = min(most, 2 * count)
    return count, _enough(bits / count)


def _enough(bits: float) -> int:
    """log2 of the candidates that a chunk of so many bits needs: its log-ratio has variance 2 bits / ln 2 bits^2."""
    return min(CANDIDATES_MOST, math.ceil(bits + SPREAD * math.sqrt(2 * bits / math.log(2)) + 1))


class _Race:
    """Arrivals in order, chunk by chunk: who leads in score - log S. `winner` is int64 (C,)."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.early = np.log(random.standard_exponential((_EXACT, count), np.float32).cumsum(0))
        self.entered = 0
        self.lead = np.full(count, -np.inf, np.float32)
        self.winner = np.zeros(count, np.int64)

    def enter(self, scores: NDArray[np.float32]) -> None:
        """The next candidates, scores (k, C), which it spoils."""
        early = self.early[self.entered : self.entered + len(scores)]
        scores[: len(early)] -= early
        scores[len(early) :] -= np.log(np.arange(self.entered + len(early), self.entered + len(scores)))[:, None]
        best = scores.argmax(0)
        leads = np.take_along_axis(scores, best[None], 0)[0]
        self.winner = np.where(leads > self.lead, best + self.entered, self.winner)
        self.lead = np.maximum(leads, self.lead)
        self.entered += len(scores)


@dataclass(frozen=True)
class _Deal:
    """`size` values dealt to `count` chunks, `rows` to each; the last row may lack some."""

    size: int
    count: int
    rows: int
    order: NDArray[np.int64]

    @classmethod
    def of(cls, size: int, count: int) -> "_Deal":
        stride = max(1, size * 618034 // 1000000)
        while math.gcd(stride, size) > 1:
            stride += 1
        return cls(size, count, -(-size // count), np.arange(size, dtype=np.int64) * stride % size)

    def out(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(size,) -> (rows, count), 0 where a chunk lacks one."""
        dealt = np.zeros(self.rows * self.count, np.float32)
        dealt[: self.size] = values[self.order]
        return dealt.reshape(self.rows, self.count)

    def back(self, dealt: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `out`."""
        values = np.empty(self.size, np.float32)
        values[self.order] = dealt.reshape(-1)[: self.size]
        return values

    def signs(self, seed: int, step: int) -> NDArray[np.float32]:
        """Random signs (rows, count)."""
        width = -(-self.rows * self.count // _LANES)
        values = noise.normal(seed, 2 * step + 1, 0, 0, 1, width, _LANES).reshape(-1)
        return np.sign(values[: self.rows * self.count]).reshape(self.rows, self.count)


def _candidates(seed: int, step: int, number: int, size: int, count: int) -> Iterator[NDArray[np.float32]]:
    """All candidates (number, size), in blocks of rows that bound memory."""
    height = max(1, _BLOCK // max(size, count))
    for row in range(0, number, height):
        yield _rows(seed, step, row, min(height, number - row), size)


def _rows(seed: int, step: int, row: int, height: int, size: int) -> NDArray[np.float32]:
    """Candidates row .. row + height - 1, (height, size)."""
    lanes = noise.normal(seed, 2 * step, row, 0, height, -(-size // _LANES), _LANES)
    return lanes.transpose(1, 0, 2).reshape(height, -1)[:, :size]
