"""Dithering against reverse channel coding: one step at many spreads, then whole walks in few steps or many.

    python experiments/progressive/dither.py

The first table has 2^18 shifts N(0, spread^2), and processor seconds there and back, all cores together. In the walks
the denoiser is the exact posterior mean: of values that are independent N(0, v), and of a field whose spectrum falls as
1 / f^2, as that of pictures does, with v on average.
"KL" is the channel's divergence, whose receiver knows the spread: log2(1 + spread^2) / 2 bits a value, but for what the
spread loses in a byte; more for a spread over 4, the most that a byte tells, as walks of few steps have it. Chunks of 8
and 10 bits take more by their overhead and less by what they fall short of (channel.py has both apart); dithering
falls short of nothing, and in walks the error tells.
"Ideal" is the information that the picture under Gaussian noise has of the picture, at the error that was reached:
what endlessly many steps take. Kurtosis is the excess of the noise that is left in x: 0 is Gaussian, -1.2 uniform.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dithering
import numpy as np

from regrain.diffusion.sampler import posterior
from regrain.progressive import reverse_channel_coding
from regrain.progressive.payload import pack
from regrain.progressive.reverse_process import SCHEDULE

SIZE, SPREADS = 2**18, (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
CROSSING = math.sqrt(4 ** (10 / 16) - 1)
"""The spread, 1.17, from which on 10 bits are fewer values than the 16 of a chunk: up to it chunks take fewer bits than
dithering, from there on they are of more bits than candidates suffice for."""
LOG_SNR = (-9.0, 7.0)
"""After the first step and after the last; the others are evenly between."""
SIDE, VARIANCE = 256, 0.05

Send = Callable[[np.ndarray, float, int], tuple[np.ndarray, float]]
"""(shift, its spread, number of the step) -> (the sample received, bits)."""


def reverse(shift: np.ndarray, spread: float, step: int, chunk_bits: float = 10.0) -> tuple[np.ndarray, float]:
    """By reverse channel coding: bits are those of the payload."""
    message = reverse_channel_coding.send(shift, 0, step, chunk_bits=chunk_bits)
    return reverse_channel_coding.receive(message, shift.size, 0, step), 8 * len(pack([message], 0))


def dithered(shift: np.ndarray, spread: float, step: int) -> tuple[np.ndarray, float]:
    """By dithering: bits are ideal ones."""
    symbols = dithering.send(shift, 0, step)
    return dithering.receive(symbols, 0, step), dithering.ideal_bits(symbols, dithering.nearest(spread), 0, step)


def cheaper(shift: np.ndarray, spread: float, step: int) -> tuple[np.ndarray, float]:
    """By chunks as far as they go, which take less (the first table), and from there on by dithering."""
    return (reverse if spread < CROSSING else dithered)(shift, spread, step)


WAYS: tuple[tuple[str, Send, tuple[int, ...]], ...] = (
    ("dithering", dithered, (2, 4, 8, 16, 32, 64)),
    ("the cheaper for each step", cheaper, (4, 8, 16)),
    ("chunks of 8 bits", partial(reverse, chunk_bits=8.0), (64,)),
    ("chunks of 10 bits", reverse, (64,)),
)


def steps_alone() -> None:
    """Print what one step costs, by its spread, in bits a value and in seconds."""
    print("| spread | KL | chunks of 8 bits | s | chunks of 10 bits | s | dithering | s |")
    print("|---|---|---|---|---|---|---|---|")
    unit = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    for spread in SPREADS:
        shift = np.float32(spread) * unit
        cells = [f"{spread:g}", f"{reverse_channel_coding.divergence(shift) / SIZE:.4f}"]
        for send in (partial(reverse, chunk_bits=8.0), reverse):
            cells += timed(send, shift, spread) if spread < CROSSING else ["too few values", ""]
        print(f"| {' | '.join([*cells, *timed(dithered, shift, spread)])} |", flush=True)


def timed(send: Send, shift: np.ndarray, spread: float) -> list[str]:
    """Bits a value, and processor seconds there and back."""
    start = time.process_time()
    bits = send(shift, spread, 0)[1]
    return [f"{bits / SIZE:.4f}", f"{time.process_time() - start:.2f}"]


@dataclass(frozen=True)
class Source:
    """A Gaussian field (SIDE, SIDE): `spectrum` has the variance of each of its Fourier coefficients."""

    name: str
    spectrum: np.ndarray

    def draw(self) -> np.ndarray:
        """x_0."""
        return filtered(np.random.default_rng(1).standard_normal((SIDE, SIDE)), np.sqrt(self.spectrum))

    def denoise(self, x_t: np.ndarray, log_snr: float) -> np.ndarray:
        """The posterior mean of x_0, which is Wiener's filter."""
        alpha, sigma = SCHEDULE.at(SCHEDULE.time_of(log_snr))
        return filtered(x_t, alpha * self.spectrum / (alpha**2 * self.spectrum + sigma**2))

    def error(self, log_snr: float) -> float:
        """Mean squared error of that estimate."""
        return float((self.spectrum / (1 + math.exp(log_snr) * self.spectrum)).mean())

    def ideal(self, error: float) -> float:
        """Information in bits a value at the log-SNR that leaves this error, found by bisection."""
        low, high = -20.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.error(middle) > error else (low, middle)
        return float(np.log2(1 + math.exp(low) * self.spectrum).mean() / 2)


