"""The loss of a decoder that samples: denoising at every noise level, and perception at every noise level.

    x_t = alpha_t x + sigma_t eps at t even in [0, 1], or alpha_1 g + sigma_1 m eps at t = 1, where decoding starts,
    or where the sampler's own steps lead from there;      (1 - rho) w(t) |x_hat - x|^2 + rho L_perceptual

m is the gate that lets no noise onto strong edges (`conditional.edges`). w(t) = 1 / (1 - k) is EDM's weight (Karras et
al. 2022): the network's own output counts alike at every level. The latents are frozen, so that every file stays as it
is, and so is the network of the picture in one step, g, whose realism is 1 or else even in [0, 1].
"""

from typing import Final

import torch
from torch import Tensor, nn

from regrain.conditional.config import SAMPLING_SCHEDULE
from regrain.diffusion import schedule
from regrain.diffusion.unet_config import RESIDUAL
from regrain.entropy.integer import QUALITY_TOP
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.denoisers import Sampler
from regrain_lab.trainable.frozen import FrozenCodec, guides, noise_gates, quantized_latents
from regrain_lab.training.losses.codec import (
    SQUARED_ERROR_UNIT,
    Distortion,
    StageWeights,
    progress_scalars,
    rate_weight,
)
from regrain_lab.training.losses.distillation import random_times, rollout
from regrain_lab.training.losses.texture import BandDistance, TextureDistances
from regrain_lab.training.recipe import LossConfig

__all__ = ["LEVELS", "SamplerLoss"]

VIEWS: Final = 2
"""Noise levels at which the network sees every crop of a batch, whose latents are computed once."""
WEIGHT_MAX: Final = 8.0
LOW_QUALITIES: Final = 0.5
"""Share of the pictures whose quality is drawn from the lower 0.6 of the range, where there is most to invent."""
FULL_REALISM: Final = 0.75
"""Share of the pictures whose guide has realism 1."""
EPS: Final = 1e-6
LEVELS: Final = schedule.get(SAMPLING_SCHEDULE)


