"""Reverse channel coding: a sample of N(shift, I) as the number of one of the candidates that both ends can draw.

    i = argmax_k  z_k . shift - |z_k|^2 (1 - 1 / r) / 2 - log S_k,    z_k ~ N(0, r I),  r = 1 + spread^2
    S_k = e_1 + ... + e_k,    e_k ~ Exp(1)

The first terms are the log-ratio of what is wanted to what the receiver expects, who is told the spread of the shift: a
sample has so much more variance. S are the arrivals of a Poisson process (Poisson functional representation, Li and El
Gamal 2018), of which the first N are looked at (ordered random coding, Theis and Yosri 2022). The number takes about
K + log2(K + 1) + 1 bits, where K = log2(r) / 2 bits a value is the KL divergence, and work grows as 2^K: so the shift
is dealt into chunks of a few bits each.

Chunk c takes every C-th place of a fixed scattered order, so that all chunks are alike and their count C is all that
the receiver is told. All share one set of candidates, each chunk turning signs of its own: scores are a matrix product.
Candidates are the windows of one line of noise, z_k[j] = line[k + j], so that drawing them costs nothing: two of them
have no value at the same place in common, and signs make the shift white.
Invariants: what is received for a chunk follows N(shift, I) as far as candidates suffice (`send`); it is the same on
every machine, since it depends on integers alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from regrain.diffusion import noise
from regrain.errors import UsageError

__all__ = ["CANDIDATES_MOST", "Message", "chunks_most", "divergence", "receive", "send"]

CHUNK_BITS: Final = 10.0
"""KL divergence of a chunk in bits: work grows as 2 to the power of it, the overhead shrinks slowly."""
MARGIN: Final = 1.75
"""Standard deviations of log-ratio, beyond its mean K, that candidates are there for."""
VALUES_LEAST: Final = 16
"""Values of a chunk."""
CANDIDATES_MOST: Final = 16
"""log2 of the number of candidates."""
CANDIDATES_TRIED: Final = 14
"""The same, of those that `send` looks at: 16 cost four times the work and save one byte in a hundred."""
SPREAD_UNIT, SPREAD_MOST = 64, 255
"""A spread is told in this part of the noise's deviation, in a byte."""
_EXACT: Final = 1024
"""Arrivals drawn at random; after so many, S_k is k but for some 3 %."""
_LONG: Final = 4096
"""Values of a chunk from which on scores are a correlation."""
_TOGETHER: Final = 2**24
"""Scores that are held at once: some hundred megabytes with what makes them."""
_BLOCK: Final = 2**23
_LANES: Final = noise.CHANNELS_MAX


@dataclass(frozen=True)
class Message:
    """What the receiver is told: log2 of the number of candidates, their spread, and the one chosen for each chunk.

    `chosen` is int64 (C,), each from 0 to 2^candidates - 2; `spread` is in 1 / 64. Raises UsageError for candidates
    outside 1 .. 16 and a spread outside 0 .. 255.
    """

    candidates: int
    chosen: NDArray[np.int64]
    spread: int = 0

    def __post_init__(self) -> None:
        """Hold the ranges above."""
        if not 1 <= self.candidates <= CANDIDATES_MOST:
            raise UsageError(f"2^{self.candidates} candidates: 2^1 to 2^{CANDIDATES_MOST} are allowed")
        if not 0 <= self.spread <= SPREAD_MOST:
            raise UsageError(f"spread {self.spread}: 0 to {SPREAD_MOST} are allowed")
        last = 2**self.candidates - 2
        if self.chosen.ndim != 1 or not self.chosen.size or not 0 <= self.chosen.min() <= self.chosen.max() <= last:
            raise UsageError(f"numbers of candidates: one or more from 0 to {last} are allowed")


