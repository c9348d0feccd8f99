"""Guidance on the sampler that ships, distilled in both stages (Meng et al. 2023): does it need a teacher at all?

    python experiments/few_steps/guidance.py WEIGHTS CSV [--minutes M]

    hidden     a copy of the sampler whose trunk sees neither latents nor guide learns to denoise, by squared error: u
    teacher    c + w (c - u), both clamped, with c the sampler that ships
    guided     first stage: one network, which takes w as an input, learns the teacher's estimate on the teacher's way
    halved     second stage: two passes of that network become one of its student's: 8 to 4, then 2, then 1

c and u see the same x_t, about the same guide (`regrain.diffusion.unet.SamplingDenoiser`). Each network trains for M
minutes of processor time, w even in [0, W], all at one quality. Held-out crops are sampled from the guide under noise,
as in decoding; a row is a network, a weight and a number of passes, and its figures are those of `students.py`. Rows of
0 passes are the guide. VGG16, on which KID stands, is in the loss of the sampler that ships. WEIGHTS is the folder of
metrics' weights.
"""

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from predictions import BATCH, ROOT, SIDE
from students import Bench, Judges, Row, quality, write
from torch import Tensor, nn

from regrain.diffusion import sampler
from regrain.diffusion.unet import SamplingDenoiser
from regrain.diffusion.unet_config import RESIDUAL
from regrain_lab.trainable.denoisers import GuidanceEmbedding
from regrain_lab.trainable.frozen import FrozenCodec, guides, noise_gates, quantized_latents
from regrain_lab.training.data import Crops, batches, members
from regrain_lab.training.losses.distillation import random_times, rollout
from regrain_lab.training.losses.sampler import LEVELS, WEIGHT_MAX
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State

PASSES: Final = (1, 2, 4, 8)
HALVINGS: Final = (4, 2, 1)
MOST: Final = 2.0
"""W, the largest weight that the guided network takes."""
WEIGHTS: Final = (-0.5, 0.0, 0.25, 0.5, 1.0, 2.0)
LEARNT: Final = (0.0, 0.25, 0.5, 1.0)
STARTS: Final = 0.25
"""Share of the crops that the hidden network sees where decoding starts."""
RATES: Final = (4e-4, 1e-5)


class Place(NamedTuple):
    """What decoding knows: latents y_hat, their picture in one step, how much noise enters where, and w over W (B,)."""

    cond: Tensor
    guide: Tensor
    gate: Tensor
    w: Tensor

    def start(self, noise: Tensor) -> Tensor:
        """x_1, (B, 3, H, W)."""
        alpha, sigma = LEVELS.at(1.0)
        return alpha * self.guide + sigma * self.gate * noise


Estimate = Callable[[Tensor, Tensor, Place], Tensor]
"""x_0, clamped, of x_t, t (B,) and a place."""


