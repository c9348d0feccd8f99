"""Held-out figures during training: rate, PSNR of the faithful end and LPIPS of the textured end, over quality."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from regrain.conditional.model import ConditionalCodec
from regrain.diffusion import parametrize, schedule
from regrain_lab.metrics.lpips import Lpips

__all__ = ["Row", "psnr", "validate"]

QUALITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 8
ERROR_MIN = 1e-10
"""Mean squared errors count as at least this, so that no PSNR is infinite."""


@dataclass(frozen=True)
class Row:
    """Means over the held-out pictures at one quality (0 to 100); PSNR of the mean squared error, in dB.

    LPIPS is NaN, and in neither text nor log, where there are no weights for it.
    """

    quality: float
    bpp: float
    z_bpp: float
    psnr_faithful: float
    psnr_textured: float
    lpips_faithful: float
    lpips_textured: float

    def scalars(self) -> dict[str, float]:
        """Names for a log, quality in each."""
        return {f"{name}/q{self.quality:.0f}": value for name, value in self._known().items() if name != "quality"}

    def __str__(self) -> str:
        """One line."""
        return "  ".join(f"{name} {value:.3f}" for name, value in self._known().items())

    def _known(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if not math.isnan(value)}


def psnr(error: float) -> float:
    """PSNR in dB of a mean squared error on [-1, 1]."""
    return 10 * math.log10(4 / max(error, ERROR_MIN))


@torch.no_grad()
def validate(codec: ConditionalCodec, pictures: Tensor, lpips: Lpips | None) -> list[Row]:
    """One row a quality; one-pass decoding (t = 1). pictures (N, 3, H, W), sizes multiples of 64."""
    torch.manual_seed(0)
    return [_row(codec, pictures, lpips, quality) for quality in QUALITIES]


def _row(codec: ConditionalCodec, pictures: Tensor, lpips: Lpips | None, quality: float) -> Row:
    sums = torch.zeros(6)
    for x in torch.split(pictures, BATCH):
        x = x.contiguous(memory_format=torch.channels_last)
        coded = codec.code(x, torch.full((x.shape[0],), quality, device=x.device))
        bits = torch.stack([(coded.y_bits + coded.z_bits).sum(), coded.z_bits.sum()]) / x[0, 0].numel()
        ends = [_end(codec, x, coded.y_hat, quality, realism, lpips) for realism in (0.0, 1.0)]
        sums += torch.stack([*bits, ends[0][0], ends[1][0], ends[0][1], ends[1][1]]).cpu()
    bpp, z_bpp, *errors, faithful, textured = (float(v) for v in sums / len(pictures))
    faithful_psnr, textured_psnr = (psnr(error) for error in errors)
    return Row(100 * quality, bpp, z_bpp, faithful_psnr, textured_psnr, faithful, textured)


def _end(
    codec: ConditionalCodec, x: Tensor, y_hat: Tensor, quality: float, realism: float, lpips: Lpips | None
) -> tuple[Tensor, Tensor]:
    """Summed squared error and LPIPS of one-pass decoding at one realism."""
    count = x.shape[0]
    alpha, sigma = schedule.get(codec.config.schedule).at(1.0)
    x_1 = torch.randn_like(x) * (realism * codec.config.init_noise)
    t, q, r = (torch.full((count,), value, device=x.device) for value in (1.0, quality, realism))
    output = codec.denoiser(x_1, t, y_hat, q, r)
    x_hat = parametrize.to_x0(codec.prediction, output, x_1, alpha, sigma).clamp(-1, 1)
    distance = lpips(x_hat, x).sum() if lpips else x.new_full((), math.nan)
    return (x_hat - x).square().mean((1, 2, 3)).sum(), distance
