"""The losses of a student: it learns to estimate a target x_0 at x_t, by one of five methods.

    none          target x, x_t = alpha_t x + sigma_t eps: the teacher's own loss
    direct        target x at t = 1; for a share of the pictures where k of 2, 4 ... or N steps of its own have led
    progressive   target (x_s - sigma_s / sigma_t x_t) / (alpha_s - sigma_s / sigma_t alpha_t), s = t - 1 / N, where x_s
                  is two steps of the teacher on                       (Salimans and Ho 2022, algorithm 2 and eq. 8)
    consistency   target its own estimate at s, of the same x and eps; x at s = 0                   (Geng et al. 2024)
                  s = t - t min(1, gap (1 + 8 sigmoid(-sigma_t / alpha_t))): from little noise straight to x
    guided        target (1 + w) teacher(cond) - w teacher(0), for a given w    (Meng et al. 2023, algorithm 1)

Steps are DDIM's without noise, estimates are clamped as in decoding, and no gradient goes through either; eps is
realism init_noise times standard normal. The loss is (1 - rho) L_diff + rho L_perceptual of `losses.codec`, with L_diff
weighted by min-SNR as there, by max(SNR, 1) in progressive, and over gap in consistency. Invariants: consistency at gap
1 is none; a step from x_t by progressive's target arrives at x_s; with w = 0 guided's target is the teacher's estimate.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor

from regrain.diffusion import sampler, schedule
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.denoisers import Student
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents
from regrain_lab.training.losses.codec import (
    SQUARED_ERROR_UNIT,
    Conditioning,
    Distortion,
    SplitLoss,
    StageWeights,
    progress_scalars,
    rate_weight,
)
from regrain_lab.training.recipe import TEACHER_RESETS, DistillConfig, LossConfig

__all__ = ["Batch", "Distillation", "DistillationLoss", "Target", "ddim_step", "random_times", "rollout"]

ANCHORING = 8
"""How much wider gaps are where there is little noise (Geng et al. 2024, "Consistency Models Made Easy": k)."""


class Batch(NamedTuple):
    """Pictures and what is drawn for them: x and eps (B, 3, H, W), cond (B, C, H/16, W/16); guidance (B,) or None."""

    x: Tensor
    eps: Tensor
    cond: Tensor
    knobs: Conditioning
    guidance: Tensor | None = None

    def select(self, indices: Tensor) -> "Batch":
        """Only these pictures."""
        knobs = Conditioning(*(knob[indices] for knob in self.knobs))
        guidance = None if self.guidance is None else self.guidance[indices]
        return Batch(self.x[indices], self.eps[indices], self.cond[indices], knobs, guidance)


class Target(NamedTuple):
    """At x_t (B, 3, H, W) and t (B,), given cond, the student is to estimate x_0.

    `weight` (B,) is that of its squared error; `perceptual` (B,) is 0 where LPIPS and MS-SSIM do not count.
    """

    x_t: Tensor
    t: Tensor
    x_0: Tensor
    weight: Tensor
    cond: Tensor
    perceptual: Tensor


class Distillation:
    """A student and its teacher, and what the methods share."""

    def __init__(self, student: Student, teacher: Student, config: DistillConfig, loss: LossConfig) -> None:
        """Take the two networks; neither becomes part of another module."""
        self.student, self.teacher, self.config, self.loss = student, teacher, config, loss
        self.schedule = student.schedule

    def target(self, batch: Batch, weights: StageWeights) -> Target:
        """What the method of these weights asks for."""
        return TARGETS[weights.method](self, batch, weights)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, (B, 1, 1, 1) each; at t = 0 exactly 1 and 0, as the sampler has it."""
        last = (t == 0)[:, None, None, None]
        alpha, sigma = self.schedule.levels(t)
        return torch.where(last, 1.0, alpha), torch.where(last, 0.0, sigma)

    def noisy(self, batch: Batch, t: Tensor) -> Tensor:
        """x_t of the batch's own noise."""
        alpha, sigma = self.schedule.levels(t)
        return alpha * batch.x + sigma * batch.eps

    def snr(self, t: Tensor) -> Tensor:
        """SNR over gamma."""
        return self.schedule.log_snr(t).exp() / self.loss.min_snr_gamma

    def weight(self, t: Tensor) -> Tensor:
        """The weight of x_0's squared error in `losses.codec`."""
        return torch.where(t == 1, 1.0, self.snr(t).clamp(max=1).clamp_min(self.loss.min_weight))

    @torch.no_grad()
    def estimate(self, network: Student, batch: Batch, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """A network's x_0 as a decoder takes it, clamped; `cond` in the place of the batch's."""
        cond = batch.cond if cond is None else cond
        estimate: Tensor = network(x_t, t, cond, batch.knobs.quality, batch.knobs.realism, batch.guidance)
        return estimate.clamp(-1, 1)


def _none(models: Distillation, batch: Batch, _weights: StageWeights) -> Target:
    t, cond, ones = batch.knobs.t, batch.cond, torch.ones_like(batch.knobs.t)
    if not models.config.dropout:
        return Target(models.noisy(batch, t), t, batch.x, models.weight(t), cond, ones)
    uniform, other_t = torch.rand(2, len(t), device=t.device)
    dropout_mask = uniform < models.config.dropout
    t = torch.where(dropout_mask, other_t, t)
    weight = torch.where(dropout_mask, models.snr(t).clamp(max=1), models.weight(t))
    cond = torch.where(dropout_mask[:, None, None, None], 0.0, cond)
    return Target(models.noisy(batch, t), t, batch.x, weight, cond, 1.0 - dropout_mask.float())


def _direct(models: Distillation, batch: Batch, weights: StageWeights) -> Target:
    t = ones = torch.ones_like(batch.knobs.t)
    x_t = models.noisy(batch, ones)
    indices = (batch.knobs.t < 1).nonzero()[:, 0]
    if weights.sampling_steps > 1 and len(indices):
        subset, times = batch.select(indices), random_times(weights.sampling_steps, 1)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            return models.estimate(models.student, subset, x_t, torch.full_like(subset.knobs.t, t))

        x_t = x_t.index_copy(0, indices, rollout(denoise, x_t[indices], times, models.schedule))
        t = t.index_fill(0, indices, times[-1])
    return Target(x_t, t, batch.x, ones, batch.cond, ones)


def _progressive(models: Distillation, batch: Batch, weights: StageWeights) -> Target:
    count = weights.sampling_steps
    t = torch.randint(1, count + 1, batch.knobs.t.shape, device=batch.x.device) / count
    middle, s = t - 0.5 / count, t - 1 / count
    x_t = models.noisy(batch, t)
    level_t, level_middle, level_s = (models.levels(time) for time in (t, middle, s))
    x_m = ddim_step(x_t, models.estimate(models.teacher, batch, x_t, t), level_t, level_middle)
    x_s = ddim_step(x_m, models.estimate(models.teacher, batch, x_m, middle), level_middle, level_s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = level_t, level_s
    x_0 = (x_s - sigma_s / sigma_t * x_t) / (alpha_s - sigma_s / sigma_t * alpha_t)
    return Target(x_t, t, x_0, models.schedule.log_snr(t).exp().clamp(min=1), batch.cond, torch.ones_like(t))


def _consistency(models: Distillation, batch: Batch, weights: StageWeights) -> Target:
    t, x_0 = batch.knobs.t, batch.x
    ratio = (-models.schedule.log_snr(t) / 2).exp()
    gap = (weights.gap * (1 + ANCHORING * torch.sigmoid(-ratio))).clamp(max=1)
    s, x_t = t * (1 - gap), models.noisy(batch, t)
    if weights.gap < 1:
        estimate = models.estimate(models.student, batch, models.noisy(batch, s), s)
        x_0 = torch.where((s == 0)[:, None, None, None], batch.x, estimate)
    return Target(x_t, t, x_0, models.weight(t) / gap, batch.cond, torch.ones_like(t))


def _guided(models: Distillation, batch: Batch, _weights: StageWeights) -> Target:
    t, x_t = batch.knobs.t, models.noisy(batch, batch.knobs.t)
    assert batch.guidance is not None
    w = (models.config.guidance_max * batch.guidance)[:, None, None, None]
    conditional, unconditional = (
        models.estimate(models.teacher, batch, x_t, t, cond) for cond in (batch.cond, torch.zeros_like(batch.cond))
    )
    x_0 = (conditional + w * (conditional - unconditional)).clamp(-1, 1)
    return Target(x_t, t, x_0, models.weight(t), batch.cond, torch.ones_like(t))


TARGETS: Final[dict[str, Callable[[Distillation, Batch, StageWeights], Target]]] = {
    "none": _none, "direct": _direct, "progressive": _progressive, "consistency": _consistency, "guided": _guided,
}  # fmt: skip
"""By the names of `rules.METHODS`."""


def random_times(steps: int, fewest: int, draws: int = 1) -> tuple[float, ...]:
    """The first k + 1 times of a grid of 2, 4 ... or `steps` steps, not down to t = 0.

    k >= `fewest` is at random, the largest of so many draws.
    """
    count = 2 ** int(torch.randint(1, steps.bit_length(), ()))
    return sampler.time_grid(count)[: int(torch.randint(fewest, count, (draws,)).max()) + 1]


@torch.no_grad()
def rollout(
    denoise: Callable[[Tensor, float], Tensor], x_t: Tensor, times: tuple[float, ...], levels: schedule.Schedule
) -> Tensor:
    """Where DDIM steps without noise lead from x_t, at the first of the times, to the last; `denoise` estimates x_0."""
    for t, s in pairwise(times):
        x_t = sampler.ddim_step(x_t, denoise(x_t, t), t, s, levels)
    return x_t


def ddim_step(x_t: Tensor, x_0: Tensor, level_t: tuple[Tensor, Tensor], level_s: tuple[Tensor, Tensor]) -> Tensor:
    """A DDIM step without noise of every picture, from its own (alpha_t, sigma_t) to its own (alpha_s, sigma_s)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = level_t, level_s
    return alpha_s * x_0 + sigma_s * ((x_t - alpha_t * x_0) / sigma_t)


class DistillationLoss(SplitLoss):
    """The student under its loss; the student is a submodule."""

    def __init__(self, models: Distillation, codec: FrozenCodec, lpips: Lpips | None) -> None:
        """`codec` makes the latents. Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.student, self.models, self.codec = models.student, models, codec
        self.config, self.distortion = models.loss, Distortion(models.loss, lpips)

    def prepare(self, x: Tensor, weights: StageWeights) -> tuple[Tensor, ...]:
        """The pictures, what is drawn for them, and the method's target."""
        batch = self._draw(x, weights)
        guidance = () if batch.guidance is None else (batch.guidance,)
        return x, batch.knobs.quality, batch.knobs.realism, *self.models.target(batch, weights), *guidance

    def evaluate(self, inputs: tuple[Tensor, ...], weights: StageWeights) -> dict[str, Tensor]:
        """The scalars."""
        x, quality, realism, x_t, t, x_0, weight, cond, perceptual, *guidance = inputs
        x_hat = self.student(x_t, t, cond, quality, realism, *guidance)
        error = weight * self.distortion.squared(x_hat - x_0) * SQUARED_ERROR_UNIT
        rho = perceptual * realism * self.distortion.perceptual_weight(weights)
        reference = x if self.models.config.perceptual_target == "picture" else x_0
        total, distance = self.distortion.mix(error, x_hat, reference, rho, weights)
        loss = (total * rate_weight(self.config, quality) ** -self.config.balance).mean()
        return {"loss": loss, **progress_scalars(x_hat, x, distance, rho)}

    def _draw(self, x: Tensor, weights: StageWeights) -> Batch:
        knobs = Conditioning.sample(x.shape[0], weights.continuous, x.device)
        guided = self.student.guide is not None and weights.method in TEACHER_RESETS
        guidance = torch.rand(x.shape[0], device=x.device) if guided else None
        eps = torch.randn_like(x) * (knobs.realism * self.codec.config.init_noise)[:, None, None, None]
        return Batch(x, eps, quantized_latents(self.codec, x, knobs.quality), knobs, guidance)