class SamplerLoss(nn.Module):
    """The sampler under its loss; the sampler is a submodule."""

    def __init__(
        self, network: Sampler, codec: FrozenCodec, config: LossConfig, lpips: Lpips | None,
        textures: TextureDistances | None = None,
    ) -> None:  # fmt: skip
        """`codec` makes the latents. Without `lpips`, or `textures`, their terms are left out."""
        super().__init__()
        self.network, self.codec, self.config = network, codec, config
        self.distortion, self.textures = Distortion(config, lpips, float32=False), [textures]  # a list: no submodule
        self.bands = BandDistance()

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 32 -> scalars: loss, mse to x (on [0, 255]), lpips.

        With textures also vgg, texture, means and bands, and with a discriminator its own loss, adversary, deceit,
        drift and spectrum.
        """
        quality = _random_qualities(len(x), x.device)
        cond, ones = quantized_latents(self.codec, x, quality), torch.ones_like(quality).repeat(VIEWS)
        guide = guides(self.codec, cond, quality, _random_realisms(len(x), x.device))
        context = self.network.denoiser.context(cond, quality, guide)
        x, quality, guide, context = (
            values.repeat(VIEWS, *[1] * (values.dim() - 1)) for values in (x, quality, guide, context)
        )
        x_t, t, on_rollout = self._noisy(x, quality, guide, context.detach(), weights)
        x_hat = self.network.denoiser(x_t, t, quality, guide, context)
        noise = (-LEVELS.log_snr(t)).exp()
        weight = torch.where(on_rollout, 1.0, ((RESIDUAL**2 + noise) / noise).clamp(max=WEIGHT_MAX))
        error = weight * self.distortion.squared(x_hat - x) * SQUARED_ERROR_UNIT
        rho = ones * self.distortion.perceptual_weight(weights)
        total, distance = self.distortion.mix(error, x_hat, x, rho, weights)
        scalars, discriminator_loss = progress_scalars(x_hat, x, distance, rho), x.new_zeros(())
        if self.textures[0] is not None and weights.texture:
            indices = on_rollout.nonzero()[:, 0]
            distances, figures = self._texture(self.textures[0], x_hat[indices], x[indices])
            scalars |= figures
            discriminator_loss = figures.get("adversary", discriminator_loss)
            total = total.index_add(0, indices, rho[indices] * weights.texture * distances)
        if self.config.edge_scale:
            strayed = ((1 - noise_gates(x)) * (x_hat - x).square()).mean((1, 2, 3)) * SQUARED_ERROR_UNIT
            total = total + self.config.edge_scale * torch.where(on_rollout, strayed, 0.0)
            scalars["edges"] = strayed.detach()[on_rollout].sum() / on_rollout.sum().clamp(min=1)
        loss = (total * rate_weight(self.config, quality) ** -self.config.balance).mean()
        return {"loss": loss + discriminator_loss, **scalars}

    def _texture(self, textures: TextureDistances, x_hat: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What textures add to the loss of each picture (B,), and the scalars; all are 0 where B is 0."""
        adversary, config = self.network.adversary, self.config
        names: tuple[str, ...] = "vgg", "texture", "means", "bands"
        if adversary is not None:
            names += "adversary", "deceit", "drift", "spectrum"
        if not len(x):
            return x.new_zeros(0), dict.fromkeys(names, x.new_zeros(()))
        decoded, originals = textures.features_of_pair(x_hat, x)
        energies, theirs = self.bands.energies(x_hat), self.bands.energies(x)
        distances = *textures.distances(decoded, originals), self.bands.distance(energies, theirs)
        scales = config.vgg_scale, config.texture_scale, config.means_scale, config.bands_scale
        total = sum((scale * distance for scale, distance in zip(scales, distances, strict=True)), x.new_zeros(len(x)))
        figures = {name: values.detach().mean() for name, values in zip(names, distances, strict=False)}
        if adversary is not None:
            drift, spectrum = self.network.drift, self.network.spectrum
            mistakes, deceit = adversary.losses(decoded, originals)
            total = total + config.adversary_scale * deceit + config.drift_scale * drift(decoded, originals)
            total = total + config.spectrum_scale * spectrum(energies.mean((2, 3)) + EPS, theirs.mean((2, 3)) + EPS)
            length, ratio = drift.average.norm(), spectrum.averages[0] / spectrum.averages[1]
            figures |= {"adversary": mistakes, "deceit": deceit.detach().mean(), "drift": length}
            figures["spectrum"] = (ratio - 1).square().mean().sqrt()
        return total, figures

    @torch.no_grad()
    def _noisy(
        self, x: Tensor, quality: Tensor, guide: Tensor, context: Tensor, weights: StageWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_t and t of every picture: from the true picture for a share `continuous`, else from where decoding starts.

        The third, (B,), says where the sampler's own steps led: there is no error to divide by the noise's.
        """
        eps, (choice, t) = torch.randn_like(x), torch.rand(2, len(x), device=x.device)
        t = torch.where(choice < weights.continuous, t, 1.0)
        on_rollout = t == 1
        alpha, sigma = LEVELS.levels(t)
        starts = on_rollout[:, None, None, None]
        x_t = torch.where(starts, alpha * guide + sigma * noise_gates(guide) * eps, alpha * x + sigma * eps)
        indices = on_rollout.nonzero()[:, 0]
        if weights.sampling_steps > 1 and len(indices):
            times = random_times(weights.sampling_steps, 0, draws=2)
            fixed, ones = (quality[indices], guide[indices], context[indices]), torch.ones_like(quality[indices])

            def denoise(x_t: Tensor, t: float) -> Tensor:
                x_0: Tensor = self.network.denoiser(x_t, t * ones, *fixed)
                return x_0.clamp(-1, 1)

            x_t = x_t.index_copy(0, indices, rollout(denoise, x_t[indices], times, LEVELS))
            t = t.index_fill(0, indices, times[-1])
        return x_t, t, on_rollout


def _random_qualities(count: int, device: torch.device) -> Tensor:
    """Qualities that a file can say, (count,) in [0, 1]."""
    quality, choice = torch.rand(2, count, device=device)
    quality = torch.where(choice < LOW_QUALITIES, 0.6 * quality, quality)
    return (quality * QUALITY_TOP).round() / QUALITY_TOP


def _random_realisms(count: int, device: torch.device) -> Tensor:
    realism, choice = torch.rand(2, count, device=device)
    return torch.where(choice < FULL_REALISM, 1.0, realism)
