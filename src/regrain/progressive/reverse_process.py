"""The reverse process that sender and receiver both follow: from noise towards the picture, one step of log-SNR a time.

    q(x_s | x_t, x_0) = N(A x_0 + B x_t, std^2),    p(x_s | x_t) = N(A x_hat + B x_t, std^2),    x_hat = denoise(x_t)
    x_s = A x_hat + B x_t + std z,    z ~ N(shift, I),    shift = A (x_0 - x_hat) / std

(Ho et al. 2020, https://arxiv.org/abs/2006.11239, algorithms 3 and 4, with eq. 7; Theis et al. 2022, DiffC,
https://arxiv.org/abs/2206.08889.) Both ends hold x_t and the denoiser, so both know p; a message says which z. Before
the first step there is no x_t: A = alpha_s, B = 0, x_hat = 0. Where the floats of two machines or backends differ, x
differs by as much and no more: nothing that is decoded from bytes depends on x.
Invariant: A^2 / std^2 is the SNR that the step gains. Images are float32 arrays (3, H, W), and
pictures are within [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import MOST_STEPS
from regrain.diffusion.sampler import leap_length, posterior
from regrain.diffusion.schedule import LogLinear
from regrain.diffusion.unconditional_config import HALO
from regrain.progressive.reverse_channel_coding import Message, receive
from regrain.tiles import Place, apply_in_windows

__all__ = [
    "LOG_SNR", "SCHEDULE", "SEED", "Denoiser", "Image", "Leaping", "Step", "Student", "estimate", "for_steps",
    "reverse_step", "steps",
]  # fmt: skip

Image = NDArray[np.float32]
SEED: Final = 0
"""Names the candidates: a part of the format."""

SCHEDULE: Final = LogLinear()
LOG_SNR: Final = (-4.0, 7.0)
"""Log-SNR after the first step and after the last."""
EARLY: Final = 2
"""The steps of 1 after the first step, which have little to send; the other steps are even."""
STUDENT_STEPS: Final = (2, 16)
"""The fewest and the most steps that a student takes. One step stays the prior's: the least squared error."""
WINDOW: Final = 512
"""Side of the squares in which the network runs, in pixels."""


class Denoiser(Protocol):
    """The network, on ONNX Runtime or on torch."""

    def denoise(self, x_t: Image, log_snr: float) -> Image:
        """The estimate of x_0 from x_t at a log-SNR, both (3, H, W), multiples of 8; not clamped."""


class Student(Protocol):
    """A network that was distilled for few steps, on ONNX Runtime or on torch."""

    def denoise(self, x_t: Image, log_snr: float, leap: float = 0.0) -> Image:
        """The x_0 by which one DDIM step that goes so far arrives where many would; as `Denoiser.denoise` else."""


@dataclass(frozen=True)
class Leaping:
    """A student as a denoiser of `sampler.descend` with this way and so many steps."""

    student: Student
    way: tuple[float, float]
    steps: int

    def denoise(self, x_t: Image, log_snr: float) -> Image:
        """What the step from this log-SNR needs."""
        return self.student.denoise(x_t, log_snr, leap_length(log_snr, self.way, self.steps))


def for_steps(denoiser: Denoiser, student: Student | None, way: tuple[float, float], steps: int) -> Denoiser:
    """The network for so many deterministic steps of first order along a way: the student where they are few."""
    few = student is not None and STUDENT_STEPS[0] <= steps <= STUDENT_STEPS[1]
    return Leaping(student, way, steps) if student is not None and few else denoiser


@dataclass(frozen=True)
class Step:
    """One step: the weights of x_hat and of x_t, the noise's deviation, and log-SNR before and after.

    There is no log-SNR before the first step: None.
    """

    picture_weight: float
    state_weight: float
    std: float
    log_snr_before: float | None
    log_snr_after: float

    @property
    def gain(self) -> float:
        """The shift of the noise for an error of 1 in the estimate."""
        return self.picture_weight / self.std


def steps(count: int) -> list[Step]:
    """The first `count` steps of a stream, 0 to MOST_STEPS."""
    low, high = LOG_SNR
    stride = (high - low - EARLY) / (MOST_STEPS - 1 - EARLY)
    grid = [low + min(k, EARLY) + stride * max(0, k - EARLY) for k in range(MOST_STEPS)]
    alpha, sigma = SCHEDULE.at(SCHEDULE.time(low))
    first = Step(alpha, 0.0, sigma, None, low)
    later = (Step(*posterior(SCHEDULE.time(t), SCHEDULE.time(s), SCHEDULE), t, s) for t, s in pairwise(grid))
    return [first, *later][:count]


def reverse_step(
    step: Step, number: int, x_hat: Image, x_t: Image, tiles: Sequence[Place], messages: Sequence[Message]
) -> Image:
    """x_s (3, H, W), after the messages of step `number`, one a tile."""
    z = np.empty(x_t.shape, np.float32)
    for index, (tile, message) in enumerate(zip(tiles, messages, strict=True)):
        part: Image = z[:, *tile]
        part[...] = receive(message, part.size, SEED, number * len(tiles) + index).reshape(part.shape)
    z *= step.std
    x_s: Image = step.picture_weight * x_hat + step.state_weight * x_t + z
    return x_s


def estimate(denoiser: Denoiser, x_t: Image, log_snr: float | None) -> Image:
    """The estimate x_hat in [-1, 1] from x_t (3, H, W), multiples of 8, window by window; 0 before the first step."""
    if log_snr is None:
        return np.zeros_like(x_t)
    return apply_in_windows(lambda part: denoiser.denoise(part, log_snr).clip(-1, 1), x_t, side=WINDOW, halo=HALO)
