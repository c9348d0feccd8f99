"""The loss of the unconditional prior: its variational bound in bits, and a simple loss beside it.

    bits a value = 1 / (2 ln 2) int E|eps - eps_hat|^2 d log_snr        (Kingma et al. 2021, eq. 17, any schedule)

so that noise levels drawn evenly in log-SNR, -REACH to REACH, give the bound without weights, and eps - eps_hat =
alpha_t (v_hat - v). The bound says nearly nothing of what is large in a picture, since that takes few bits: L_simple
(Ho et al. 2020, eq. 14) takes the prediction as it is (v: Salimans and Ho 2022), at every level alike.

Times drawn evenly in another schedule train on L_simple alone, and the bound is then that of its steps t -> s,

    nats a value = STEPS E[r - 1 - ln r + r (SNR(s) / SNR(t) - 1) |eps - eps_hat|^2] / 2,   s = t - 1 / STEPS

which is the step of the bound, with r = (sigma_s / sigma_t)^(2 nu) and nu = 0 unless it is learned. A learned one adds
vlb_weight times this, in bits, to the loss (Nichol and Dhariwal 2021, eq. 16); no gradient goes through eps_hat there.
Steps are cut where the log-SNR is beyond REACH: what is left there is under a level of 8 bits. For L_0 the same formula
stands, with its end at REACH, and L_T, which no network changes, is left out.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from regrain.diffusion.parametrize import Prediction, target
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import REACH, STEPS, LogLinear, Schedule, get
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.recipe import LossConfig

__all__ = ["EPS_GAINS", "LatentLoss", "PriorLoss", "prediction_error"]

EPS_GAINS: Final[dict[Prediction, Callable[[Tensor], Tensor]]] = {
    "x0": Tensor.exp,
    "eps": torch.ones_like,
    "v": Tensor.sigmoid,
}
"""(d eps / d prediction)^2 at fixed x_t, of the log-SNR."""


class PriorLoss(nn.Module):
    """The prior under its loss; times are even in the loss's `schedule`."""

    def __init__(self, prior: Prior, config: LossConfig) -> None:
        """Take the shares of the simple loss and of the bound from `config`."""
        super().__init__()
        self.prior, self.config, self.schedule = prior, config, get(config.schedule)

    def forward(self, x: Tensor, _weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 8 -> scalars: loss, and the bound's estimate in bits a value.

        The times of a batch are spread evenly, from one random start: less noise in the sum.
        """
        count = x.shape[0]
        t = 1 - (torch.rand((), device=x.device) + torch.arange(count, device=x.device) / count) % 1
        log_snr = self.schedule.log_snr(t)
        error, nu = prediction_error(self.prior, x, torch.randn_like(x), log_snr)
        simple, gain = error.mean((1, 2, 3)), EPS_GAINS[self.prior.prediction](log_snr)
        step_bits = _step_bits(gain[:, None, None, None] * error.detach(), nu, t, self.schedule)
        loss, bits = simple, step_bits
        if isinstance(self.schedule, LogLinear):
            bits = simple * gain * (REACH / math.log(2))
            loss = bits + self.config.simple_weight * simple
        if self.prior.config.learned_variance:
            loss = loss + self.config.vlb_weight * step_bits
        return {"loss": loss.mean(), "bits": bits.detach().mean()}


class LatentLoss(nn.Module):
    """A loss of latents as one of pictures."""

    def __init__(self, loss: nn.Module, encode: Callable[[Tensor], Tensor]) -> None:
        """`encode` is (B, 3, H, W) -> latents, without gradients."""
        super().__init__()
        self.inner, self.encode = loss, encode

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """The loss of x in latents."""
        scalars: dict[str, Tensor] = self.inner(self.encode(x), weights)
        return scalars


def prediction_error(prior: Prior, x: Tensor, eps: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of the prediction, and nu: (B, 3, H, W) both, as x and eps; log_snr (B,)."""
    alpha, sigma = levels(log_snr)
    output, nu = prior.with_fraction(alpha * x + sigma * eps, log_snr)
    error = output.to(x.dtype) - target(prior.prediction, x, eps, alpha, sigma)
    return error.square(), nu.to(x.dtype)


def _step_bits(eps_error: Tensor, nu: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The bound by its steps in bits a value, (B,), from the cost of a step from each t; `eps_error` is squared."""
    times = torch.stack([t, (t - 1 / STEPS).clamp(min=0)])[..., None, None, None]
    before, after = schedule.log_snr(times).clamp(-REACH, REACH)
    log_r = nu * (nn.functional.logsigmoid(-after) - nn.functional.logsigmoid(-before))
    nats: Tensor = (log_r.expm1() - log_r + log_r.exp() * (after - before).expm1() * eps_error) / 2
    return nats.mean((1, 2, 3)) * (STEPS / math.log(2))
