"""A schedule that is learned: the log-SNR as a monotone network of time (Kingma et al. 2021, appendix H).

    log_snr(t) = high + (low - high) u(t)       u(t) = (g(t) - g(0)) / (g(1) - g(0))
    g(t) = t + w_3 . sigmoid(w_2 (2 t - 1) + b_2)                     w_2, w_3 > 0: g rises with t

Between fixed ends the bound does not depend on u (the same, section 5.1), only the variance of its estimate at random
times does: u learns on the square of the loss, whose mean is the variance and a constant (appendix I.2). The ends do
change the bound, and learn on it. All gradients come from one backward pass of the network that denoises: of a picture
at log-SNR l and slope l' it leaves dL/dl and dL/dl', in which those of the schedule are linear.
"""

import math
from typing import Final, cast

import torch
from torch import Tensor, nn

from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import REACH, Schedule, Time
from regrain_lab.evaluation.likelihood import decoder_bits
from regrain_lab.training.losses.prior import EPS_GAINS, prediction_error
from regrain_lab.training.recipe import LossConfig

__all__ = ["Learned", "MonotoneLogSnr", "ScheduleLoss", "continuous_bits"]

HIDDEN: Final = 1024
UNIT: Final = 10.0
"""The ends move in units of so many nats, as Adam moves every parameter by its learning rate."""


class MonotoneLogSnr(nn.Module):
    """t in [0, 1] -> log-SNR, falling; it starts near the schedule "log-linear"."""

    def __init__(self, *, free_ends: bool) -> None:
        """Build untrained; `free_ends` lets both ends learn."""
        super().__init__()
        self.ends = nn.Parameter(torch.tensor([REACH, -REACH]) / UNIT, requires_grad=free_ends)
        slope, centre = torch.linspace(3.0, 9.0, HIDDEN), 1.5 * (2 * torch.rand(HIDDEN) - 1)
        self.slope, self.offset = nn.Parameter(slope), nn.Parameter(-slope * centre)
        self.weight = nn.Parameter(torch.full((HIDDEN,), -math.log(HIDDEN)))

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log-SNR and its slope at t (B,), (B,) each: u takes its gradient apart from the ends."""
        high, low = self.ends * UNIT
        u, slope = self._share(t)
        return high + (low - high) * u, (low - high) * slope

    def parts(self, t: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The same twice: with a gradient to u alone, and with one to the ends alone."""
        high, low = self.ends * UNIT
        u, slope = self._share(t)
        fixed = (low - high).detach()
        inside = high.detach() + fixed * u, fixed * slope
        return inside, (high + (low - high) * u.detach(), (low - high) * slope.detach())

    def _share(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(t), from 0 to 1, and its slope."""
        ends, _ = self._rise(t.new_tensor([0.0, 1.0]))
        height, slope = self._rise(t)
        return (height - ends[0]) / (ends[1] - ends[0]), slope / (ends[1] - ends[0])

    def _rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g(t) and its slope."""
        slope, weight = nn.functional.softplus(self.slope), nn.functional.softplus(self.weight)
        bump = torch.sigmoid(slope * (2 * t[:, None] - 1) + self.offset)
        return t + bump @ weight, 1 + (bump * (1 - bump)) @ (2 * slope * weight)


class Learned(Schedule):
    """The learned log-SNR as a schedule of the house."""

    def __init__(self, network: MonotoneLogSnr) -> None:
        """Take the network as it is, in double precision."""
        self.network = network.double()

    @torch.no_grad()
    def _log_snr(self, t: Time) -> Time:
        many = torch.as_tensor(t, dtype=torch.float64)
        log_snr = self.network(many.reshape(-1))[0].reshape(many.shape)
        return float(log_snr) if isinstance(t, float) else cast(Time, log_snr.to(t.dtype))


def continuous_bits(prior: Prior, x: Tensor, log_snr: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """One draw of the diffusion part of the bound, bits a value, and of the simple loss, for x (B, 3, H, W); (B,) each.

    -slope |eps - eps_hat|^2 / 2, with times even in t (Kingma et al. 2021, eq. 17). The simple loss is weighed by the
    slope, too, so that its mean is the same under every schedule.
    """
    error, _ = prediction_error(prior, x, torch.randn_like(x), log_snr)
    simple = -slope * error.mean((1, 2, 3)) / (2 * REACH)
    return simple * EPS_GAINS[prior.prediction](log_snr) * (REACH / math.log(2)), simple


class ScheduleLoss(nn.Module):
    """The prior and its schedule under their losses."""

    def __init__(self, prior: Prior, schedule: MonotoneLogSnr, config: LossConfig) -> None:
        """Take the share of the simple loss from `config`."""
        super().__init__()
        self.prior, self.schedule, self.config = prior, schedule, config

    def backward(self, x: Tensor, *, precise: bool = False) -> float:
        """Leave all gradients for x (B, 3, H, W); returns the estimate of the bound's diffusion part, bits a value.

        `precise` computes in float32 throughout.
        """
        count = len(x)
        t = (torch.rand(()) + torch.arange(count) / count) % 1
        inside, outside = self.schedule.parts(t)
        log_snr, slope = (values.detach().requires_grad_() for values in inside)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not precise):
            bits, simple = continuous_bits(self.prior, x, log_snr, slope)
        loss = bits + self.config.simple_weight * simple
        loss.mean().backward()
        by_level, by_slope = (values.grad for values in (log_snr, slope))
        (2 * loss.detach() * (by_level * inside[0] + by_slope * inside[1])).sum().backward()
        if self.schedule.ends.requires_grad:
            ((by_level * outside[0] + by_slope * outside[1]).sum() + end_bits(x, *self.schedule.ends * UNIT)).backward()
        return float(bits.detach().mean())


def end_bits(x: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """Prior and decoder of the bound, bits a value, a scalar: the decoder reads the picture off x_0's noisy state.

    The outermost levels, whose bins are open, count as their neighbours: their borders have no gradient.
    """
    alpha, sigma = levels(low[None])
    variance = sigma.square()
    prior = (variance - 1 - variance.log() + (alpha * x).square()).mean() / math.log(4)
    alpha, sigma = levels(high[None])
    std, x = sigma / alpha, x.clamp(2 / 255 - 1, 1 - 2 / 255)
    return prior + decoder_bits(x, x + std * torch.randn_like(x), std.square()).sum() / x.numel()
