"""What a student learns: to say `target` at x_t, by one of five methods.

    none          target x, x_t = alpha_t x + sigma_t eps: the teacher's own objective
    direct        target x at t = 1; a share of the pictures where k steps of a grid of 2, 4 ... or N have led itself
    progressive   target (x_s - sigma_s / sigma_t x_t) / (alpha_s - sigma_s / sigma_t alpha_t), s = t - 1 / N, where x_s
                  is two steps of the teacher on                       (Salimans and Ho 2022, algorithm 2 and eq. 8)
    consistency   target its own estimate at s, of the same x and eps; x at s = 0                   (Geng et al. 2024)
                  s = t - t min(1, gap (1 + 8 sigmoid(-sigma_t / alpha_t))): from little noise straight to x
    guided        target (1 + w) teacher(cond) - w teacher(0), w told           (Meng et al. 2023, algorithm 1)

Steps are DDIM's without noise, estimates are clamped as in decoding, and no gradient goes through either; eps is
realism init_noise times standard normal. The loss is `objective`'s, (1 - rho) L_diff + rho L_perceptual, with L_diff
weighted by min-SNR as there, by max(SNR, 1) in progressive, and over gap in consistency. Invariants: consistency at gap
1 is none; a step from x_t by progressive's target arrives at x_s; with w = 0 guided's target is the teacher's estimate.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from regrain.conditional.frozen import Model
from regrain.diffusion import sampler
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.config import LossConfig
from regrain_lab.training.methods import PROMOTING, DistillConfig
from regrain_lab.training.objective import SQUARED_ERROR_UNIT, Distortion, Draw, Rules, rate_weight, shown
from regrain_lab.training.student import Student, quantised

__all__ = ["Example", "Lesson", "Lessons", "Objective", "step"]

ANCHORING = 8
"""How much wider gaps are where there is little noise (Geng et al. 2024, "Consistency Models Made Easy": k)."""


@dataclass(frozen=True)
class Example:
    """A batch and all that is drawn for it: x and eps (B, 3, H, W), cond (B, C, H/16, W/16); guidance (B,) or None."""

    x: Tensor
    eps: Tensor
    cond: Tensor
    draw: Draw
    guidance: Tensor | None = None


@dataclass(frozen=True)
class Lesson:
    """At x_t (B, 3, H, W) and t (B,), given cond, the student is to say target; weight is of its squared error, (B,).

    `seen` (B,) is 0 where LPIPS and MS-SSIM do not look.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    weight: Tensor
    cond: Tensor
    seen: Tensor


class Lessons:
    """The five methods; `method` of the rules names one."""

    def __init__(self, student: Student, teacher: Student, config: DistillConfig, loss: LossConfig) -> None:
        """Take the two networks; neither becomes part of another module."""
        self.student, self.teacher, self.config, self.loss = student, teacher, config, loss
        self.schedule = student.schedule

    def lesson(self, example: Example, rules: Rules) -> Lesson:
        """What this method teaches of the example."""
        found: Lesson = getattr(self, f"_{rules.method}")(example, rules)
        return found

    def _none(self, example: Example, _rules: Rules) -> Lesson:
        t, cond, ones = example.draw.t, example.cond, torch.ones_like(example.draw.t)
        if not self.config.dropout:
            return Lesson(self._noised(example, t), t, example.x, self._weight(t), cond, ones)
        hidden, anew = torch.rand(2, len(t), device=t.device)
        hidden = hidden < self.config.dropout
        t = torch.where(hidden, anew, t)
        weight = torch.where(hidden, self._snr(t).clamp(max=1), self._weight(t))
        cond = torch.where(hidden[:, None, None, None], 0.0, cond)
        return Lesson(self._noised(example, t), t, example.x, weight, cond, 1.0 - hidden.float())

    def _direct(self, example: Example, rules: Rules) -> Lesson:
        ones = torch.ones_like(example.draw.t)
        x_t, t = self._noised(example, ones), ones
        picked = (example.draw.t < 1).nonzero()[:, 0]
        if rules.sampling_steps > 1 and len(picked):
            count = 2 ** int(torch.randint(1, rules.sampling_steps.bit_length(), ()))
            times = sampler.time_grid(count)[: int(torch.randint(1, count, ())) + 1]
            x_t = x_t.index_copy(0, picked, self._walked(_part(example, picked), x_t[picked], times))
            t = t.index_fill(0, picked, times[-1])
        return Lesson(x_t, t, example.x, ones, example.cond, ones)

    def _progressive(self, example: Example, rules: Rules) -> Lesson:
        count = rules.sampling_steps
        t = torch.randint(1, count + 1, example.draw.t.shape, device=example.x.device) / count
        middle, s = t - 0.5 / count, t - 1 / count
        x_t = self._noised(example, t)
        x_m = self._step(x_t, self._estimate(self.teacher, example, x_t, t), t, middle)
        x_s = self._step(x_m, self._estimate(self.teacher, example, x_m, middle), middle, s)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self._levels(t), self._levels(s)
        target = (x_s - sigma_s / sigma_t * x_t) / (alpha_s - sigma_s / sigma_t * alpha_t)
        weight = self.schedule.log_snr(t).exp().clamp(min=1)
        return Lesson(x_t, t, target, weight, example.cond, torch.ones_like(t))

    def _consistency(self, example: Example, rules: Rules) -> Lesson:
        t = example.draw.t
        ratio = (-self.schedule.log_snr(t) / 2).exp()
        gap = (rules.gap * (1 + ANCHORING * torch.sigmoid(-ratio))).clamp(max=1)
        s, x_t = t * (1 - gap), self._noised(example, t)
        target = example.x
        if rules.gap < 1:
            target = self._estimate(self.student, example, self._noised(example, s), s)
            target = torch.where((s == 0)[:, None, None, None], example.x, target)
        return Lesson(x_t, t, target, self._weight(t) / gap, example.cond, torch.ones_like(t))

    def _guided(self, example: Example, _rules: Rules) -> Lesson:
        t, x_t = example.draw.t, self._noised(example, example.draw.t)
        assert example.guidance is not None
        w = (self.config.guidance_max * example.guidance)[:, None, None, None]
        told, blind = (self._estimate(self.teacher, example, x_t, t, cond)
                       for cond in (example.cond, torch.zeros_like(example.cond)))  # fmt: skip
        target = (told + w * (told - blind)).clamp(-1, 1)
        return Lesson(x_t, t, target, self._weight(t), example.cond, torch.ones_like(t))

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, (B, 1, 1, 1) each; at t = 0 exactly 1 and 0, as the sampler has it."""
        last = (t == 0)[:, None, None, None]
        alpha, sigma = self.schedule.levels(t)
        return torch.where(last, 1.0, alpha), torch.where(last, 0.0, sigma)

    def _noised(self, example: Example, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.levels(t)
        return alpha * example.x + sigma * example.eps

    def _step(self, x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return step(x_t, x_0, self._levels(t), self._levels(s))

    def _snr(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t).exp() / self.loss.min_snr_gamma

    def _weight(self, t: Tensor) -> Tensor:
        """`objective`'s weight of x_0's squared error."""
        return torch.where(t == 1, 1.0, self._snr(t).clamp(max=1).clamp_min(self.loss.min_weight))

    @torch.no_grad()
    def _estimate(
        self, network: Student, example: Example, x_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """A network's x_0 as a decoder takes it."""
        knobs = example.draw.quality, example.draw.realism
        estimate: Tensor = network(x_t, t, example.cond if cond is None else cond, *knobs, example.guidance)
        return estimate.clamp(-1, 1)

    def _walked(self, example: Example, x_t: Tensor, times: tuple[float, ...]) -> Tensor:
        """Where the student itself comes to from x_t along the times."""
        for t, s in pairwise(times):
            x_0 = self._estimate(self.student, example, x_t, torch.full_like(example.draw.t, t))
            x_t = sampler.ddim_step(x_t, x_0, t, s, self.schedule)
        return x_t


