"""Few steps of a teacher that needs many: six ways to train its student, for equal times.

    python experiments/few_steps/students.py WEIGHTS CSV [--minutes M]

The teacher is a small denoiser (`predictions.SMALL`) behind the latents that ship, at one quality: it starts from
noise alone, has no sketch to stand on, and learns on the squared error of x_0, at times that are even. A tenth of
its crops come without latents, as guidance needs. Students are its copies, trained on for M minutes of processor time
each (the teacher for three times as many), all on the same crops:

    none           as the teacher was
    progressive    16 of its steps become 8 of the student's, then 4, 2 and 1             (Salimans and Ho 2022)
    consistency    its own estimate at an earlier time, nearer and nearer                         (Geng et al. 2024)
    regression     where its own 1 to 4 steps lead, towards the picture: squared error and LPIPS-SqueezeNet
    distribution   the same places, towards the statistics of the picture: Wasserstein distance on VGG16's features, a
                   discriminator on them, and as much LPIPS and squared error as keeps the picture in its place
    guided         what guidance makes of the teacher, the weight an input; then half the steps, three times over
                                                                                             (Meng et al. 2023)

All are sampled on held-out crops in 1 to 64 steps, with two seeds. A row a way to sample: PSNR, LPIPS and Gram distance
of AlexNet, which no loss has; KID, which stands on VGG16 and judges all but "distribution"; and what two seeds differ
by over the error. WEIGHTS is the folder of metrics' weights.
"""

import argparse
import copy
import csv
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import torch
from predictions import BATCH, QUALITY, ROOT, SIDE, SMALL
from torch import Tensor, nn

from regrain.conditional.transform import build_denoiser
from regrain.diffusion import sampler
from regrain_lab.metrics import realism
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.metrics.realism import Features, pool_units
from regrain_lab.trainable.denoisers import Student
from regrain_lab.trainable.discriminator import Discriminator
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.losses.codec import SQUARED_ERROR_UNIT, Conditioning, StageWeights
from regrain_lab.training.losses.distillation import Batch, Distillation, random_times, rollout
from regrain_lab.training.losses.texture import STAGES, TextureDistances
from regrain_lab.training.recipe import DistillConfig, Recipe, read_recipe
from regrain_lab.training.state import State

COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)
FEW: Final = (1, 2, 4, 8)
HELD_OUT: Final = 16
GUIDANCE: Final = (0.0, 0.5)
PLAIN: Final = DistillConfig(dropout=0.1)
Row = dict[str, str | int | float]


class Judges:
    """The metrics' networks."""

    def __init__(self, folder: Path) -> None:
        """Read them from the folder of metrics' weights."""
        vgg, heads = folder / "vgg16_features_fp16.safetensors", folder / "lpips_vgg_lins.safetensors"
        self.alex, self.vgg = Lpips.load(folder / "lpips_alex_v0.1.safetensors"), Lpips.load(heads, vgg)
        self.squeeze = Lpips.load(folder / "lpips_squeeze_v0.1.safetensors")
        self.textures = TextureDistances.load(vgg, heads)

    def features(self, x: Tensor) -> list[Features]:
        """What KID and Gram compare, of each picture."""
        size = (x.shape[2], x.shape[3])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return [pool_units(self.vgg.units(one[None]), self.alex.units(one[None]), size) for one in x]


def main() -> None:
    """Train all, sample all, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--minutes", type=float, default=7.0, help="processor time of a student")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judges = Judges(options.weights)
    bench = Bench(read_recipe(ROOT / "recipes" / "distill.toml"), judges)
    teacher = bench.student()
    updates = bench.train(teacher, Way(method_loss, [stage("none")], PLAIN, (3e-3, 1e-4)), 3 * options.minutes)
    rows = [*judged(bench, "teacher", teacher, updates, COUNTS, ("ddim", "ancestral"))]
    write(rows, options.csv)
    for name, way in ways(judges).items():
        student = bench.student(teacher, guided=name == "guided")
        updates = bench.train(student, way, options.minutes)
        rows += judged(bench, name, student, updates, FEW, ("ddim",))
        write(rows, options.csv)


def judged(
    bench: "Bench", name: str, student: Student, updates: int, counts: Sequence[int], samplers: Sequence[str]
) -> Iterator[Row]:
    """A row a way to sample."""
    for kind, guidance in product(samplers, GUIDANCE if student.guide else (0.0,)):
        for steps in counts:
            row: Row = {"weights": name, "updates": updates, "sampler": kind, "guidance": guidance, "steps": steps}
            row |= bench.judge(student, steps, guidance, eta=float(kind == "ancestral"))
            print(*row.values(), file=sys.stderr, flush=True)
            yield row


def write(rows: list[Row], path: Path) -> None:
    """All rows so far."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


