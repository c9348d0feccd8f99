"""The loss of a decoder that samples: denoising at every noise level, and perception at every noise level.

    x_t = alpha_t x + sigma_t eps at t even in [0, 1], or alpha_1 sketch + sigma_1 eps at t = 1, where decoding starts,
    or where the sampler's own steps lead from there;      (1 - rho) w(t) |x_hat - x|^2 + rho L_perceptual

w(t) = 1 / (1 - k) is EDM's weight (Karras et al. 2022): what the network itself says counts alike at every level. The
latents are frozen, so that every file stays as it is, and realism is 1: the faithful picture has a network of its own.
"""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from regrain.conditional.config import SAMPLING_SCHEDULE
from regrain.conditional.frozen import Model
from regrain.conditional.model import build_sampler, sampler_state
from regrain.diffusion import sampler, schedule
from regrain.diffusion.unet import SamplingDenoiser
from regrain.diffusion.unet_config import RESIDUAL
from regrain.entropy.exact import QUALITY_TOP
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training import steps
from regrain_lab.training.adversary import Adversary
from regrain_lab.training.config import LossConfig
from regrain_lab.training.objective import SQUARED_ERROR_UNIT, Distortion, Rules, rate_weight, shown
from regrain_lab.training.student import quantised
from regrain_lab.training.textures import STAGES, Textures
from regrain_lab.training.validate import psnr

__all__ = ["Objective", "Row", "Sampler", "begun", "draw", "validate"]

VIEWS: Final = 2
"""Noise levels that every crop of a batch is seen at: its latents are computed once."""
WEIGHT_MAX: Final = 8.0
LOW_QUALITIES: Final = 0.5
"""Share of the pictures whose quality is drawn from the lower 0.6 of the range, where there is most to invent."""
STEPS: Final = (1, 2, 4, 8, 16)
QUALITY: Final = 0.28
LEVELS = schedule.get(SAMPLING_SCHEDULE)


class Sampler(nn.Module):
    """What is trained: a sampling denoiser, behind the latents of the file that it was begun from."""

    def __init__(self, denoiser: SamplingDenoiser, lineage: dict[str, Any], *, adversary: bool = False) -> None:
        """Take the network, and what a checkpoint says of it; `adversary` trains a discriminator beside it."""
        super().__init__()
        self.denoiser, self.lineage = denoiser, lineage
        self.adversary = Adversary(STAGES) if adversary else None

    @property
    def config(self) -> "Sampler":
        """Itself, as what says the lineage."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return self.lineage


@torch.no_grad()
def begun(model: Model) -> SamplingDenoiser:
    """A sampling denoiser to train: the model's, or else its denoiser with a new entry for x_t."""
    if model.sampler is not None:
        return copy.deepcopy(model.sampler).requires_grad_(True)
    new = build_sampler(model.config)
    fresh = {name: tensor for name, tensor in new.state_dict().items() if name.startswith("enter_x.")}
    new.load_state_dict(sampler_state(model.denoiser.state_dict(), new) | fresh)
    return new.to(model.device)


def draw(model: Model, cond: Tensor, size: tuple[int, int], count: int, generator: torch.Generator) -> Tensor:
    """A sample x_0 (B, 3, *size) at quality 28 of latents (B, C, H/16, W/16), as the decoder draws it."""
    assert model.sampler is not None
    denoiser, batch = model.sampler, len(cond)
    alpha, sigma = LEVELS.at(1.0)
    eps = torch.randn(batch, 3, *size, generator=generator).to(cond)
    context = denoiser.context(cond, cond.new_full((batch,), QUALITY), cond.new_ones(batch))

    def denoise(x_t: Tensor, t: float) -> Tensor:
        knobs = (cond.new_full((batch,), value) for value in (t, QUALITY, 1.0))
        t_, quality, realism = knobs
        x_0: Tensor = denoiser(x_t, t_, cond, quality, realism, context)
        return x_0.clamp(-1, 1)

    return sampler.sample(denoise, alpha * denoiser.sketch(cond) + sigma * eps, LEVELS, steps=count)


