"""Reverse channel coding: sends a sample of N(shift, I) as the number of one of the candidates that both ends can draw.

    i = argmax_k  z_k . shift - |z_k|^2 (1 - 1 / r) / 2 - log S_k,    z_k ~ N(0, r I),  r = 1 + spread^2
    S_k = e_1 + ... + e_k,    e_k ~ Exp(1)

The first two terms are the log-ratio of the density the sender wants to the density the receiver expects. The message
gives the receiver the spread of the shift: a sample has that much more variance. S are the arrivals of a Poisson
process (Poisson functional representation, Li and El Gamal 2018, https://arxiv.org/abs/1701.02827); the sender looks at
the first N of them (ordered random coding, Theis and Yosri 2022, https://arxiv.org/abs/2110.12805). The number takes
about K + log2(K + 1) + 1 bits, where K = log2(r) / 2 bits a value is the KL divergence. The work grows as 2^K, so the
shift is divided into chunks of a few bits each.

Chunk c takes every C-th place of a fixed scattered order. All chunks are therefore alike, and the receiver needs their
count C alone. All chunks share one set of candidates, and each chunk turns the signs in its own way: the scores are a
matrix product. Candidates are the windows of one sequence of noise, z_k[j] = sequence[k + j], so that drawing them
costs nothing. Two candidates never have the same value at the same place, and the signs make the shift white.
Invariants: the sample received for a chunk follows N(shift, I) as far as candidates suffice (`send`). It is the same on
every machine and with every backend, since it depends on integers alone.
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
"""KL divergence of a chunk in bits. The work grows as 2 to this power, and the overhead shrinks slowly."""
MARGIN: Final = 1.75
"""Standard deviations of the log-ratio, 2 K / ln 2 at most squared, beyond its mean K, for which candidates are."""
VALUES_LEAST: Final = 16
"""Values that a chunk has at least."""
CANDIDATES_MOST: Final = 16
"""log2 of the number of candidates that a message may have at most."""
CANDIDATES_TRIED: Final = 14
"""log2 of the candidates that `send` looks at: 16 would cost four times the work and save one byte in a hundred."""
SPREAD_UNIT, SPREAD_MOST = 64, 255
"""A message gives the spread as a byte, in units of 1 / 64 of the noise's deviation."""
_EXACT: Final = 1024
"""Arrivals drawn at random. After so many, S_k is k to within 3 %."""
_LONG: Final = 4096
"""Values of a chunk from which on the scores are computed as a correlation."""
_TOGETHER: Final = 2**24
"""Scores held at once: some hundred megabytes, counting the arrays they are made from."""
_BLOCK: Final = 2**23
_LANES: Final = noise.CHANNELS_MAX


@dataclass(frozen=True)
class Message:
    """The receiver's information: log2 of the number of candidates, one candidate's index a chunk, and the spread.

    `indices` is int64 (C,), each from 0 to 2^candidates - 2; `spread` is in units of 1 / 64. Raises UsageError for
    candidates outside 1 .. 16 and a spread outside 0 .. 255.
    """

    candidates: int
    indices: NDArray[np.int64]
    spread: int = 0

    def __post_init__(self) -> None:
        """Check the ranges above."""
        if not 1 <= self.candidates <= CANDIDATES_MOST:
            raise UsageError(f"2^{self.candidates} candidates: 2^1 to 2^{CANDIDATES_MOST} are allowed")
        if not 0 <= self.spread <= SPREAD_MOST:
            raise UsageError(f"spread {self.spread}: 0 to {SPREAD_MOST} are allowed")
        last = 2**self.candidates - 2
        if self.indices.ndim != 1 or not self.indices.size or not 0 <= self.indices.min() <= self.indices.max() <= last:
            raise UsageError(f"numbers of candidates: one or more from 0 to {last} are allowed")


