"""What a small conditional denoiser should predict: quality against sampling steps for x_0, v and eps, equally trained.

    python experiments/few_steps/predictions.py LPIPS CSV [--steps N]

The latents are those of the weights b52d4b2a (`make runs/conditional-b52d4b2a.safetensors`), at one quality. Denoisers
of one shape and one seed learn behind them side by side: at every step from the same crops, times and noise, on the
min-SNR weighted squared error alone, which is the same number for a given estimate of x_0 whatever is predicted (see
diffusion.parametrize). In the codec an x_0-prediction is the sketch and what the network adds to it; "x0 alone" adds
nothing, as eps and v do not.

Held-out crops are then sampled in 1 to 64 DDIM steps from the same noise, at realism 1: PSNR of the mean squared error
of all and their mean LPIPS, a row a prediction and count in the CSV, and as a table. Estimates are clamped to [-1, 1]
at each step, as the decoder does; "eps, not clamped" clamps the last one alone. `loss` is the training's, of the same
crops. By default about 18 minutes of one free core.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from regrain.conditional.transform import build_denoiser, sketch
from regrain.diffusion import parametrize, sampler, schedule
from regrain.diffusion.parametrize import Prediction
from regrain.diffusion.unet import DenoiserConfig
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.loop import Position, learning_rate
from regrain_lab.training.recipe import Recipe, Stage, read_recipe
from regrain_lab.training.state import State

ROOT: Final = Path(__file__).resolve().parents[2]
WEIGHTS: Final = ROOT / "runs" / "conditional-b52d4b2a.safetensors"
COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)
HEADS: Final = ["prediction", "parameters", "updates", "batch", "crop", "pictures", "loss", "steps", "psnr", "lpips"]
BATCH, SIDE, HELD_OUT, QUALITY = 8, 128, 16, 28
RATES: Final = (3e-3, 1e-5)
TIMES: Final = 16
SMALL: Final = DenoiserConfig(widths=(80, 80, 96), depths=(1, 1, 1), half=24, embedding=64)
"""As wide at 1/4 and at 1/2 as the codec's: noise has 48 values a patch there, and fewer channels could not say eps."""
WAYS: Final[dict[str, tuple[Prediction, bool]]] = {
    "x0": ("x0", True),
    "x0 alone": ("x0", False),
    "v": ("v", False),
    "eps": ("eps", False),
}
"""What the network says, and whether the sketch is added to it."""

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""x_0 (B, 3, H, W), its latents (B, C, H/16, W/16), t (B,), and noise as x_0."""
Row = dict[str, str | int]


class Learner(nn.Module):
    """A denoiser and what its output means."""

    def __init__(self, model: FrozenCodec, prediction: Prediction, *, corrects: bool) -> None:
        """Build untrained, behind the model's latents."""
        super().__init__()
        self.prediction, self.levels = prediction, schedule.get(model.config.schedule)
        self.denoiser = build_denoiser(replace(model.config, denoiser=SMALL, prediction=prediction))
        self.denoiser.corrects = corrects

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The network's output at the one quality and at realism 1."""
        output: Tensor = self.denoiser(x_t, t, cond, torch.full_like(t, QUALITY / 100), torch.ones_like(t))
        return output.to(x_t.dtype)

    def loss(self, batch: Batch) -> Tensor:
        """L_diff, a scalar."""
        x_0, cond, t, eps = batch
        alpha, sigma = (level(t)[:, None, None, None] for level in (self.levels.alpha, self.levels.sigma))
        output: Tensor = self(alpha * x_0 + sigma * eps, t, cond)
        wrong = output - parametrize.target(self.prediction, x_0, eps, alpha, sigma)
        weight = parametrize.loss_weight(self.prediction, self.levels.log_snr(t))
        return (weight * wrong.square().mean((1, 2, 3))).mean()

    def sample(self, x_1: Tensor, cond: Tensor, steps: int, *, clamped: bool) -> Tensor:
        """The picture, in [-1, 1]; `clamped`: and so is every estimate on the way."""
        reach = 1.0 if clamped else math.inf

        def denoise(x_t: Tensor, t: float) -> Tensor:
            output = self(x_t, x_t.new_full((len(x_t),), t), cond)
            return parametrize.to_x0(self.prediction, output, x_t, *self.levels.at(t)).clamp(-reach, reach)

        return sampler.sample(denoise, x_1, self.levels, steps=steps).clamp(-1, 1)


