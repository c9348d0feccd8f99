"""What a prior should predict and which variance its steps should have: bounds of small priors, in bits a value.

    python experiments/progressive/parametrisations.py [--steps N] [--schedule NAME] [--vlb-weight W]

Each is trained from one seed on the same 32 x 32 crops, times and noise, by L_simple (training.losses.prior has it, and
"log-linear" too), the last with a learned variance by the hybrid loss. The bound is on pictures of CIFAR-10, on which
nothing is trained; the rows of one network differ in the variance of the steps alone, the columns in the grid alone.
By default about 6 minutes of one free core, a quarter of it for the bounds.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from prior import CIFAR
from torch import Tensor, nn

from regrain.diffusion import parametrize, sampler, schedule
from regrain.diffusion.prior import Prior, PriorConfig
from regrain_lab.evaluation import likelihood
from regrain_lab.training.data import Crops, members
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.prior import PriorLoss
from regrain_lab.training.recipe import LossConfig, Recipe, Stage, read_recipe
from regrain_lab.training.stages import Position, learning_rate
from regrain_lab.training.state import State

ROOT: Final = Path(__file__).resolve().parents[2]
PICTURES, POOL, BATCH, SIDE = 200, 8192, 32, 32
RATES: Final = (1e-3, 1e-5)
SMALL: Final = PriorConfig(widths=(24, 48, 64), depths=(1, 1, 2), embedding=64)
PRIORS: Final = (
    *(replace(SMALL, prediction=prediction) for prediction in ("eps", "x0", "v")),
    replace(SMALL, prediction="v", learned_variance=True),
)
SCHEDULES: Final = {name: schedule.get(name) for name in ("linear", "cosine", "log-linear")}
COLUMNS: Final = [(name, count) for name in SCHEDULES for count in (100, 20)]


def main() -> None:
    """Train and print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--schedule", default="cosine", help='of the training: "cosine" or "log-linear"')
    parser.add_argument("--vlb-weight", type=float, default=1.0, help="of the hybrid loss; see LossConfig")
    options = parser.parse_args()
    stage = Stage("noise", options.steps, BATCH, SIDE, RATES)
    loss = LossConfig(schedule=options.schedule, vlb_weight=options.vlb_weight)
    recipe = replace(read_recipe(ROOT / "recipes" / "prior.toml"), stage=(stage,), loss=loss)
    train_on = pool(recipe, min(POOL, options.steps * BATCH))
    pictures = torch.from_numpy(np.load(CIFAR)[:PICTURES]).permute(0, 3, 1, 2).float() / 127.5 - 1
    print("| prediction | variance |", *(f"{name}, {count} steps |" for name, count in COLUMNS))
    print("|---|---|" + "---|" * len(COLUMNS))
    for config in PRIORS:
        prior = train(replace(recipe, prior=config), train_on)
        found = torch.stack([bits(prior, pictures, SCHEDULES[name], count) for name, count in COLUMNS], 1)
        label = f"{config.prediction}{', variance learned' if config.learned_variance else ''}"
        for variance, row in zip(("beta_tilde", "beta", "learned"), found.tolist(), strict=False):
            print(f"| {label} | {variance} |", *(f"{value:.3f} |" for value in row), flush=True)


def pool(recipe: Recipe, count: int) -> Tensor:
    """Crops of the recipe's training pictures, (count, 3, SIDE, SIDE), all scaled down so that they show something."""
    data = replace(recipe.data, reduced=1.0)
    crops = Crops(members(recipe.path(data.shards), data, held_out=False), recipe.seed, data)
    return torch.stack([crops[number, SIDE] for number in range(count)])


def train(recipe: Recipe, pictures: Tensor) -> Prior:
    """The recipe's prior, averaged over its only stage; as `loop` trains, with pictures at hand instead of in files."""
    torch.manual_seed(recipe.seed)
    prior, stage = Prior(recipe.prior), recipe.stage[0]
    prior.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective, state = PriorLoss(prior, recipe.loss), State(prior, recipe.ema)
    for step in range(stage.steps):
        torch.manual_seed((recipe.seed << 32) + step)
        x = pictures[torch.randint(len(pictures), (stage.batch,))].contiguous(memory_format=torch.channels_last)
        state.zero_grad()
        objective(x, StageWeights.at(stage, step))["loss"].backward()
        nn.utils.clip_grad_norm_(prior.parameters(), recipe.clip)
        state.update(learning_rate(recipe, step, Position(stage, step, 0)))
    state.load_average()
    return prior.eval().requires_grad_(False)


def bits(prior: Prior, x_0: Tensor, levels: schedule.Schedule, count: int) -> Tensor:
    """Means over the pictures for beta_tilde, for beta and, where there is one, for the learned variance: (2 or 3,)."""
    seen: dict[float, tuple[Tensor, Tensor]] = {}

    def denoise(x_t: Tensor, t: float) -> Tensor:
        """The same x_t for every variance, so looked at once."""
        if t not in seen:
            x_t = x_t.contiguous(memory_format=torch.channels_last)
            output, nu = prior.with_fraction(x_t, levels.log_snr(torch.full((len(x_t),), t)))
            seen[t] = parametrize.to_x0(prior.prediction, output, x_t, *levels.at(t)).clamp(-1, 1), nu
        return seen[t][0]

    def learned(t: float, s: float) -> Tensor:
        return likelihood.between(seen[t][1].double(), t, s, levels)

    def noise(k: int) -> Tensor:
        return torch.randn(x_0.shape, generator=torch.Generator().manual_seed(k))

    variances: list[likelihood.StepVariance] = ["posterior", "beta"]
    if prior.config.learned_variance:
        variances.append(learned)
    times = sampler.time_grid(count)
    bounds = [likelihood.bound(denoise, x_0, levels, times, noise, variance=variance) for variance in variances]
    return torch.stack([bound.bits_per_dim.mean() for bound in bounds])


if __name__ == "__main__":
    main()
