"""Progressive distillation of a prior: a student learns to go in one DDIM step where its teacher goes in two.

    x_s = two steps of the teacher from x_t, by way of the middle in log-SNR        (Salimans and Ho 2022, algorithm 2)
    target = (x_1 + q x_2) / (1 + q),   q = exp(leap / 4)                 the x_0 by which one step arrives at x_s
    loss = max(SNR(t), 1) |target - x_0(x_t)|^2                           truncated SNR weighting, eq. 9

x_1 and x_2 are the teacher's estimates at t and in the middle, clamped as decoders clamp them: with x / sigma for the
state a DDIM step adds (rho_s - rho_t) x_0, rho = alpha / sigma = exp(log_snr / 2), hence the weights. A last step goes
to the picture itself, and its target is x_2. The prediction is of v or of whatever else the prior predicts; the loss
is of x_0, and the output keeps its meaning.

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

__all__ = ["FINEST", "LAST", "STARTS", "LeapLoss", "Leaps", "draw_leaps", "leap_target"]

FINEST: Final = 32
"""The most steps of the student's; two of the teacher's each."""
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
        """What the network is told: the length, or REACH, which stands for all the way, where it is the last."""
        return torch.where(self.last, REACH, self.length)


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
def leap_target(teacher: Prior, x_t: Tensor, leaps: Leaps) -> Tensor:
    """The x_0 (B, 3, H, W) by which a DDIM step from x_t arrives where two of the teacher's do."""
    half, first = leaps.length / 2, _estimate(teacher, x_t, leaps.log_snr, leaps.length / 2)
    middle = leaps.log_snr + half
    (alpha_t, sigma_t), (alpha_m, sigma_m) = levels(leaps.log_snr), levels(middle)
    x_m = alpha_m * first + sigma_m * ((x_t - alpha_t * first) / sigma_t)
    second = _estimate(teacher, x_m, middle, torch.where(leaps.last, REACH, half))
    share = torch.where(leaps.last, 1.0, torch.sigmoid(leaps.length / 4))[:, None, None, None]
    return torch.lerp(first, second, share)


def _estimate(network: Prior, x_t: Tensor, log_snr: Tensor, leap: Tensor) -> Tensor:
    return network.denoise(x_t, log_snr, leap).to(x_t.dtype).clamp(-1, 1)


class LeapLoss(nn.Module):
    """The student under its loss; the teacher is no part of the module."""

    def __init__(self, student: Prior, teacher: Prior) -> None:
        """Both take leaps."""
        super().__init__()
        self.student, self._teacher = student, [teacher]

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 8 -> scalars: loss, and the error in x_0 without weights."""
        leaps = draw_leaps(len(x), weights.sampling_steps, x.device)
        alpha, sigma = levels(leaps.log_snr)
        x_t = alpha * x + sigma * torch.randn_like(x)
        target = leap_target(self._teacher[0], x_t, leaps)
        x_0 = self.student.denoise(x_t, leaps.log_snr, leaps.leap).to(x.dtype)
        squares = (x_0 - target).square().mean((1, 2, 3))
        loss = leaps.log_snr.exp().clamp(min=1) * squares
        return {"loss": loss.mean(), "squares": squares.detach().mean()}