def main() -> None:
    """Train all, then sample, write the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lpips", type=Path, help="LPIPS of a network that nothing was trained on: AlexNet")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--steps", type=int, default=2000, help="of the training; 20 for a quick check")
    options = parser.parse_args()
    recipe = read_recipe(ROOT / "recipes" / "distill.toml")
    recipe = replace(recipe, ema=0.99, stage=(Stage("predictions", options.steps, BATCH, SIDE, RATES),))
    model, lpips = FrozenCodec.load(WEIGHTS, torch.device("cpu")), Lpips.load(options.lpips)
    pictures = holdout_batch(members(recipe.path(recipe.data.shards), recipe.data, held_out=True), HELD_OUT)
    found = list(rows(train(recipe, model), model, pictures, lpips, options.steps))
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(table(found), end="")


def train(recipe: Recipe, model: FrozenCodec) -> dict[str, Learner]:
    """All learners over the recipe's only stage, averaged; as `loop` trains, with one batch for all of them."""
    learners, states = {}, {}
    for name, (prediction, corrects) in WAYS.items():
        torch.manual_seed(recipe.seed)
        learners[name] = Learner(model, prediction, corrects=corrects).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        states[name] = State(learners[name], recipe.ema)
    stage = recipe.stage[0]
    crops = Crops(members(recipe.path(recipe.data.shards), recipe.data, held_out=False), recipe.seed, recipe.data)
    steps = {"first": 0, "stride": stage.batch, "steps": stage.steps, "batch": stage.batch, "crop": stage.crop}
    for step, x in enumerate(batches(crops, **steps, workers=0)):
        torch.manual_seed((recipe.seed << 32) + step)
        batch = drawn(model, x, (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1)
        losses = []
        for name, state in states.items():
            state.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = learners[name].loss(batch)
            loss.backward()
            nn.utils.clip_grad_norm_(learners[name].parameters(), recipe.clip)
            state.update(learning_rate(recipe, step, Position(stage, step, 0)))
            losses.append(f"{name} {float(loss.detach()):.5f}")
        if step % 100 == 0:
            print(f"step {step}:", *losses, sep="  ", file=sys.stderr, flush=True)
    for name, state in states.items():
        state.load_average()
        learners[name].eval().requires_grad_(False)
    return learners


def drawn(model: FrozenCodec, x: Tensor, t: Tensor) -> Batch:
    """A batch at these times, with noise as the decoder starts from."""
    x = x.contiguous(memory_format=torch.channels_last)
    cond = quantized_latents(model, x, x.new_full((len(x),), QUALITY / 100))
    return x, cond, t, torch.randn_like(x) * model.config.init_noise


@torch.no_grad()
def rows(
    learners: dict[str, Learner], model: FrozenCodec, pictures: Tensor, lpips: Lpips, updates: int
) -> Iterator[Row]:
    """Rows of the CSV; the sketch, for which nothing was trained, has 0 steps."""
    torch.manual_seed(0)
    parts = [drawn(model, x, torch.zeros(len(x))) for x in torch.split(pictures, BATCH)]
    told: Row = {"updates": updates, "batch": BATCH, "crop": SIDE, "pictures": len(pictures)}
    sketches = [sketch(cond).clamp(-1, 1) for _, cond, _, _ in parts]
    yield told | {"prediction": "sketch", "parameters": 0, "steps": 0} | score(sketches, parts, lpips)
    for name, learner in learners.items():
        size, loss = sum(parameter.numel() for parameter in learner.parameters()), held_out(learner, parts)
        for clamped in (True, False) if learner.prediction == "eps" else (True,):
            title = name if clamped else f"{name}, not clamped"
            own = told | {"prediction": title, "parameters": size, "loss": f"{loss:.6f}"}
            for count in COUNTS:
                sampled = [learner.sample(x_1, cond, count, clamped=clamped) for _, cond, _, x_1 in parts]
                yield own | {"steps": count} | score(sampled, parts, lpips)


def held_out(learner: Learner, parts: list[Batch]) -> float:
    """L_diff of the held-out pictures, a mean over even times."""
    times = [(k + 0.5) / TIMES for k in range(TIMES)]
    losses = [float(learner.loss((x, cond, t.new_full(t.shape, at), eps))) for x, cond, t, eps in parts for at in times]
    return sum(losses) / len(losses)


def score(sampled: list[Tensor], parts: list[Batch], lpips: Lpips) -> Row:
    """Of pictures, batch by batch."""
    pairs = [(x_hat, x) for x_hat, (x, *_) in zip(sampled, parts, strict=True)]
    error = torch.cat([(x_hat - x).square().mean((1, 2, 3)) for x_hat, x in pairs]).mean()
    distance = torch.cat([lpips(*pair) for pair in pairs]).mean()
    return {"psnr": f"{10 * math.log10(4 / float(error)):.4f}", "lpips": f"{float(distance):.5f}"}


def table(found: list[Row]) -> str:
    """PSNR / LPIPS: a line a prediction, a column a count; the sketch is left out."""
    lines: dict[str, list[str]] = {"steps": [*map(str, COUNTS)], "---": ["---"] * len(COUNTS)}
    for row in found:
        if row["steps"]:
            cells = lines.setdefault(str(row["prediction"]), [])
            cells.append(f"{float(row['psnr']):.2f} / {float(row['lpips']):.4f}")
    return "".join(f"| {' | '.join([name, *cells])} |\n" for name, cells in lines.items())


if __name__ == "__main__":
    main()
