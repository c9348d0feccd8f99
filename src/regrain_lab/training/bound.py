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
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from regrain.diffusion.parametrize import Prediction, target
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import REACH, STEPS, LogLinear, Schedule, get
from regrain_lab.training.config import LossConfig
from regrain_lab.training.objective import Rules

__all__ = ["Objective", "Row", "validate"]

LEVELS: Final = 20
BATCH: Final = 8
_GAINS: Final[dict[Prediction, Callable[[Tensor], Tensor]]] = {
    "x0": Tensor.exp,
    "eps": torch.ones_like,
    "v": Tensor.sigmoid,
}
"""(d eps / d prediction)^2 at fixed x_t, of the log-SNR."""


class Objective(nn.Module):
    """The prior under its loss."""

    def __init__(self, prior: Prior, config: LossConfig) -> None:
        """Wrap a prior; the times are even in `schedule`, `simple_weight` and `vlb_weight` are shares of the loss."""
        super().__init__()
        self.prior, self.config, self.schedule = prior, config, get(config.schedule)

    def forward(self, x: Tensor, _rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 8 -> scalars: loss, and the bound's estimate in bits a value.

        The times of a batch are spread evenly, from one random start: less noise in the sum.
        """
        count = x.shape[0]
        t = 1 - (torch.rand((), device=x.device) + torch.arange(count, device=x.device) / count) % 1
        log_snr = self.schedule.log_snr(t)
        wrong, nu = _wrong(self.prior, x, torch.randn_like(x), log_snr)
        simple, gain = wrong.mean((1, 2, 3)), _GAINS[self.prior.prediction](log_snr)
        steps = _step_bits(gain[:, None, None, None] * wrong.detach(), nu, t, self.schedule)
        loss, bits = simple, steps
        if isinstance(self.schedule, LogLinear):
            bits = simple * gain * (REACH / math.log(2))
            loss = bits + self.config.simple_weight * simple
        if self.prior.config.learned_variance:
            loss = loss + self.config.vlb_weight * steps
        return {"loss": loss.mean(), "bits": bits.detach().mean()}


def _wrong(prior: Prior, x: Tensor, eps: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of the prediction, and nu: (B, 3, H, W) both."""
    alpha, sigma = levels(log_snr)
    output, nu = prior.with_fraction(alpha * x + sigma * eps, log_snr)
    wrong = output.to(x.dtype) - target(prior.prediction, x, eps, alpha, sigma)
    return wrong.square(), nu.to(x.dtype)


def _step_bits(wrong: Tensor, nu: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The bound by its steps in bits a value, (B,), of what a step from each t costs; `wrong` is eps' squared error."""
    times = torch.stack([t, (t - 1 / STEPS).clamp(min=0)])[..., None, None, None]
    before, after = schedule.log_snr(times).clamp(-REACH, REACH)
    log_r = nu * (nn.functional.logsigmoid(-after) - nn.functional.logsigmoid(-before))
    nats: Tensor = (log_r.expm1() - log_r + log_r.exp() * (after - before).expm1() * wrong) / 2
    return nats.mean((1, 2, 3)) * (STEPS / math.log(2))


@dataclass(frozen=True)
class Row:
    """At one noise level, means over the held-out pictures: bits a value up to there, PSNR of the estimate of x_0."""

    log_snr: float
    bits: float
    psnr: float

    def scalars(self) -> dict[str, float]:
        """Names for a log, log-SNR in each."""
        return {f"bits/snr{self.log_snr:+.0f}": self.bits, f"psnr/snr{self.log_snr:+.0f}": self.psnr}

    def __str__(self) -> str:
        """One line."""
        return f"log_snr {self.log_snr:+.1f}  bits {self.bits:.4f}  psnr {self.psnr:.2f}"


@torch.no_grad()
def validate(prior: Prior, pictures: Tensor) -> list[Row]:
    """One row a noise level, from the noisiest: the bits are those spent on the way there from pure noise."""
    torch.manual_seed(0)
    width, spent, rows = 2 * REACH / LEVELS, 0.0, []
    for level in range(LEVELS):
        log_snr = width * (level + 0.5) - REACH
        error = sum(
            float(_wrong(prior, x, torch.randn_like(x), x.new_full(x.shape[:1], log_snr))[0].mean((1, 2, 3)).sum())
            for x in torch.split(pictures, BATCH)
        )
        error *= float(_GAINS[prior.prediction](torch.tensor(log_snr))) / len(pictures)
        spent += width * error / (2 * math.log(2))
        rows.append(Row(log_snr, spent, 10 * math.log10(4 * math.exp(log_snr) / error)))
    return rows
