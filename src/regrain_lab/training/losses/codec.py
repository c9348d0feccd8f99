"""The codec's loss: (1 - rho) L_diff + rho L_perceptual + rate_weight R     (Yang & Mandt 2023, eq. 10)

L_diff is the min-SNR weighted squared error of the prediction, in units where 1 is a squared error of 100 on [0, 255];
L_perceptual is LPIPS, for texture, and 1 - MS-SSIM, for structure, which LPIPS alone gives away; R is bits a pixel.
Quality, realism, t and the noise are drawn anew for every picture, so that one network learns them all: realism r sets
rho = r perceptual_weight, and the noise that the decoder starts from, x_1 = r init_noise eps.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import pytorch_msssim
import torch
from torch import Tensor, nn

from regrain.diffusion import parametrize, schedule
from regrain.entropy.integer import QUALITY_TOP
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.codec import ConditionalCodec
from regrain_lab.training.recipe import LossConfig, Stage

__all__ = [
    "SQUARED_ERROR_UNIT", "CodecLoss", "Conditioning", "Distortion", "SplitLoss", "StageWeights", "progress_scalars",
    "rate_weight",
]  # fmt: skip

SQUARED_ERROR_UNIT = 127.5**2 / 100
SHIFTS = SQUARE = 16
HALF_SIZE_SHARE = DOUBLE_SIZE_SHARE = 0.25


@dataclass(frozen=True)
class StageWeights:
    """The weights and settings of one step, from its stage's ramps; the names are those of `recipe.Stage`."""

    rate: float
    perceptual: float
    continuous: float
    freeze_latents: bool
    structure: float = 1.0
    method: str = ""
    sampling_steps: int = 1
    gap: float = 1.0
    texture: float = 1.0

    @classmethod
    def at(cls, stage: Stage, step: int) -> "StageWeights":
        """Evaluate the ramps at a step of the stage; the first step is 0."""
        progress = step / max(1, stage.steps - 1)
        values: dict[str, Any] = {field.name: getattr(stage, field.name) for field in fields(cls)}
        ramps = {name: value for name, value in values.items() if isinstance(value, tuple)}
        return cls(**values | {name: first + (last - first) * progress for name, (first, last) in ramps.items()})


class Conditioning(NamedTuple):
    """What is drawn for the pictures of a batch, each (B,): quality, realism and t in [0, 1]."""

    quality: Tensor
    realism: Tensor
    t: Tensor

    @classmethod
    def sample(cls, count: int, continuous: float, device: torch.device) -> "Conditioning":
        """Quality is uniform over what a file can say; realism is at either end or between; t is 1 or uniform."""
        quality = torch.randint(QUALITY_TOP + 1, (count,), device=device) / QUALITY_TOP
        choice, between, uniform, t = torch.rand(4, count, device=device)
        realism = torch.where(choice < 0.45, 1.0, torch.where(choice < 0.7, 0.0, between))
        return cls(quality, realism, torch.where(uniform < continuous, t, 1.0))


class Distortion:
    """The distance of a picture from the original: squared error, LPIPS and MS-SSIM, one value a picture."""

    def __init__(self, config: LossConfig, lpips: Lpips | None, *, float32: bool = True) -> None:
        """Without `lpips` the perceptual term is 0; `float32` keeps LPIPS out of autocast."""
        self.config, self.lpips, self.float32 = config, lpips, float32

    def perceptual_weight(self, weights: StageWeights) -> float:
        """rho at realism 1."""
        terms = self.lpips is not None or self.config.structure_scale > 0
        return self.config.perceptual_weight * weights.perceptual if terms else 0.0

    def mix(self, error: Tensor, x_hat: Tensor, x: Tensor, rho: Tensor, weights: StageWeights) -> tuple[Tensor, Tensor]:
        """(1 - rho) error + rho L_perceptual, and LPIPS alone where rho > 0: (B,) each, as error and rho are."""
        distance = self.perceptual(x_hat, x, rho)
        structure = self.structure(x_hat, x, rho, self.config.structure_scale * weights.structure)
        return (1 - rho) * error + rho * (self.config.perceptual_scale * distance + structure), distance

    def squared(self, error: Tensor) -> Tensor:
        """Weighted mean squares (B,) of an error (B, 3, H, W), of its tone and of its lattice.

        Of squares of 16 x 16 pixels the tone is the mean of each, the lattice the mean over all of them.
        """
        squares = torch.unflatten(torch.unflatten(error, 3, (-1, SQUARE)), 2, (-1, SQUARE))
        tone, lattice = squares.mean((3, 5)), squares.mean((2, 4))
        total, tone, lattice = (values.square().mean((1, 2, 3)) for values in (error, tone, lattice))
        return total + self.config.tone_weight * tone + self.config.lattice_weight * lattice

    def perceptual(self, x_hat: Tensor, x: Tensor, rho: Tensor) -> Tensor:
        """LPIPS where rho > 0, else 0, (B,). The view changes each time, against lattices and fine meshes (E-LPIPS)."""
        distance = torch.zeros_like(rho)
        indices = (rho > 0).nonzero()[:, 0]
        if self.lpips is None or not len(indices):
            return distance
        decoded, original = _random_view(torch.stack([x_hat[indices], x[indices]]))
        with torch.autocast(x.device.type, enabled=not self.float32 and torch.is_autocast_enabled(x.device.type)):
            return distance.index_add(0, indices, self.lpips(decoded, original.detach()))

    def structure(self, x_hat: Tensor, x: Tensor, rho: Tensor, scale: float) -> Tensor:
        """scale (1 - MS-SSIM) where rho > 0, else 0, (B,)."""
        loss = torch.zeros_like(rho)
        indices = (rho > 0).nonzero()[:, 0]
        if not scale or not len(indices):
            return loss
        with torch.autocast(x.device.type, enabled=False):
            similarity = pytorch_msssim.ms_ssim(x_hat[indices] + 1, x[indices] + 1, data_range=2.0, size_average=False)
        return loss.index_add(0, indices, scale * (1 - similarity))