class Network(nn.Module):
    """A copy of the sampler that may be blind to latents and guide, and may take a weight."""

    def __init__(self, denoiser: SamplingDenoiser, *, hidden: bool = False, guided: bool = False) -> None:
        """Copy the sampler. With `guided`, it heeds w after training alone."""
        super().__init__()
        self.denoiser, self.hidden = copy.deepcopy(denoiser).requires_grad_(True), hidden
        self.weight = GuidanceEmbedding(denoiser.gate.in_features) if guided else None

    def forward(self, x_t: Tensor, t: Tensor, place: Place) -> Tensor:
        """The estimate of x_0, not clamped."""
        hide = torch.zeros_like if self.hidden else torch.clone
        handle = None
        if self.weight is not None:
            vector = self.weight(place.w)
            handle = self.denoiser.embed.register_forward_hook(lambda _module, _scalars, embedding: embedding + vector)
        try:
            context = self.denoiser.context(hide(place.cond), quality(x_t), hide(place.guide))
            x_0: Tensor = self.denoiser(x_t, t, quality(x_t), place.guide, context)
        finally:
            if handle is not None:
                handle.remove()
        return x_0

    @torch.no_grad()
    def estimate(self, x_t: Tensor, t: Tensor, place: Place) -> Tensor:
        """The estimate as a decoder takes it."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self(x_t, t, place).float().clamp(-1, 1)


class Lesson(NamedTuple):
    """At x_t and t (B,) the network is to estimate x_0."""

    x_t: Tensor
    t: Tensor
    x_0: Tensor


class Guidance:
    """The codec, its sampler, and the crops."""

    def __init__(self, bench: Bench) -> None:
        """Read the weights that ship."""
        self.bench, self.codec = bench, FrozenCodec.load(None, torch.device("cpu"))
        assert self.codec.networks.sampler is not None
        self.shipped = Network(self.codec.networks.sampler).eval()

    @torch.no_grad()
    def place(self, cond: Tensor, w: Tensor) -> Place:
        """What is known of latents."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guide = guides(self.codec, cond, quality(cond), torch.ones(len(cond)))
        return Place(cond, guide, noise_gates(guide), w)

    def guided(self, hidden: Network) -> Estimate:
        """c + w (c - u)."""

        def estimate(x_t: Tensor, t: Tensor, place: Place) -> Tensor:
            c, u = self.shipped.estimate(x_t, t, place), hidden.estimate(x_t, t, place)
            return (c + MOST * place.w[:, None, None, None] * (c - u)).clamp(-1, 1)

        return estimate

    def train(self, network: Network, lesson: Callable[[Tensor, Place], Lesson], minutes: float) -> int:
        """Squared error, weighed as where the sampler trains; returns the number of updates."""
        state, start, updates, recipe = State(network, 0.99), time.process_time(), 0, self.bench.recipe
        crops = Crops(members(self.bench.folder, recipe.data, held_out=False), 0, recipe.data)
        for x in batches(crops, first=0, stride=BATCH, steps=10**6, batch=BATCH, crop=SIDE, workers=0):
            progress = (time.process_time() - start) / (60 * minutes)
            if progress >= 1:
                break
            torch.manual_seed(updates)
            place = self.place(quantized_latents(self.codec, x, quality(x)), torch.rand(len(x)))
            with torch.no_grad():
                x_t, t, x_0 = lesson(x, place)
            state.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x_hat = network(x_t, t, place)
            noise = (-LEVELS.log_snr(t)).exp()
            weight = ((RESIDUAL**2 + noise) / noise).clamp(max=WEIGHT_MAX)
            (weight * (x_hat - x_0).square().mean((1, 2, 3))).mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            first, last = RATES
            state.update(last + (first - last) * (1 + math.cos(math.pi * progress)) / 2)
            updates += 1
        state.load_average()
        network.eval()
        return updates

    @torch.no_grad()
    def judged(self, estimate: Estimate, w: float, passes: int) -> Row:
        """The figures of the held-out crops, drawn with two seeds."""
        return self.bench.figures(*(self.drawn(estimate, w, passes, seed) for seed in (0, 1)))

    def drawn(self, estimate: Estimate, w: float, passes: int, seed: int) -> Tensor:
        """The held-out crops in so many passes; the guide itself in none."""
        generator, pictures = torch.Generator().manual_seed(seed), []
        for cond in self.bench.latents:
            place = self.place(cond, torch.full((len(cond),), w / MOST))
            x_1 = place.start(torch.randn(place.guide.shape, generator=generator))
            denoise = at_times(estimate, place)
            pictures.append(sampler.sample(denoise, x_1, LEVELS, steps=passes) if passes else place.guide)
        return torch.cat(pictures)


def at_times(estimate: Estimate, place: Place) -> Callable[[Tensor, float], Tensor]:
    """The estimate at one time for all pictures."""
    return lambda x_t, t: estimate(x_t, torch.full((len(x_t),), t), place)