def chunks_most(size: int) -> int:
    """The most chunks that `size` values may be divided into: chunks have 16 values, so no message takes for ever."""
    return -(-size // VALUES_LEAST)


def divergence(shift: NDArray[np.float32]) -> float:
    """KL(N(shift, I) || N(0, r I)) in bits, at the spread that the message gives: the cost of an ideal code."""
    ratio, square = _variance(_spread(shift)), float(np.square(shift, dtype=np.float64).sum())
    return (shift.size * (1 / ratio - 1 + math.log(ratio)) + square / ratio) / (2 * math.log(2))


def _spread(shift: NDArray[np.float32]) -> int:
    """The deviation of a shift about 0, as a message gives it."""
    deviation = math.sqrt(np.square(shift, dtype=np.float64).mean()) if shift.size else 0.0
    return min(SPREAD_MOST, round(SPREAD_UNIT * deviation)) if math.isfinite(deviation) else SPREAD_MOST


def _variance(spread: int) -> float:
    """r, the variance of candidates."""
    return 1 + (spread / SPREAD_UNIT) ** 2


def send(shift: NDArray[np.float32], seed: int, step: int, *, chunk_bits: float = CHUNK_BITS) -> Message:
    """Choose a sample of N(shift, I), shift (D,) float32, from the noise that (seed, step) names; seed and step from 0.

    `chunk_bits` > 0 is the KL divergence of a chunk. Candidates end at 2^14: with more than 6 bits a chunk the sample
    falls short of its shift. Deterministic. Raises UsageError for an empty shift or one that is not finite.
    """
    bits = divergence(shift)
    if not shift.size or not math.isfinite(bits):
        raise UsageError(f"a shift of {shift.size} values and {bits} bits: one or more finite values are allowed")
    count = min(chunks_most(shift.size), max(1, math.ceil(bits / chunk_bits)))
    chunk = bits / count
    candidates = min(CANDIDATES_TRIED, math.ceil(chunk + MARGIN * math.sqrt(2 * chunk / math.log(2)) + 1))
    chunking = _Chunking.of(shift.size, count)
    target = chunking.split(shift) * chunking.signs(seed, step)
    argmax = _PoissonArgmax(count, np.random.default_rng((seed, step)))
    spread = _spread(shift)
    sequence = _noise_sequence(seed, 2 * step, 2**candidates - 2 + len(target))
    for scores in _scores(sequence, target, _variance(spread)):
        argmax.update(scores)
    return Message(candidates, argmax.winner, spread)


def receive(message: Message, size: int, seed: int, step: int) -> NDArray[np.float32]:
    """The sample (size,) float32 that a message names, which has at most `chunks_most(size)` chunks."""
    chunking = _Chunking.of(size, message.indices.size)
    sequence = _noise_sequence(seed, 2 * step, int(message.indices.max()) + chunking.rows)
    sequence *= np.float32(math.sqrt(_variance(message.spread)))
    candidates = sliding_window_view(sequence, chunking.rows)[message.indices]
    return chunking.join(candidates.T * chunking.signs(seed, step))


class _PoissonArgmax:
    """The argmax of score - log S over arrivals in order, for each chunk. `winner` is int64 (C,)."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.log_arrivals = np.log(random.standard_exponential((_EXACT, count), np.float32).cumsum(0))
        self.total = 0
        self.best = np.full(count, -np.inf, np.float32)
        self.winner = np.zeros(count, np.int64)

    def update(self, scores: NDArray[np.float32]) -> None:
        """Take the next candidates, scores (k, C); this overwrites them."""
        exact = self.log_arrivals[self.total : self.total + len(scores)]
        scores[: len(exact)] -= exact
        scores[len(exact) :] -= np.log(np.arange(self.total + len(exact), self.total + len(scores)))[:, None]
        place = scores.argmax(0)
        best = np.take_along_axis(scores, place[None], 0)[0]
        self.winner = np.where(best > self.best, place + self.total, self.winner)
        self.best = np.maximum(best, self.best)
        self.total += len(scores)


@dataclass(frozen=True)
class _Chunking:
    """The division of `size` values into `count` chunks of `rows` values each; the last row may lack some."""

    size: int
    count: int
    rows: int
    order: NDArray[np.int64]

    @classmethod
    def of(cls, size: int, count: int) -> "_Chunking":
        stride = max(1, size * 618034 // 1000000)
        while math.gcd(stride, size) > 1:
            stride += 1
        return cls(size, count, -(-size // count), np.arange(size, dtype=np.int64) * stride % size)

    def split(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(size,) -> (rows, count), with 0 where a chunk lacks a value."""
        return np.pad(values[self.order], (0, self.rows * self.count - self.size)).reshape(self.rows, self.count)

    def join(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `split`."""
        values = np.empty(self.size, np.float32)
        values[self.order] = chunks.reshape(-1)[: self.size]
        return values

    def signs(self, seed: int, step: int) -> NDArray[np.float32]:
        """Random signs (rows, count)."""
        return np.sign(_noise_sequence(seed, 2 * step + 1, self.rows * self.count)).reshape(self.rows, self.count)


def _scores(sequence: NDArray[np.float32], target: NDArray[np.float32], ratio: float) -> Iterator[NDArray[np.float32]]:
    """The log-ratio, up to a constant, of every window of the sequence in every chunk, (k, C), block by block.

    The sequence has variance 1, target is (rows, C). The scores are a product of matrices, or, where windows are long
    and chunks few, a correlation by the convolution theorem.
    """
    rows, count = target.shape
    last = sequence.size - rows + 1
    target = target * np.float32(math.sqrt(ratio))
    squares = np.concatenate([[0.0], np.square(sequence, dtype=np.float64).cumsum()])
    less = ((squares[rows:] - squares[:-rows]) * (ratio - 1) / 2).astype(np.float32)[:, None]
    if rows > _LONG and count * sequence.size <= _TOGETHER:
        size = 1 << (sequence.size - 1).bit_length()
        spectrum = np.fft.rfft(sequence, size) * np.fft.rfft(target.T, size).conj()
        yield np.fft.irfft(spectrum, size)[:, :last].T.astype(np.float32) - less
        return
    height = max(1, _BLOCK // max(rows, count))
    for first in range(0, last, height):
        part = sequence[first : min(first + height, last) - 1 + rows]
        yield np.ascontiguousarray(sliding_window_view(part, rows)) @ target - less[first : first + height]


def _noise_sequence(seed: int, step: int, length: int) -> NDArray[np.float32]:
    """The first values of a row of noise, (length,): the channels of a pixel, then those of the next."""
    values: NDArray[np.float32] = noise.normal(seed, step, 0, 0, 1, -(-length // _LANES), _LANES)[:, 0].T.reshape(-1)
    return values[:length]
