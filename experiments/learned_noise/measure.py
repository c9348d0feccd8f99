"""The bound of the shipped prior, fine-tuned under a fixed schedule, with a learned variance, and with a learned one.

    python experiments/learned_noise/measure.py [--updates N] [--ways shipped fixed variance schedule ends] [--out CSV]

All begin from the prior that ships and see the same crops of 64 pixels in the same order, N updates each:

    fixed      log-SNR even in time, the loss that the prior was trained on
    variance   the same, and a variance of each step between beta_tilde and beta (Nichol and Dhariwal 2021, eq. 15)
    schedule   the log-SNR is a monotone network of time that makes the loss vary least (`monotone.py`), ends fixed
    ends       the same, and its ends learn on the bound

"shipped" is the prior as it ships. A row of the CSV is one network, grid of times, number of steps and variance: bits a
value (bits per dimension) on 64 pictures of CIFAR-10, of its training part, and on held-out crops of photos.
`estimate` and `deviation` are the mean and the standard deviation of the bound's diffusion part on held-out crops, at
one random time a crop. Rows of other ways stay. A schedule that was learned is in schedules.csv, 21 times of it.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from monotone import Learned, MonotoneLogSnr, ScheduleLoss, continuous_bits
from torch import Tensor, nn

from regrain import registry
from regrain.bitstream import Method
from regrain.diffusion import parametrize, sampler
from regrain.diffusion.prior import Prior
from regrain.diffusion.schedule import LogLinear, Schedule
from regrain_lab.evaluation import likelihood
from regrain_lab.training.data import Crops, holdout_batch, members
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.prior import PriorLoss
from regrain_lab.training.recipe import LossConfig, Recipe, Stage, read_recipe
from regrain_lab.training.state import State

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
CIFAR: Final = ROOT.parent / "shared" / "data" / "cifar10" / "cifar10_1000.npy"
WAYS: Final = ("shipped", "fixed", "variance", "schedule", "ends")
COUNTS: Final = (10, 30, 100)
SIDE, BATCH, POOL, PICTURES, HELD_OUT, DRAWS = 64, 8, 1600, 64, 16, 48
RATES: Final = (3e-4, 1e-5)
SCHEDULE_RATE: Final = 20.0
"""How much faster the schedule's network learns than the prior."""
KEYS: Final = ("way", "grid", "steps", "variance")
HEADS: Final = [*KEYS, "updates", "cifar_bits", "photo_bits", "estimate", "deviation"]
Row = dict[str, str]


def main() -> None:
    """Train what is asked for, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--out", type=Path, default=HERE / "rows.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read_recipe(ROOT / "recipes" / "prior.toml")
    photos = holdout_batch(members(recipe.path(recipe.data.shards), recipe.data, held_out=True), HELD_OUT)
    sets = {"cifar_bits": cifar(), "photo_bits": photos[:, :, 64 : 64 + SIDE, 64 : 64 + SIDE].contiguous()}
    crops = pool(recipe, min(POOL, options.updates * BATCH))
    for way in options.ways:
        prior, schedule = trained(way, crops, recipe, options.updates)
        if isinstance(schedule, Learned):
            note(way, schedule, options.out.with_name("schedules.csv"))
        grids = {"learned" if isinstance(schedule, Learned) else "log-linear": schedule}
        updates = str(0 if way == "shipped" else options.updates)
        write([{"way": way, "updates": updates} | row for row in rows(prior, grids, sets)], options.out)


def cifar() -> Tensor:
    """Pictures of CIFAR-10, (N, 3, 32, 32)."""
    return torch.from_numpy(np.load(CIFAR)[:PICTURES]).permute(0, 3, 1, 2).float() / 127.5 - 1


def pool(recipe: Recipe, count: int) -> Tensor:
    """Crops of the training pictures, uint8 (count, 3, SIDE, SIDE)."""
    crops = Crops(members(recipe.path(recipe.data.shards), recipe.data, held_out=False), recipe.seed, recipe.data)
    return torch.stack([((crops[k, SIDE] + 1) * 127.5).round().to(torch.uint8) for k in range(count)])


def trained(way: str, crops: Tensor, recipe: Recipe, updates: int) -> tuple[Prior, Schedule]:
    """A prior, averaged over its training, and the schedule that it was trained under."""
    prior = Prior.load(Path(str(registry.shipped_weights(Method.PROGRESSIVE))))
    if way == "shipped":
        return prior.eval(), LogLinear()
    prior = with_variance(prior) if way == "variance" else prior
    prior.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(recipe.seed)
    config, network = LossConfig(vlb_weight=1.0), MonotoneLogSnr(free_ends=way == "ends")
    losses = PriorLoss(prior, config), ScheduleLoss(prior, network, config)
    state, adam, start = (
        State(prior, recipe.ema),
        torch.optim.Adam(network.parameters(), betas=(0.9, 0.99)),
        time.time(),
    )
    stage = Stage("fine-tuning", updates, BATCH, SIDE, RATES)
    for step in range(updates):
        torch.manual_seed((recipe.seed << 32) + step)
        x = crops[torch.randint(len(crops), (BATCH,))].float() / 127.5 - 1
        x, rate = x.contiguous(memory_format=torch.channels_last), cosine(step / updates)
        state.zero_grad()
        adam.zero_grad()
        if way in ("schedule", "ends"):
            bits = losses[1].backward(x)
            adam.param_groups[0]["lr"] = SCHEDULE_RATE * rate
            adam.step()
        else:
            bits = plain_backward(losses[0], x, StageWeights.at(stage, step))
        nn.utils.clip_grad_norm_(prior.parameters(), recipe.clip)
        state.update(rate)
        if step % 100 == 0 or step == updates - 1:
            print(f"{way} {step}: {bits:.3f} bits, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    state.load_average()
    return prior.eval().requires_grad_(False), Learned(network) if way in ("schedule", "ends") else LogLinear()


def cosine(progress: float) -> float:
    """The learning rate at a share of the training."""
    first, last = RATES
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def plain_backward(loss: PriorLoss, x: Tensor, weights: StageWeights) -> float:
    """The house's own loss of a prior; returns the estimate of its bound."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scalars = loss(x, weights)
    scalars["loss"].backward()
    return float(scalars["bits"])