class SplitLoss(nn.Module, ABC):
    """A loss in two parts, so that the second can be a CUDA graph: what depends on chance for its shape is in one."""

    distortion: Distortion

    def forward(self, x: Tensor, weights: StageWeights) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 32 -> scalars: loss, mse (on [0, 255]), lpips and others."""
        return self.evaluate(self.prepare(x, weights), weights)

    @abstractmethod
    def prepare(self, x: Tensor, weights: StageWeights) -> tuple[Tensor, ...]:
        """Everything that is drawn, in shapes that never change."""

    @abstractmethod
    def evaluate(self, inputs: tuple[Tensor, ...], weights: StageWeights) -> dict[str, Tensor]:
        """The scalars of what `prepare` gives."""


class CodecLoss(SplitLoss):
    """The codec under its loss. The codec is a submodule, so that data-parallel wrappers see every parameter."""

    def __init__(self, codec: ConditionalCodec, config: LossConfig, lpips: Lpips | None) -> None:
        """Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.codec, self.config, self.distortion = codec, config, Distortion(config, lpips)
        self.schedule = schedule.get(codec.config.schedule)

    def prepare(self, x: Tensor, weights: StageWeights) -> tuple[Tensor, ...]:
        """The pictures and their quality, realism and t."""
        return x, *Conditioning.sample(x.shape[0], weights.continuous, x.device)

    def evaluate(self, inputs: tuple[Tensor, ...], weights: StageWeights) -> dict[str, Tensor]:
        """The scalars, bpp among them."""
        x, knobs = inputs[0], Conditioning(*inputs[1:])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not weights.freeze_latents):
            y_hat, y_bits, z_bits = self.codec.code(x, knobs.quality)
        error, x_hat = self._denoise(x, y_hat, knobs)
        rho = knobs.realism * self.distortion.perceptual_weight(weights)
        total, distance = self.distortion.mix(error, x_hat, x, rho, weights)
        bpp = (y_bits + z_bits) / (x.shape[2] * x.shape[3])
        weight = rate_weight(self.config, knobs.quality)
        if not weights.freeze_latents:
            total = total + weights.rate * weight * bpp
        loss = (total * weight**-self.config.balance).mean()
        return {"loss": loss, "bpp": bpp.detach().mean(), **progress_scalars(x_hat, x, distance, rho)}

    def _denoise(self, x: Tensor, y_hat: Tensor, knobs: Conditioning) -> tuple[Tensor, Tensor]:
        """L_diff of each picture (B,), and x_hat (B, 3, H, W)."""
        codec, t = self.codec, knobs.t
        log_snr = self.schedule.log_snr(t)
        alpha, sigma = self.schedule.levels(t)
        eps = torch.randn_like(x) * (knobs.realism * codec.config.init_noise)[:, None, None, None]
        x_t = alpha * x + sigma * eps
        output = codec.denoiser(x_t, t, y_hat, knobs.quality, knobs.realism).to(x.dtype)
        target = parametrize.target(codec.prediction, x, eps, alpha, sigma)
        error = self.distortion.squared(output - target) * SQUARED_ERROR_UNIT
        gamma = self.config.min_snr_gamma
        weight = parametrize.loss_weight(codec.prediction, log_snr, min_snr_gamma=gamma) / gamma
        weight = torch.where(t == 1, 1.0, weight.clamp_min(self.config.min_weight))
        return weight * error, parametrize.to_x0(codec.prediction, output, x_t, alpha, sigma)


def progress_scalars(x_hat: Tensor, x: Tensor, distance: Tensor, rho: Tensor) -> dict[str, Tensor]:
    """For a progress bar: mse (on [0, 255]) of all pictures, lpips over those where rho (B,) > 0."""
    mse = (x_hat.detach() - x).square().mean() * 127.5**2
    return {"mse": mse, "lpips": distance.detach().sum() / (rho > 0).sum().clamp_min(1)}


def rate_weight(config: LossConfig, quality: Tensor) -> Tensor:
    """lambda at qualities in [0, 1]: log-linear between the recipe's two."""
    low, high = config.rate_weight
    return low * (high / low) ** quality


def _random_view(pair: Tensor) -> Tensor:
    """A pair of batches (2, B, 3, H, W) under one random shift; at times at half size, or a quarter of it at double."""
    row, column = (int(n) for n in torch.randint(SHIFTS, (2,)))
    view, size = pair[:, :, :, row:, column:].flatten(0, 1), float(torch.rand(()))
    if size < HALF_SIZE_SHARE and min(view.shape[2:]) >= 96:
        view = nn.functional.avg_pool2d(view, 2)
    elif size > 1 - DOUBLE_SIZE_SHARE:
        height, width = pair.shape[3] // 2, pair.shape[4] // 2
        top, left = int(torch.randint(height + 1, ())), int(torch.randint(width + 1, ()))
        quarter = pair[:, :, :, top : top + height, left : left + width].flatten(0, 1)
        view = nn.functional.interpolate(quarter, scale_factor=2, mode="bilinear")
    return view.contiguous(memory_format=torch.channels_last).view(2, -1, *view.shape[1:])