def step(x_t: Tensor, x_0: Tensor, there: tuple[Tensor, Tensor], here: tuple[Tensor, Tensor]) -> Tensor:
    """A DDIM step without noise, of every picture from its own (alpha_t, sigma_t) to its own (alpha_s, sigma_s)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = there, here
    return alpha_s * x_0 + sigma_s * ((x_t - alpha_t * x_0) / sigma_t)


def _part(example: Example, picked: Tensor) -> Example:
    draw = Draw(*(knob[picked] for knob in (example.draw.quality, example.draw.realism, example.draw.t)))
    guidance = None if example.guidance is None else example.guidance[picked]
    return Example(example.x[picked], example.eps[picked], example.cond[picked], draw, guidance)


class Objective(nn.Module):
    """The student under its loss; the module that is trained."""

    def __init__(self, lessons: Lessons, model: Model, lpips: Lpips | None) -> None:
        """`model` makes the latents. Without `lpips` the perceptual term is left out."""
        super().__init__()
        self.student, self.lessons, self.model = lessons.student, lessons, model
        self.loss, self.distortion = lessons.loss, Distortion(lessons.loss, lpips)

    def forward(self, x: Tensor, rules: Rules) -> dict[str, Tensor]:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of 64 -> scalars: loss, mse to x (on [0, 255]), lpips."""
        example = self._example(x, rules)
        lesson, draw = self.lessons.lesson(example, rules), example.draw
        knobs = draw.quality, draw.realism, example.guidance
        x_hat = self.student(lesson.x_t, lesson.t, lesson.cond, *knobs)
        error = lesson.weight * self.distortion.squared(x_hat - lesson.target) * SQUARED_ERROR_UNIT
        rho = lesson.seen * draw.realism * self.distortion.perceptual_weight(rules)
        judged = x if self.lessons.config.perceptual_target == "picture" else lesson.target
        total, distance = self.distortion.mix(error, x_hat, judged, rho, rules)
        loss = (total * rate_weight(self.loss, draw.quality) ** -self.loss.balance).mean()
        return {"loss": loss, **shown(x_hat, x, distance, rho)}

    def _example(self, x: Tensor, rules: Rules) -> Example:
        """Latents as files give them, and the draws."""
        draw = Draw.sample(x.shape[0], rules.continuous, x.device)
        told = self.student.guide is not None and rules.method in PROMOTING
        guidance = torch.rand(x.shape[0], device=x.device) if told else None
        noise = torch.randn_like(x) * (draw.realism * self.model.config.init_noise)[:, None, None, None]
        return Example(x, noise, quantised(self.model, x, draw.quality), draw, guidance)
