"""The loss of the palette codec's autoencoder: distortion, and the rate of a posterior that is as wide as can be.

    (1 - rho) L_error + rho L_perceptual + rate_weight KL / (pixels ln 2),    rho = perceptual_weight

The distortion is that of `losses.codec`, KL the divergence of the posterior from N(0, 1) in bits a pixel. The
smaller it is, the more noise the decoder is used to, and the fewer colours it needs.
"""

import math

import torch
from torch import Tensor, nn

from regrain.palette.autoencoder import Autoencoder
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.losses.codec import SQUARED_ERROR_UNIT, Distortion, StageWeights, progress_scalars
from regrain_lab.training.recipe import LossConfig

__all__ = ["AutoencoderLoss", "divergence"]


class AutoencoderLoss(nn.Module):
    """The autoencoder under its loss; `rate_weight` is the first of the recipe's two."""

    def __init__(self, autoencoder: Autoencoder, config: LossConfig, lpips: Lpips | None) -> None:
        """Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.autoencoder, self.config, self.distortion = autoencoder, config, Distortion(config, lpips)

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], sides multiples of 32 -> scalars: loss, bpp, mse (on [0, 255]), lpips."""
        mean, log_var = self.autoencoder.encode(x)
        bpp = divergence(mean.float(), log_var.float()).sum((1, 2, 3)) / (math.log(2) * x.shape[2] * x.shape[3])
        x_hat = self.autoencoder.decode(mean + (log_var / 2).exp() * torch.randn_like(mean)).to(x.dtype)
        rho = x.new_full(x.shape[:1], self.distortion.perceptual_weight(weights))
        error = self.distortion.squared(x_hat - x) * SQUARED_ERROR_UNIT
        total, distance = self.distortion.mix(error, x_hat, x, rho, weights)
        loss = total + weights.rate * self.config.rate_weight[0] * bpp
        return {"loss": loss.mean(), "bpp": bpp.detach().mean(), **progress_scalars(x_hat, x, distance, rho)}


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats, elementwise (Kingma and Welling 2014, appendix B)."""
    return (mean.square() + log_var.exp() - 1 - log_var) / 2
