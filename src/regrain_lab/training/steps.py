"""Quality against sampling steps, one row a count: DDIM from seeded noise, as the decoder does it, on whole batches.

PSNR is that of the mean squared error of all pictures together. With 1 step the row is one-pass decoding at t = 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor

from regrain.conditional.frozen import Model
from regrain.diffusion import parametrize, sampler, schedule
from regrain.diffusion.unet import Denoiser
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.student import quantised
from regrain_lab.training.validate import psnr

__all__ = ["COUNTS", "QUALITY", "Row", "ladder", "table"]

COUNTS: Final = (1, 2, 4, 8, 16, 32)
QUALITY: Final = 28
BATCH: Final = 8


@dataclass(frozen=True)
class Row:
    """Means over the held-out pictures at quality 28, realism 1, seed 0; `lpips` None without weights for it."""

    steps: int
    psnr: float
    lpips: float | None

    def scalars(self) -> dict[str, float]:
        """Names for a log, steps in each."""
        known = {"psnr": self.psnr} | ({} if self.lpips is None else {"lpips": self.lpips})
        return {f"{name}/steps{self.steps}": value for name, value in known.items()}

    def __str__(self) -> str:
        """One line."""
        seen = "" if self.lpips is None else f"  lpips {self.lpips:.4f}"
        return f"steps {self.steps:2}  psnr {self.psnr:.2f}{seen}"


@torch.no_grad()
def ladder(
    model: Model, denoiser: Denoiser, pictures: Tensor, lpips: Lpips | None, counts: Sequence[int] = COUNTS
) -> list[Row]:
    """A row a count of steps, of this denoiser behind the model's latents; pictures (N, 3, H, W), multiples of 64."""
    generator = torch.Generator().manual_seed(0)
    sums = torch.zeros(len(counts), 2, dtype=torch.float64)
    for x in torch.split(pictures, BATCH):
        x = x.contiguous(memory_format=torch.channels_last)
        cond = quantised(model, x, x.new_full((len(x),), QUALITY / 100))
        x_1 = torch.randn(x.shape, generator=generator).to(x) * model.config.init_noise
        for row, count in zip(sums, counts, strict=True):
            x_hat = _sampled(model, denoiser, x_1, cond, count)
            distance = float(lpips(x_hat, x).sum()) if lpips else math.nan
            row += torch.tensor([float((x_hat - x).square().mean((1, 2, 3)).sum()), distance])
    means = (sums / len(pictures)).tolist()
    return [Row(n, psnr(error), d if lpips else None) for n, (error, d) in zip(counts, means, strict=True)]


def _sampled(model: Model, denoiser: Denoiser, x_1: Tensor, cond: Tensor, count: int) -> Tensor:
    levels, prediction = schedule.get(model.config.schedule), cast(parametrize.Prediction, model.config.prediction)

    def denoise(x_t: Tensor, t: float) -> Tensor:
        knobs = (x_t.new_full((len(x_t),), value) for value in (t, QUALITY / 100, 1.0))
        t_, quality, realism = knobs
        output = denoiser(x_t, t_, cond, quality, realism)
        return parametrize.to_x0(prediction, output, x_t, *levels.at(t)).clamp(-1, 1)

    return sampler.sample(denoise, x_1, levels, steps=count)


def table(teacher: Sequence[Row], student: Sequence[Row]) -> str:
    """Both side by side, a line a count under two of headings."""
    lines = [f"held out, quality {QUALITY}, realism 1, seed 0", f"{'':8}{'teacher':>16}{'student':>18}"]
    lines.append("steps " + 2 * "      PSNR   LPIPS" if teacher[0].lpips is not None else "steps " + 2 * "       PSNR")
    for before, after in zip(teacher, student, strict=True):
        lines.append(f"{before.steps:5} {_cells(before)}{_cells(after)}")
    return "\n".join(lines)


def _cells(row: Row) -> str:
    return f"{row.psnr:10.2f}" + ("" if row.lpips is None else f"{row.lpips:8.4f}")
