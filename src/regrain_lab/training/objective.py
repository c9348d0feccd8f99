"""The loss: (1 - rho) L_diff + rho L_perceptual + rate_weight R  (Yang & Mandt 2023, eq. 10), rho perceptual_weight.

L_diff is the min-SNR weighted squared error of the prediction, in units where 1 is a squared error of 100 on [0, 255];
L_perceptual is LPIPS, for texture, and 1 - MS-SSIM, for structure, which LPIPS alone gives away; R is bits a pixel.
Quality, realism, t and the noise are drawn anew for every picture, so one network learns them all:
realism r sets perceptual_weight = r rho and the noise that the decoder starts from, x_1 = r init_noise eps.
"""

from dataclasses import dataclass

import pytorch_msssim
import torch
from torch import Tensor, nn

from regrain.conditional.model import ConditionalCodec
from regrain.diffusion import parametrize, schedule
from regrain.entropy.exact import QUALITY_TOP
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.config import LossConfig, Stage

__all__ = ["SQUARED_ERROR_UNIT", "Distortion", "Draw", "Objective", "Rules", "rate_weight", "shown"]

SQUARED_ERROR_UNIT = 127.5**2 / 100
SHIFTS = SQUARE = 16
HALF_SIZE_SHARE = DOUBLE_SIZE_SHARE = 0.25


@dataclass(frozen=True)
class Rules:
    """What a stage asks of one step."""

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
    def at(cls, stage: Stage, step: int) -> "Rules":
        """The rules at a step of a stage, ramps evaluated."""
        part = step / max(1, stage.steps - 1)
        ramps = (stage.rate, stage.perceptual, stage.structure, stage.gap, stage.texture)
        rate, perceptual, structure, gap, texture = (a + (b - a) * part for a, b in ramps)
        ways = stage.continuous, stage.freeze_latents
        return cls(rate, perceptual, *ways, structure, stage.method, stage.sampling_steps, gap, texture)


@dataclass(frozen=True)
class Draw:
    """The random knobs of a batch, each (B,): quality, realism and t in [0, 1]."""

    quality: Tensor
    realism: Tensor
    t: Tensor

    @classmethod
    def sample(cls, count: int, continuous: float, device: torch.device) -> "Draw":
        """Quality uniform over what the file can say; realism at either end or between; t = 1 or uniform."""
        quality = torch.randint(QUALITY_TOP + 1, (count,), device=device) / QUALITY_TOP
        ends, between, whole, t = torch.rand(4, count, device=device)
        realism = torch.where(ends < 0.45, 1.0, torch.where(ends < 0.7, 0.0, between))
        return cls(quality, realism, torch.where(whole < continuous, t, 1.0))


class Distortion:
    """How far a picture is from the original: squared error, LPIPS and MS-SSIM, each a picture."""

    def __init__(self, config: LossConfig, lpips: Lpips | None, *, exact: bool = True) -> None:
        """Take the weights of their parts. Without `lpips` the perceptual term is 0; `exact` keeps it in float32."""
        self.config, self.lpips, self.exact = config, lpips, exact

    def perceptual_weight(self, rules: Rules) -> float:
        """rho at realism 1."""
        return self.config.perceptual_weight * rules.perceptual if self.lpips else 0.0

    def mix(self, error: Tensor, x_hat: Tensor, x: Tensor, rho: Tensor, rules: Rules) -> tuple[Tensor, Tensor]:
        """(1 - rho) error + rho L_perceptual, and LPIPS alone where rho > 0: (B,) each, as error and rho are."""
        distance = self.perceptual(x_hat, x, rho)
        structure = self.structure(x_hat, x, rho, self.config.structure_scale * rules.structure)
        return (1 - rho) * error + rho * (self.config.perceptual_scale * distance + structure), distance

    def squared(self, wrong: Tensor) -> Tensor:
        """Weighted mean squares (B,) of the error (B, 3, H, W), of its tone and of its lattice.

        Cut into squares of 16 pixels, the tone is the mean of each square, the lattice the mean over all squares.
        """
        squares = torch.unflatten(torch.unflatten(wrong, 3, (-1, SQUARE)), 2, (-1, SQUARE))
        tone, lattice = squares.mean((3, 5)), squares.mean((2, 4))
        error, tone, lattice = (part.square().mean((1, 2, 3)) for part in (wrong, tone, lattice))
        return error + self.config.tone_weight * tone + self.config.lattice_weight * lattice

    def perceptual(self, x_hat: Tensor, x: Tensor, rho: Tensor) -> Tensor:
        """LPIPS where rho > 0, else 0, (B,), each time in another view against lattices and fine meshes (E-LPIPS)."""
        distance = torch.zeros_like(rho)
        picked = (rho > 0).nonzero()[:, 0]
        if self.lpips is None or not len(picked):
            return distance
        decoded, original = _view(torch.stack([x_hat[picked], x[picked]]))
        with torch.autocast(x.device.type, enabled=not self.exact and torch.is_autocast_enabled(x.device.type)):
            return distance.index_add(0, picked, self.lpips(decoded, original.detach()))

    def structure(self, x_hat: Tensor, x: Tensor, rho: Tensor, scale: float) -> Tensor:
        """scale (1 - MS-SSIM) where rho > 0, else 0, (B,)."""
        loss = torch.zeros_like(rho)
        picked = (rho > 0).nonzero()[:, 0]
        if not scale or not len(picked):
            return loss
        with torch.autocast(x.device.type, enabled=False):
            alike = pytorch_msssim.ms_ssim(x_hat[picked] + 1, x[picked] + 1, data_range=2.0, size_average=False)
        return loss.index_add(0, picked, scale * (1 - alike))