class Bench:
    """The codec, the crops, and the way in which all networks train and are judged."""

    def __init__(self, recipe: Recipe, judges: Judges) -> None:
        """Build the untrained teacher behind the codec's latents, with the noise of DDPM."""
        codec = FrozenCodec.load(None, torch.device("cpu"))
        config = replace(codec.config, denoiser=SMALL, init_noise=1.0, sampler=False)
        torch.manual_seed(recipe.seed)
        denoiser = build_denoiser(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        denoiser.corrects = False
        self.recipe, self.judges, self.folder = recipe, judges, recipe.path(recipe.data.shards)
        self.codec = replace(codec, networks=replace(codec.networks, config=config, denoiser=denoiser, sampler=None))
        pictures = holdout_batch(members(self.folder, recipe.data, held_out=True), HELD_OUT)
        self.pictures = list(pictures.split(BATCH))
        self.latents = [quantized_latents(self.codec, x, quality(x)) for x in self.pictures]
        self.originals = judges.features(pictures)

    def student(self, teacher: Student | None = None, *, guided: bool = False) -> Student:
        """A copy of the teacher; without one, the untrained teacher itself."""
        networks = self.codec.networks if teacher is None else replace(self.codec.networks, denoiser=teacher.denoiser)
        return Student(replace(self.codec, networks=networks), guided=guided)

    def train(self, student: Student, way: "Way", minutes: float) -> int:
        """Train for so many minutes of processor time, an equal part for each stage; returns the number of updates."""
        models = Distillation(student, copy.deepcopy(student).requires_grad_(False), way.config, self.recipe.loss)
        network = nn.ModuleList([student, *way.parts])
        state, stage, updates, start = State(network, 0.99), 0, 0, time.process_time()
        crops = Crops(members(self.folder, self.recipe.data, held_out=False), 0, self.recipe.data)
        for step, x in enumerate(batches(crops, first=0, stride=BATCH, steps=10**6, batch=BATCH, crop=SIDE, workers=0)):
            progress = (time.process_time() - start) / (60 * minutes)
            if progress >= 1:
                break
            if int(progress * len(way.stages)) > stage:
                stage = int(progress * len(way.stages))
                state.load_average()
                models.teacher.load_state_dict(student.state_dict())
            torch.manual_seed(step)
            batch = self.draw(x, student)
            state.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = way.loss(models, batch, way.stages[stage])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), self.recipe.clip)
            first, last = way.rates
            state.update(last + (first - last) * (1 + math.cos(math.pi * progress)) / 2)
            updates = step + 1
        state.load_average()
        student.eval()
        return updates

    def draw(self, x: Tensor, student: Student) -> Batch:
        """Latents, times and noise of crops, at realism 1."""
        x = x.contiguous(memory_format=torch.channels_last)
        t, ones = (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1, torch.ones(len(x))
        knobs = Conditioning(quality(x), ones, t)
        guidance = torch.rand(len(x)) if student.guide else None
        return Batch(x, torch.randn_like(x), quantized_latents(self.codec, x, knobs.quality), knobs, guidance)

    @torch.no_grad()
    def judge(self, student: Student, steps: int, guidance: float, eta: float) -> Row:
        """The figures of the held-out crops, sampled with two seeds."""
        return self.figures(*(self.sample(student, steps, guidance, eta, seed) for seed in (0, 1)))

    def figures(self, first: Tensor, second: Tensor) -> Row:
        """Those of the held-out crops as two seeds have them."""
        originals = torch.cat(self.pictures)
        error = float(((first - originals).square().mean() + (second - originals).square().mean()) / 2)
        distances = realism.distances(self.originals, self.judges.features(first))
        lpips = [self.judges.alex(a, b) for a, b in zip(first.split(BATCH), self.pictures, strict=True)]
        return {
            "pictures": len(originals),
            "psnr": 10 * math.log10(4 / error),
            "lpips": float(torch.cat(lpips).mean()),
            "gram": 1000 * distances["gram"].value,
            "kid": 1000 * distances["kid"].value,
            "spread": math.sqrt(float((first - second).square().mean()) / 2 / error),
        }

    def sample(self, student: Student, steps: int, guidance: float, eta: float, seed: int) -> Tensor:
        """The held-out crops in so many steps."""
        generator = torch.Generator().manual_seed(seed)

        def one(x: Tensor, cond: Tensor) -> Tensor:
            ones = torch.ones(len(x))

            def noise(_k: int) -> Tensor:
                return torch.randn(x.shape, generator=generator)

            def denoise(x_t: Tensor, t: float) -> Tensor:
                weight = guidance * ones if student.guide else None
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    x_0: Tensor = student(x_t, t * ones, cond, quality(x), ones, weight)
                return x_0.float().clamp(-1, 1)

            return sampler.sample(denoise, noise(0), student.schedule, steps=steps, eta=eta, noise=noise)

        return torch.cat([one(x, cond) for x, cond in zip(self.pictures, self.latents, strict=True)])


@dataclass(frozen=True)
class Way:
    """How a network trains: its loss, the stages, each with the student so far for its teacher, and the rest."""

    loss: Callable[[Distillation, Batch, StageWeights], Tensor]
    stages: Sequence[StageWeights]
    config: DistillConfig = PLAIN
    rates: tuple[float, float] = (1e-3, 1e-5)
    parts: tuple[nn.Module, ...] = ()
    """What trains beside the student."""


def ways(judges: Judges) -> dict[str, Way]:
    """Those that the docstring above names."""
    halvings = [stage("progressive", sampling_steps=n) for n in (8, 4, 2, 1)]
    adversary, paths = Discriminator(STAGES), [stage("direct", sampling_steps=4)]
    return {
        "none": Way(method_loss, [stage("none")]),
        "progressive": Way(method_loss, halvings),
        "consistency": Way(method_loss, [stage("consistency", gap=gap) for gap in (1.0, 0.5, 0.25, 0.125)]),
        "regression": Way(partial(regression_loss, judges), paths),
        "distribution": Way(partial(distribution_loss, judges, adversary), paths, parts=(adversary,)),
        "guided": Way(method_loss, [stage("guided"), *halvings[1:]], DistillConfig(guidance_max=1.0)),
    }


def stage(method: str, **settings: float) -> StageWeights:
    """The settings of a stage."""
    return StageWeights(rate=0.0, perceptual=0.0, continuous=1.0, freeze_latents=True, method=method, **settings)


def quality(x: Tensor) -> Tensor:
    """The one quality, (B,)."""
    return torch.full((len(x),), QUALITY / 100)


def method_loss(models: Distillation, batch: Batch, weights: StageWeights) -> Tensor:
    """The weighted squared error from the estimate that the method asks for."""
    target, knobs = models.target(batch, weights), batch.knobs
    x_hat = models.student(target.x_t, target.t, target.cond, knobs.quality, knobs.realism, batch.guidance)
    return (target.weight * (x_hat - target.x_0).square().mean((1, 2, 3))).mean()


def estimate_on_path(models: Distillation, batch: Batch, weights: StageWeights) -> Tensor:
    """x_0 where 0 to N - 1 of the student's own N = 2, 4 ... steps have led from noise alone."""
    knobs, times = batch.knobs, random_times(weights.sampling_steps, 0)

    def denoise(x_t: Tensor, t: float) -> Tensor:
        return models.estimate(models.student, batch, x_t, torch.full_like(knobs.t, t))

    x_t = rollout(denoise, batch.eps, times, models.schedule)
    x_hat: Tensor = models.student(x_t, torch.full_like(knobs.t, times[-1]), batch.cond, knobs.quality, knobs.realism)
    return x_hat


def regression_loss(judges: Judges, models: Distillation, batch: Batch, weights: StageWeights) -> Tensor:
    """Squared error and LPIPS, weighed as where the codec trains."""
    x_hat = estimate_on_path(models, batch, weights)
    error = SQUARED_ERROR_UNIT * (x_hat - batch.x).square().mean()
    return 0.5 * error + 0.5 * 8 * judges.squeeze(x_hat, batch.x).mean()


def distribution_loss(
    judges: Judges, adversary: Discriminator, models: Distillation, batch: Batch, weights: StageWeights
) -> Tensor:
    """Statistics of features, and a tenth of the squared error; its gradient reaches the discriminator too."""
    x_hat = estimate_on_path(models, batch, weights)
    error = SQUARED_ERROR_UNIT * (x_hat - batch.x).square().mean()
    decoded, originals = judges.textures.features_of_pair(x_hat, batch.x)
    lpips, wasserstein = judges.textures.distances(decoded, originals)
    mistakes, deceit = adversary.losses(decoded, originals)
    return 0.1 * error + (2 * lpips + 2 * wasserstein + 0.5 * deceit).mean() + mistakes


if __name__ == "__main__":
    main()