def chunks_most(size: int) -> int:
    """Chunks that `size` values are dealt to at most: 16 values each, so that no message takes for ever."""
    return -(-size // VALUES_LEAST)


def divergence(shift: NDArray[np.float32]) -> float:
    """KL(N(shift, I) || N(0, r I)) in bits, at the spread that is told: what an ideal code would take."""
    ratio, square = _ratio(_spread(shift)), float(np.square(shift, dtype=np.float64).sum())
    return (shift.size * (1 / ratio - 1 + math.log(ratio)) + square / ratio) / (2 * math.log(2))


def _spread(shift: NDArray[np.float32]) -> int:
    """The deviation of a shift about 0 as it is told."""
    deviation = math.sqrt(np.square(shift, dtype=np.float64).mean()) if shift.size else 0.0
    return min(SPREAD_MOST, round(SPREAD_UNIT * deviation)) if math.isfinite(deviation) else SPREAD_MOST


def _ratio(spread: int) -> float:
    """r, the variance of candidates."""
    return 1 + (spread / SPREAD_UNIT) ** 2


def send(shift: NDArray[np.float32], seed: int, step: int, *, chunk_bits: float = CHUNK_BITS) -> Message:
    """Choose a sample of N(shift, I), shift (D,) float32, from the noise that (seed, step) names; seed and step from 0.

    `chunk_bits` > 0 is the KL divergence of a chunk. Candidates end at 2^14: with more than 6 bits a
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
    spread = _spread(shift)
    for scores in _scores(_line(seed, 2 * step, 2**candidates - 2 + len(wanted)), wanted, _ratio(spread)):
        race.enter(scores)
    return Message(candidates, race.winner, spread)


def receive(message: Message, size: int, seed: int, step: int) -> NDArray[np.float32]:
    """The sample (size,) float32 that a message names. Raises UsageError for more chunks than `chunks_most(size)`."""
    count = message.chosen.size
    if count > chunks_most(size):
        raise UsageError(f"{count} chunks of {size} values: {chunks_most(size)} at most are allowed")
    deal = _Deal.of(size, count)
    line = _line(seed, 2 * step, int(message.chosen.max()) + deal.rows)
    line *= np.float32(math.sqrt(_ratio(message.spread)))
    return deal.back(sliding_window_view(line, deal.rows)[message.chosen].T * deal.signs(seed, step))


def _plan(size: int, bits: float, chunk_bits: float) -> tuple[int, int]:
    """Chunks, and log2 of their candidates."""
    count = min(chunks_most(size), max(1, math.ceil(bits / chunk_bits)))
    return count, _enough(bits / count)


def _enough(bits: float) -> int:
    """log2 of the candidates that a chunk of so many bits needs: its log-ratio has variance 2 bits / ln 2 at most."""
    return min(CANDIDATES_TRIED, math.ceil(bits + MARGIN * math.sqrt(2 * bits / math.log(2)) + 1))


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
        return np.sign(_line(seed, 2 * step + 1, self.rows * self.count)).reshape(self.rows, self.count)


def _scores(line: NDArray[np.float32], wanted: NDArray[np.float32], ratio: float) -> Iterator[NDArray[np.float32]]:
    """The log-ratio, but for a constant, of every window of the line in every chunk, (k, C), block by block.

    The line is of variance 1, wanted (rows, C). A product of matrices, or where windows are long and chunks few a
    correlation, by the convolution theorem.
    """
    rows, count = wanted.shape
    last = line.size - rows + 1
    wanted = wanted * np.float32(math.sqrt(ratio))
    squares = np.concatenate([[0.0], np.square(line, dtype=np.float64).cumsum()])
    less = ((squares[rows:] - squares[:-rows]) * (ratio - 1) / 2).astype(np.float32)[:, None]
    if rows > _LONG and count * line.size <= _TOGETHER:
        size = 1 << (line.size - 1).bit_length()
        spectrum = np.fft.rfft(line, size) * np.fft.rfft(wanted.T, size).conj()
        yield np.fft.irfft(spectrum, size)[:, :last].T.astype(np.float32) - less
        return
    height = max(1, _BLOCK // max(rows, count))
    for first in range(0, last, height):
        part = line[first : min(first + height, last) - 1 + rows]
        yield np.ascontiguousarray(sliding_window_view(part, rows)) @ wanted - less[first : first + height]


def _line(seed: int, step: int, length: int) -> NDArray[np.float32]:
    """The first values of a row of noise, (length,): the channels of a pixel, then those of the next."""
    values: NDArray[np.float32] = noise.normal(seed, step, 0, 0, 1, -(-length // _LANES), _LANES)[:, 0].T.reshape(-1)
    return values[:length]