@torch.no_grad()
def with_variance(prior: Prior) -> Prior:
    """The same prior with a variance to learn, which begins half way between beta_tilde and beta."""
    wider, state = Prior(replace(prior.config, learned_variance=True)), dict(prior.state_dict())
    for name in ("leave.weight", "leave.bias"):
        if name in state:
            state[name] = torch.cat([state[name], torch.zeros_like(state[name])])
    wider.load_state_dict(state)
    return wider


def rows(prior: Prior, grids: dict[str, Schedule], sets: dict[str, Tensor]) -> Iterator[Row]:
    """All bounds of one network, a row a grid, number of steps and variance."""
    for grid, schedule in grids.items():
        estimate, deviation = spread(prior, sets["photo_bits"], schedule)
        for steps in COUNTS:
            bounds = {name: bits(prior, x, schedule, steps) for name, x in sets.items()}
            for variance in bounds["cifar_bits"]:
                figures = {name: f"{values[variance]:.4f}" for name, values in bounds.items()}
                named = {"grid": grid, "steps": str(steps), "variance": variance}
                yield named | figures | {"estimate": f"{estimate:.4f}", "deviation": f"{deviation:.4f}"}


@torch.no_grad()
def spread(prior: Prior, x: Tensor, schedule: Schedule) -> tuple[float, float]:
    """Mean and standard deviation over random times of the bound's diffusion part, as training draws it."""
    torch.manual_seed(0)
    parts, width = [], 1e-3
    for _ in range(DRAWS):
        t = width / 2 + (1 - width) * torch.rand(len(x), dtype=torch.float64)
        log_snr = schedule.log_snr(t)
        slope = (schedule.log_snr(t + width / 2) - schedule.log_snr(t - width / 2)) / width
        parts.append(continuous_bits(prior, x, log_snr.float(), slope.float())[0])
    draws = torch.stack(parts)
    return float(draws.mean()), float(draws.var(0).mean().sqrt())


@torch.no_grad()
def bits(prior: Prior, x_0: Tensor, schedule: Schedule, steps: int) -> dict[str, float]:
    """The whole bound in bits a value, for beta_tilde, beta and, where there is one, the learned variance."""
    outputs: dict[float, tuple[Tensor, Tensor]] = {}

    def denoise(x_t: Tensor, t: float) -> Tensor:
        """The same x_t for every variance, so looked at once."""
        if t not in outputs:
            log_snr = x_t.new_full((len(x_t),), schedule.log_snr_at(t))
            output, nu = prior.with_fraction(x_t.contiguous(memory_format=torch.channels_last), log_snr)
            outputs[t] = parametrize.to_x0(prior.prediction, output, x_t, *schedule.at(t)).clamp(-1, 1), nu
        return outputs[t][0]

    def learned(t: float, s: float) -> Tensor:
        return likelihood.between(outputs[t][1].double(), t, s, schedule)

    def noise(k: int) -> Tensor:
        return torch.randn(x_0.shape, generator=torch.Generator().manual_seed(k))

    variances: dict[str, likelihood.StepVariance] = {"beta_tilde": "posterior", "beta": "beta"}
    if prior.config.learned_variance:
        variances["learned"] = learned
    times = sampler.time_grid(steps)
    return {
        name: float(likelihood.bound(denoise, x_0, schedule, times, noise, variance=variance).bits_per_dim.mean())
        for name, variance in variances.items()
    }


def note(way: str, schedule: Learned, path: Path) -> None:
    """Add a learned schedule to the table of schedules."""
    rows = [row for row in table(path) if row["way"] != way]
    rows += [{"way": way, "t": f"{k / 20:g}", "log_snr": f"{schedule.log_snr_at(k / 20):.3f}"} for k in range(21)]
    save(rows, ["way", "t", "log_snr"], path)


def write(rows: list[Row], path: Path) -> None:
    """Put rows into the CSV, in the place of older ones of the same way."""
    save([row for row in table(path) if row["way"] != rows[0]["way"]] + rows, HEADS, path)


def table(path: Path) -> list[Row]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def save(rows: list[Row], heads: list[str], path: Path) -> None:
    """Write all rows."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