class Objective(nn.Module):
    """The codec under its loss; the module that is trained, so that data-parallel wrappers see every parameter."""

    def __init__(self, codec: ConditionalCodec, config: LossConfig, lpips: Lpips | None) -> None:
        """Wrap a codec. Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.codec = codec
        self.config = config
        self.schedule = schedule.get(codec.config.schedule)
        self.distortion = Distortion(config, lpips)

    def forward(self, x: Tensor, rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 64 -> scalars: loss, bpp, mse (on [0, 255]), lpips."""
        draw = Draw.sample(x.shape[0], rules.continuous, x.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not rules.freeze_latents):
            y_hat, y_bits, z_bits = self.codec.code(x, draw.quality)
        error, x_hat = self._denoise(x, y_hat, draw)
        rho = draw.realism * self.distortion.perceptual_weight(rules)
        total, distance = self.distortion.mix(error, x_hat, x, rho, rules)
        bpp = (y_bits + z_bits) / (x.shape[2] * x.shape[3])
        weight = rate_weight(self.config, draw.quality)
        if not rules.freeze_latents:
            total = total + rules.rate * weight * bpp
        loss = (total * weight**-self.config.balance).mean()
        return {"loss": loss, "bpp": bpp.detach().mean(), **shown(x_hat, x, distance, rho)}

    def _denoise(self, x: Tensor, y_hat: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """L_diff a picture (B,), and x_hat (B, 3, H, W)."""
        codec = self.codec
        log_snr = self.schedule.log_snr(draw.t)
        alpha, sigma = self.schedule.levels(draw.t)
        eps = torch.randn_like(x) * (draw.realism * codec.config.init_noise)[:, None, None, None]
        x_t = alpha * x + sigma * eps
        output = codec.denoiser(x_t, draw.t, y_hat, draw.quality, draw.realism).to(x.dtype)
        target = parametrize.target(codec.prediction, x, eps, alpha, sigma)
        error = self.distortion.squared(output - target) * SQUARED_ERROR_UNIT
        gamma = self.config.min_snr_gamma
        weight = parametrize.loss_weight(codec.prediction, log_snr, min_snr_gamma=gamma) / gamma
        weight = torch.where(draw.t == 1, 1.0, weight.clamp_min(self.config.min_weight))
        return weight * error, parametrize.to_x0(codec.prediction, output, x_t, alpha, sigma)


def shown(x_hat: Tensor, x: Tensor, distance: Tensor, rho: Tensor) -> dict[str, Tensor]:
    """What a progress bar shows: mse (on [0, 255]) of all pictures, lpips over those where rho (B,) > 0."""
    mse = (x_hat.detach() - x).square().mean() * 127.5**2
    return {"mse": mse, "lpips": distance.detach().sum() / (rho > 0).sum().clamp_min(1)}


def rate_weight(config: LossConfig, quality: Tensor) -> Tensor:
    """lambda at qualities in [0, 1]."""
    low, high = config.rate_weight
    return low * (high / low) ** quality


def _view(pair: Tensor) -> Tensor:
    """A pair of batches (2, B, 3, H, W) under one random shift; at times at half size, or a quarter of it at double."""
    row, column = (int(n) for n in torch.randint(SHIFTS, (2,)))
    shifted, size = pair[:, :, :, row:, column:].flatten(0, 1), float(torch.rand(()))
    if size < HALF_SIZE_SHARE and min(shifted.shape[2:]) >= 96:
        shifted = nn.functional.avg_pool2d(shifted, 2)
    elif size > 1 - DOUBLE_SIZE_SHARE:
        height, width = pair.shape[3] // 2, pair.shape[4] // 2
        top, left = int(torch.randint(height + 1, ())), int(torch.randint(width + 1, ()))
        part = pair[:, :, :, top : top + height, left : left + width].flatten(0, 1)
        shifted = nn.functional.interpolate(part, scale_factor=2, mode="bilinear")
    return shifted.contiguous(memory_format=torch.channels_last).view(2, -1, *shifted.shape[1:])