class Objective(nn.Module):
    """The sampler under its loss; the module that is trained."""

    def __init__(
        self, network: Sampler, model: Model, config: LossConfig, lpips: Lpips | None, textures: Textures | None = None
    ) -> None:
        """`model` makes the latents. Without `lpips`, or `textures`, their terms are left out."""
        super().__init__()
        self.network, self.model, self.config = network, model, config
        self.distortion, self.textures = Distortion(config, lpips, exact=False), [textures]  # no part of this module

    def forward(self, x: Tensor, rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 64 -> scalars: loss, mse to x (on [0, 255]), lpips."""
        quality = _qualities(len(x), x.device)
        cond = quantised(self.model, x, quality)
        denoiser, ones = self.network.denoiser, torch.ones_like(quality)
        context = denoiser.context(cond, quality, ones)
        wide = (part.repeat(VIEWS, *[1] * (part.dim() - 1)) for part in (x, quality, cond, ones, context))
        x, quality, cond, ones, context = wide
        x_t, t, own = self._noised(x, cond, quality, context.detach(), rules)
        x_hat = denoiser(x_t, t, cond, quality, ones, context)
        noise = (-LEVELS.log_snr(t)).exp()
        weight = ((RESIDUAL**2 + noise) / noise).clamp(max=WEIGHT_MAX)
        error = torch.where(own, 1.0, weight) * self.distortion.squared(x_hat - x) * SQUARED_ERROR_UNIT
        rho = ones * self.distortion.perceptual_weight(rules)
        total, distance = self.distortion.mix(error, x_hat, x, rho, rules)
        scalars = shown(x_hat, x, distance, rho)
        picked, textures = own.nonzero()[:, 0], self.textures[0] if rules.texture else None
        if textures is not None:
            names = ("vgg", "texture") + (("adversary", "deceit") if self.network.adversary is not None else ())
            scalars |= dict.fromkeys(names, x.new_zeros(()))
        if textures is not None and len(picked):
            decoded, originals = textures.pair(x_hat[picked], x[picked])
            alike, texture = textures.distances(decoded, originals)
            apart = self.config.vgg_scale * alike + self.config.texture_scale * texture
            scalars |= {"vgg": alike.detach().mean(), "texture": texture.detach().mean()}
            if (adversary := self.network.adversary) is not None:
                mistakes, deceit = adversary.losses(decoded, originals)
                apart = apart + self.config.adversary_scale * deceit
                scalars |= {"adversary": mistakes, "deceit": deceit.detach().mean()}
            total = total.index_add(0, picked, rho[picked] * rules.texture * apart)
        loss = (total * rate_weight(self.config, quality) ** -self.config.balance).mean()
        return {"loss": loss + scalars.get("adversary", 0), **scalars}

    @torch.no_grad()
    def _noised(
        self, x: Tensor, cond: Tensor, quality: Tensor, context: Tensor, rules: Rules
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_t and t of every picture: of the true picture at `continuous` of them, else from where decoding starts.

        The third, (B,), says where the sampler's own steps led: there is no error to divide by the noise's.
        """
        eps, (anywhere, t) = torch.randn_like(x), torch.rand(2, len(x), device=x.device)
        t = torch.where(anywhere < rules.continuous, t, 1.0)
        guide = torch.where((t == 1)[:, None, None, None], self.network.denoiser.sketch(cond), x)
        alpha, sigma = LEVELS.levels(t)
        x_t = alpha * guide + sigma * eps
        own = t == 1
        picked = own.nonzero()[:, 0]
        if rules.sampling_steps > 1 and len(picked):
            count = 2 ** int(torch.randint(1, rules.sampling_steps.bit_length(), ()))
            times = sampler.time_grid(count)[: int(torch.randint(count, ())) + 1]
            there = self._walked(x_t[picked], cond[picked], quality[picked], context[picked], times)
            x_t = x_t.index_copy(0, picked, there)
            t = t.index_fill(0, picked, times[-1])
        return x_t, t, own

    def _walked(self, x_t: Tensor, cond: Tensor, quality: Tensor, context: Tensor, times: tuple[float, ...]) -> Tensor:
        """Where the sampler itself comes to from x_t along the times."""
        ones = torch.ones_like(quality)
        for t, s in pairwise(times):
            x_0 = self.network.denoiser(x_t, t * ones, cond, quality, ones, context).clamp(-1, 1)
            x_t = sampler.ddim_step(x_t, x_0, t, s, LEVELS)
        return x_t


def _qualities(count: int, device: torch.device) -> Tensor:
    """Qualities that a file can say, (count,) in [0, 1]."""
    part, low = torch.rand(2, count, device=device)
    part = torch.where(low < LOW_QUALITIES, 0.6 * part, part)
    return (part * QUALITY_TOP).round() / QUALITY_TOP


@dataclass(frozen=True)
class Row(steps.Row):
    """Means over the held-out pictures at quality 28 in so many steps.

    `spread` is the difference of two seeds over sqrt(2) and over the error, root mean squares all.
    """

    spread: float

    def scalars(self) -> dict[str, float]:
        """Names for a log, steps in each."""
        return super().scalars() | {f"spread/steps{self.steps}": self.spread}

    def __str__(self) -> str:
        """One line."""
        return f"{super().__str__()}  spread {self.spread:.2f}"


@torch.no_grad()
def validate(model: Model, pictures: Tensor, lpips: Lpips | None, batch: int = 8) -> list[Row]:
    """A row a count of steps; pictures (N, 3, H, W), multiples of 64."""
    sums = torch.zeros(len(STEPS), 3, dtype=torch.float64)
    for number, x in enumerate(torch.split(pictures, batch)):
        cond = quantised(model, x, x.new_full((len(x),), QUALITY))
        for row, count in zip(sums, STEPS, strict=True):
            seeds = (torch.Generator().manual_seed(1000 * seed + number) for seed in (0, 1))
            first, second = (draw(model, cond, (x.shape[2], x.shape[3]), count, seed) for seed in seeds)
            distance = float(lpips(first, x).sum()) if lpips else math.nan
            apart = (first - second).square().mean((1, 2, 3)).sum() / 2
            row += torch.tensor([float((first - x).square().mean((1, 2, 3)).sum()), distance, float(apart)])
    means = (sums / len(pictures)).clamp(min=1e-10).tolist()
    return [
        Row(count, psnr(error), distance if lpips else None, math.sqrt(apart / error))
        for count, (error, distance, apart) in zip(STEPS, means, strict=True)
    ]