def filtered(field: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`field` times a real, even `response`, frequency by frequency."""
    return np.fft.ifft2(np.fft.fft2(field) * response).real


def sources() -> list[Source]:
    """Independent values, and a field with the spectrum of pictures; the mean's frequency counts as 1."""
    frequency = np.fft.fftfreq(SIDE, 1 / SIDE)
    falling = 1 / np.maximum(1, frequency[:, None] ** 2 + frequency**2)
    white = np.full((SIDE, SIDE), VARIANCE)
    return [Source("independent values", white), Source("1 / f^2", VARIANCE * falling / falling.mean())]


def coefficients(before: float | None, after: float) -> tuple[float, float, float]:
    """The weights of x_0 and x_t and the deviation of a step from one log-SNR to another, as in `Step`."""
    if before is None:
        alpha, sigma = SCHEDULE.at(SCHEDULE.time_of(after))
        return alpha, 0.0, sigma
    return posterior(SCHEDULE.time_of(before), SCHEDULE.time_of(after), SCHEDULE)


def walked(source: Source, steps: int, send: Send) -> list[str]:
    """The cells of one walk: KL, bits, and what it arrived at."""
    x_0, x_t, divergence, bits = source.draw(), np.zeros((SIDE, SIDE)), 0.0, 0.0
    before, x_hat, spread = None, np.zeros((SIDE, SIDE)), math.sqrt(source.spectrum.mean())
    for step, after in enumerate(np.linspace(*LOG_SNR, steps).tolist()):
        picture, kept, std = coefficients(before, after)
        shift = (picture / std * (x_0 - x_hat)).astype(np.float32).reshape(-1)
        z, taken = send(shift, picture / std * spread, step)
        divergence, bits = divergence + reverse_channel_coding.divergence(shift) / x_0.size, bits + taken / x_0.size
        x_t = picture * x_hat + kept * x_t + std * z.reshape(x_0.shape)
        before, x_hat, spread = after, source.denoise(x_t, after), math.sqrt(source.error(after))
    error, alpha = float(np.square(x_0 - x_hat).mean()), SCHEDULE.at(SCHEDULE.time_of(LOG_SNR[1]))[0]
    rest = x_t - alpha * x_0
    kurtosis = float((rest**4).mean() / np.square(rest).mean() ** 2) - 3
    ideal = source.ideal(error)
    return [f"{divergence:.2f}", f"{bits:.2f}", f"{1e4 * error:.2f}", f"{bits / ideal:.2f}", f"{kurtosis:.2f}"]


def walks() -> None:
    """Print what whole walks cost."""
    for source in sources():
        least = source.error(LOG_SNR[1])
        print(f"\n{source.name}: ideal {source.ideal(least):.2f} bits a value, 10^4 MSE {1e4 * least:.2f}\n")
        print("| by | steps | sum of KL | bits a value | 10^4 MSE | bits, over ideal | kurtosis |")
        print("|---|---|---|---|---|---|---|")
        for name, send, counts in WAYS:
            for steps in counts:
                print(f"| {name} | {steps} | {' | '.join(walked(source, steps, send))} |", flush=True)


if __name__ == "__main__":
    steps_alone()
    walks()