def hidden_lesson(x: Tensor, place: Place) -> Lesson:
    """Denoising, from the true picture under noise or from where decoding starts."""
    t, eps = (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1, torch.randn_like(x)
    starts = torch.rand(len(x)) < STARTS
    t = torch.where(starts, 1.0, t)
    alpha, sigma = LEVELS.levels(t)
    return Lesson(torch.where(starts[:, None, None, None], place.start(eps), alpha * x + sigma * eps), t, x)


def guided_lesson(teacher: Estimate) -> Callable[[Tensor, Place], Lesson]:
    """The teacher's estimate where 0 to 7 of its own steps lead."""

    def lesson(x: Tensor, place: Place) -> Lesson:
        times = random_times(max(PASSES), 0)
        x_t = rollout(at_times(teacher, place), place.start(torch.randn_like(x)), times, LEVELS)
        t = torch.full((len(x),), times[-1])
        return Lesson(x_t, t, teacher(x_t, t, place))

    return lesson


def halved_lesson(teacher: Estimate, passes: int) -> Callable[[Tensor, Place], Lesson]:
    """The x_0 with which one step leads where two of the teacher's lead; it is met where these lead."""

    def lesson(x: Tensor, place: Place) -> Lesson:
        times, first = sampler.time_grid(2 * passes), 2 * int(torch.randint(0, passes, ()))
        denoise = at_times(teacher, place)
        x_t = rollout(denoise, place.start(torch.randn_like(x)), times[: first + 1], LEVELS)
        x_s = rollout(denoise, x_t, times[first : first + 3], LEVELS)
        t, s = times[first], times[first + 2]
        x_0 = x_s if s == 0 else leap(x_t, x_s, LEVELS.at(t), LEVELS.at(s))
        return Lesson(x_t, torch.full((len(x),), t), x_0)

    return lesson


def leap(x_t: Tensor, x_s: Tensor, level_t: tuple[float, float], level_s: tuple[float, float]) -> Tensor:
    """The x_0 with which one DDIM step leads from x_t to x_s (Salimans and Ho 2022, appendix G)."""
    ratio = level_s[1] / level_t[1]
    return (x_s - ratio * x_t) / (level_s[0] - ratio * level_t[0])


def main() -> None:
    """Train all, sample all, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time of each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Guidance(Bench(read_recipe(ROOT / "recipes" / "distill.toml"), Judges(options.weights)))
    rows: list[Row] = []

    def judge(name: str, updates: int, estimate: Estimate, weights: Sequence[float], counts: Sequence[int]) -> None:
        for row in figures(bench, estimate, weights, counts):
            rows.append({"weights": name, "updates": updates, **row})
            print(*rows[-1].values(), file=sys.stderr, flush=True)
        write(rows, options.csv)

    shipped = bench.shipped.denoiser
    judge("shipped", 0, bench.shipped.estimate, (0.0,), (0, *PASSES))
    hidden = Network(shipped, hidden=True)
    updates = bench.train(hidden, hidden_lesson, options.minutes)
    judge("hidden", updates, hidden.estimate, (0.0,), PASSES)
    teacher = bench.guided(hidden)
    judge("teacher", updates, teacher, WEIGHTS, PASSES)
    student = Network(shipped, guided=True)
    updates = bench.train(student, guided_lesson(teacher), options.minutes)
    judge("guided", updates, student.estimate, LEARNT, PASSES)
    for passes in HALVINGS:
        former = copy.deepcopy(student).requires_grad_(False)
        updates = bench.train(student, halved_lesson(former.estimate, passes), options.minutes)
        judge(f"halved to {passes}", updates, student.estimate, LEARNT, (passes,))


def figures(bench: Guidance, estimate: Estimate, weights: Sequence[float], counts: Sequence[int]) -> Iterator[Row]:
    """A row a weight and a number of passes."""
    for w in weights:
        for passes in counts:
            yield {"w": w, "passes": passes, **bench.judged(estimate, w, passes)}


if __name__ == "__main__":
    main()
