"""The loss of a fast decoder: the picture of one step by a smaller network, which the large one teaches.

    |x_hat - x_f|^2 + rho (perceptual_scale LPIPS(x_hat, x) + structure_scale (1 - MS-SSIM(x_hat, x)))

x_f is the large denoiser's picture in one step at the same quality and realism, and x the original. As the teacher has
already weighed squared error against perception, its picture counts in full at every realism.
"""

import torch
from torch import Tensor, nn

from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.frozen import FrozenCodec, guides, quantized_latents
from regrain_lab.training.losses.codec import (
    SQUARED_ERROR_UNIT,
    Conditioning,
    Distortion,
    StageWeights,
    progress_scalars,
    rate_weight,
)
from regrain_lab.training.recipe import LossConfig

__all__ = ["FastLoss"]


class FastLoss(nn.Module):
    """The fast decoder under its loss; it is a submodule, a network of (y_hat, quality, realism)."""

    def __init__(self, network: nn.Module, codec: FrozenCodec, config: LossConfig, lpips: Lpips | None) -> None:
        """`codec` makes the latents and the teacher's pictures. Without `lpips` its term is left out."""
        super().__init__()
        self.network, self.codec, self.config = network, codec, config
        self.distortion = Distortion(config, lpips, float32=False)

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], sides multiples of 32 -> scalars: loss, gap to the teacher and mse to x, lpips.

        Both squared errors are on [0, 255].
        """
        quality, realism, _ = Conditioning.sample(len(x), 0.0, x.device)
        y_hat = quantized_latents(self.codec, x, quality)
        with torch.no_grad():
            taught = guides(self.codec, y_hat, quality, realism).to(x.dtype)
        x_hat = self.network(y_hat, quality, realism).to(x.dtype)
        error = self.distortion.squared(x_hat - taught) * SQUARED_ERROR_UNIT
        rho = realism * self.distortion.perceptual_weight(weights)
        distance = self.distortion.perceptual(x_hat, x, rho)
        structure = self.distortion.structure(x_hat, x, rho, self.config.structure_scale * weights.structure)
        total = error + rho * (self.config.perceptual_scale * distance + structure)
        loss = (total * rate_weight(self.config, quality) ** -self.config.balance).mean()
        gap = (x_hat.detach() - taught).square().mean() * 127.5**2
        return {"loss": loss, "gap": gap, **progress_scalars(x_hat, x, distance, rho)}
