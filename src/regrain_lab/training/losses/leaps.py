"""Distillation of a prior: a student learns to go in one DDIM step where its teacher goes in several.

    x_s = n steps of the teacher from x_t, even in log-SNR                  (Salimans and Ho 2022, algorithm 2, n = 2)
    target = sum_i (rho_i - rho_i-1) x_i / (rho_n - rho_0)                the x_0 by which one step arrives at x_s
    loss = max(SNR(t), 1) |target - x_0(x_t)|^2                           truncated SNR weighting, eq. 9

x_1 to x_n are the teacher's estimates before each of its steps, clamped as decoders clamp them, and rho = alpha / sigma
= exp(log_snr / 2): a DDIM step adds (rho_i - rho_i-1) x_i to x / sigma. A last step goes to the picture itself, and its
target is x_n. The prediction is of v or of whatever else the prior predicts; the loss is of x_0, and the output keeps
its meaning.

Two methods name the teacher. Progressive: the student as it was before the stage, n = 2. Path: the same for steps
longer than LONG, which of eight only ways from noise have, and for others the prior itself, n such that where the
student takes `sampling_steps` it takes PATH. A student's own steps carry the errors of all stages before into the next,
which a stream shows that is finished; the prior's carry none, and cost n / 2 times as much.

Decoders start from any noise level, so that steps of one number have many lengths: the student is told the length of
its step, the leap. Of a stage whose `sampling_steps` is N half the pictures stand on grids of N steps, the others on
grids of 2 N, 4 N ... FINEST, which the student thereby keeps. WHOLE of the grids lead from noise to the picture, as in
sampling, the others from a log-SNR within STARTS to LAST, as where a cut stream or a worn picture is finished.
"""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import REACH
from regrain_lab.training.losses.codec import StageWeights

__all__ = ["FINEST", "LAST", "LONG", "PATH", "STARTS", "LeapLoss", "Leaps", "draw_leaps", "leap_target"]

FINEST: Final = 32
"""The most steps of the student's."""
PATH: Final = 64
"""Steps of the prior's from noise to the picture, by the method "path"."""
LONG: Final = 1.5
"""In log-SNR."""
WHOLE: Final = 0.5
STARTS: Final = (-4.0, 6.5)
LAST: Final = 7.0


class Leaps(NamedTuple):
    """One step of each picture, all (B,): log-SNR before it, how far it goes, and 1 where it is the last of its grid.

    The last one goes to the picture; its `length` is what lies between the steps of its grid.
    """

    log_snr: Tensor
    length: Tensor
    last: Tensor

    @property
    def leap(self) -> Tensor:
        """What the network reads: the length, or REACH, which stands for all the way, where it is the last."""
        return torch.where(self.last, REACH, self.length)

    def select(self, places: Tensor) -> "Leaps":
        """Those of some pictures, by a mask (B,)."""
        return Leaps(*(values[places] for values in self))


def draw_leaps(count: int, steps: int, device: torch.device) -> Leaps:
    """So many steps at random, half of them of grids of `steps`."""
    coarse, whole, start, place = torch.rand(4, count, device=device)
    doublings = max(0, int(math.log2(FINEST / steps)))
    number = torch.where(coarse < 0.5, 0, torch.randint(0, doublings + 1, (count,), device=device))
    steps_of = steps * 2.0**number
    first = torch.where(whole < WHOLE, -REACH, STARTS[0] + (STARTS[1] - STARTS[0]) * start)
    end = torch.where(whole < WHOLE, REACH, LAST)
    length, index = (end - first) / steps_of, (place * steps_of).floor()
    return Leaps(first + index * length, length, index == steps_of - 1)


@torch.no_grad()
def leap_target(teacher: Prior, x_t: Tensor, leaps: Leaps, count: int = 2) -> Tensor:
    """The x_0 (B, 3, H, W) by which a DDIM step from x_t arrives where `count` of the teacher's do."""
    part, log_snr = leaps.length / count, leaps.log_snr
    target, ratio, start = torch.zeros_like(x_t), _ratio(log_snr), _ratio(log_snr)
    for number in range(1, count + 1):
        ends = leaps.last & (number == count)
        estimate = _estimate(teacher, x_t, log_snr, torch.where(ends, REACH, part))
        after = _ratio(log_snr + part)
        target = torch.lerp(target, estimate, torch.where(_wide(ends), 1.0, (after - ratio) / (after - start)))
        (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(log_snr), levels(log_snr + part)
        x_t = alpha_s * estimate + sigma_s * ((x_t - alpha_t * estimate) / sigma_t)
        log_snr, ratio = log_snr + part, after
    return target


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _ratio(log_snr: Tensor) -> Tensor:
    """alpha / sigma, (B, 1, 1, 1)."""
    return _wide((log_snr / 2).exp())


def _estimate(network: Prior, x_t: Tensor, log_snr: Tensor, leap: Tensor) -> Tensor:
    return network.denoise(x_t, log_snr, leap).to(x_t.dtype).clamp(-1, 1)


class LeapLoss(nn.Module):
    """The student under its loss; its teachers are no part of the module."""

    def __init__(self, student: Prior, teacher: Prior, prior: Prior | None = None) -> None:
        """All take leaps; the prior, which does not heed them, is what the method "path" needs."""
        super().__init__()
        self.student, self._teachers = student, (teacher, prior)

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 8 -> scalars: loss, and the error in x_0 without weights."""
        leaps = draw_leaps(len(x), weights.sampling_steps, x.device)
        alpha, sigma = levels(leaps.log_snr)
        x_t = alpha * x + sigma * torch.randn_like(x)
        target = self.target(x_t, leaps, weights)
        x_0 = self.student.denoise(x_t, leaps.log_snr, leaps.leap).to(x.dtype)
        squares = (x_0 - target).square().mean((1, 2, 3))
        loss = leaps.log_snr.exp().clamp(min=1) * squares
        return {"loss": loss.mean(), "squares": squares.detach().mean()}

    def target(self, x_t: Tensor, leaps: Leaps, weights: StageWeights) -> Tensor:
        """What the student is to say, (B, 3, H, W), by the stage's method."""
        teacher, prior = self._teachers
        if prior is None or weights.method != "path":
            return leap_target(teacher, x_t, leaps)
        target, long = torch.empty_like(x_t), leaps.length > LONG
        for places, network, count in ((long, teacher, 2), (~long, prior, max(1, PATH // weights.sampling_steps))):
            if places.any():
                target[places] = leap_target(network, x_t[places], leaps.select(places), count)
        return target
