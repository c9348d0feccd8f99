"""The loss of the palette codec's autoencoder: distortion, and the rate of a posterior that is as wide as can be.

    (1 - rho) L_error + rho L_perceptual + rate_weight KL / (pixels ln 2),    rho = perceptual_weight

the distortion of `objective` and the divergence of `palette.autoencoder` in bits a pixel: the less of it, the more
noise the decoder is used to, and so the fewer colours it needs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regrain.palette.autoencoder import Autoencoder, divergence
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.config import LossConfig
from regrain_lab.training.objective import SQUARED_ERROR_UNIT, Distortion, Rules, shown

__all__ = ["Objective", "Row", "moments", "validate"]

BATCH = 8
NOISES = (0.0, 0.125, 0.25, 0.5)
"""Deviations of the noise on the latents with which pictures are decoded in validation, of latents of unit variance."""


class Objective(nn.Module):
    """The autoencoder under its loss; `rate_weight` is the first of the recipe's two."""

    def __init__(self, autoencoder: Autoencoder, config: LossConfig, lpips: Lpips | None) -> None:
        """Wrap an autoencoder. Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.autoencoder, self.config, self.distortion = autoencoder, config, Distortion(config, lpips)

    def forward(self, x: Tensor, rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], sides multiples of 64 -> scalars: loss, bpp, mse (on [0, 255]), lpips."""
        mean, log_var = self.autoencoder.encode(x)
        bpp = divergence(mean.float(), log_var.float()).sum((1, 2, 3)) / (math.log(2) * x.shape[2] * x.shape[3])
        x_hat = self.autoencoder.decode(mean + (log_var / 2).exp() * torch.randn_like(mean)).to(x.dtype)
        rho = x.new_full(x.shape[:1], self.distortion.perceptual_weight(rules))
        error = self.distortion.squared(x_hat - x) * SQUARED_ERROR_UNIT
        total, distance = self.distortion.mix(error, x_hat, x, rho, rules)
        loss = total + rules.rate * self.config.rate_weight[0] * bpp
        return {"loss": loss.mean(), "bpp": bpp.detach().mean(), **shown(x_hat, x, distance, rho)}


@dataclass(frozen=True)
class Row:
    """Means over the held-out pictures with noise of deviation `noise` on the latents; LPIPS is NaN without weights."""

    noise: float
    psnr: float
    lpips: float

    def scalars(self) -> dict[str, float]:
        """Names for a log, the noise in each."""
        return {f"psnr/noise{self.noise}": self.psnr, f"lpips/noise{self.noise}": self.lpips}

    def __str__(self) -> str:
        """One line."""
        return f"noise {self.noise:.3f}  psnr {self.psnr:.2f}  lpips {self.lpips:.4f}"


@torch.no_grad()
def moments(autoencoder: Autoencoder, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of the latents, (channels,) both, over pictures (N, 3, H, W)."""
    means = torch.cat([autoencoder.encode(x)[0].float() for x in torch.split(pictures, BATCH)])
    return means.mean((0, 2, 3)), means.std((0, 2, 3))


@torch.no_grad()
def validate(autoencoder: Autoencoder, pictures: Tensor, lpips: Lpips | None) -> list[Row]:
    """One row for each of NOISES."""
    torch.manual_seed(0)
    deviation = moments(autoencoder, pictures)[1][:, None, None]
    rows = []
    for noise in NOISES:
        psnr, seen = 0.0, 0.0
        for x in torch.split(pictures, BATCH):
            mean = autoencoder.encode(x)[0].float()
            x_hat = autoencoder.decode(mean + noise * deviation * torch.randn_like(mean)).clamp(-1, 1)
            psnr += float(-10 * torch.log10((x_hat - x).square().mean((1, 2, 3)) / 4).sum())
            seen += float(lpips(x_hat, x).sum()) if lpips else math.nan
        rows.append(Row(noise, psnr / len(pictures), seen / len(pictures)))
    return rows
