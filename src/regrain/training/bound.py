"""The loss of the unconditional prior: its variational bound in bits, and a simple loss beside it.

    bits a value = 1 / (2 ln 2) int E|eps - eps_hat|^2 d log_snr        (Kingma et al. 2021, eq. 17, any schedule)

so that noise levels drawn evenly in log-SNR, -REACH to REACH, give the bound without weights, and eps - eps_hat =
alpha_t (v_hat - v). The bound says nearly nothing of what is large in a picture, since that takes few bits: L_simple
(Ho et al. 2020, eq. 14) takes v as it is (Salimans and Ho 2022), at every level alike.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from regrain.diffusion.parametrize import target
from regrain.diffusion.prior import Prior
from regrain.diffusion.schedule import REACH
from regrain.training.config import LossConfig
from regrain.training.objective import Rules

__all__ = ["Objective", "Row", "validate"]

LEVELS: Final = 20
BATCH: Final = 8


class Objective(nn.Module):
    """The prior under its loss."""

    def __init__(self, prior: Prior, config: LossConfig) -> None:
        """Wrap a prior; `simple_weight` is the share of the simple loss."""
        super().__init__()
        self.prior, self.config = prior, config

    def forward(self, x: Tensor, _rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 8 -> scalars: loss, and the bound's estimate in bits a value.

        The levels of a batch are spread evenly, from one random start: less noise in the sum.
        """
        count = x.shape[0]
        places = (torch.rand((), device=x.device) + torch.arange(count, device=x.device) / count) % 1
        log_snr = REACH * (2 * places - 1)
        wrong = _wrong(self.prior, x, torch.randn_like(x), log_snr)
        bits = wrong * log_snr.sigmoid() * (REACH / math.log(2))
        loss = bits + self.config.simple_weight * wrong
        return {"loss": loss.mean(), "bits": bits.detach().mean()}


def _wrong(prior: Prior, x: Tensor, eps: Tensor, log_snr: Tensor) -> Tensor:
    """Mean squared error of v, (B,)."""
    alpha, sigma = (level.sigmoid().sqrt()[:, None, None, None] for level in (log_snr, -log_snr))
    v = prior(alpha * x + sigma * eps, log_snr).to(x.dtype)
    wrong: Tensor = (v - target("v", x, eps, alpha, sigma)).square().mean((1, 2, 3))
    return wrong


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
            float(_wrong(prior, x, torch.randn_like(x), x.new_full(x.shape[:1], log_snr)).sum())
            for x in torch.split(pictures, BATCH)
        )
        error /= len(pictures)
        spent += width * error / (1 + math.exp(-log_snr)) / (2 * math.log(2))
        rows.append(Row(log_snr, spent, 10 * math.log10(4 * (1 + math.exp(log_snr)) / error)))
    return rows
