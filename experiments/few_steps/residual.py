"""What the sampler should stand on: the sketch that latents give without a network, or a picture in one step.

    python experiments/few_steps/residual.py WEIGHTS CSV [--minutes M]

Small samplers (`regrain.diffusion.unet.SamplingDenoiser` of `predictions.SMALL`), trained from nothing for equal
processor times on the same crops, by squared error alone, at times that are even; what differs is the guide, g, that
they see and correct:  x_0 = g + k d + sqrt(1 - k) F,  d = x_t / alpha_t - g

    sketch      the inverse DCT of the latents, which knows no network
    faithful    the picture in one step at realism 0: a diffusion model of the residual x - x_f alone
    between     the picture in one step at realism 1/2
    one step    the same at realism 1: the design that ships

Held-out crops are sampled in 1 to 16 steps from g under noise, as in decoding; the figures are those of `students.py`.
Rows of 0 steps are the guides themselves. WEIGHTS is the folder of metrics' weights.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import torch
from predictions import BATCH, ROOT, SIDE, SMALL
from students import Bench, Judges, Row, quality, write
from torch import Tensor, nn

from regrain.conditional.transform import sketch
from regrain.diffusion import sampler
from regrain.diffusion.unet import SamplingDenoiser
from regrain_lab.trainable.frozen import FrozenCodec, guides, quantized_latents
from regrain_lab.training.data import Crops, batches, members
from regrain_lab.training.losses.sampler import LEVELS
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State

COUNTS: Final = (1, 2, 4, 8, 16)
REALISMS: Final = {"faithful": 0.0, "between": 0.5, "one step": 1.0}
Guide = Callable[[Tensor], Tensor]


def main() -> None:
    """Train all, sample all, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--minutes", type=float, default=6.0, help="processor time of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(read_recipe(ROOT / "recipes" / "distill.toml"), Judges(options.weights))
    codec, rows = FrozenCodec.load(None, torch.device("cpu")), list[Row]()
    guide_of: dict[str, Guide] = {"sketch": sketch} | {name: one_step(codec, r) for name, r in REALISMS.items()}
    for name, guide in guide_of.items():
        pictures = torch.cat([guide(cond).clamp(-1, 1) for cond in bench.latents])
        rows.append({"weights": name, "updates": 0, "steps": 0} | bench.figures(pictures, pictures))
        torch.manual_seed(bench.recipe.seed)
        network = SamplingDenoiser(SMALL, bench.latents[0].shape[1], LEVELS)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        updates = train(bench, network, guide, options.minutes)
        rows += judged(bench, network, guide, {"weights": name, "updates": updates})
    for row in rows:
        print(*row.values(), file=sys.stderr)
    write(rows, options.csv)


def one_step(codec: FrozenCodec, realism: float) -> Guide:
    """The picture in one step, of latents at the one quality."""

    def picture(cond: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return guides(codec, cond, quality(cond), torch.full((len(cond),), realism))

    return picture


def train(bench: Bench, network: SamplingDenoiser, guide: Guide, minutes: float) -> int:
    """Squared error alone, weighed as where the sampler trains; returns the number of updates."""
    state, start, updates = State(network, 0.99), time.process_time(), 0
    crops = Crops(members(bench.folder, bench.recipe.data, held_out=False), 0, bench.recipe.data)
    for x in batches(crops, first=0, stride=BATCH, steps=10**6, batch=BATCH, crop=SIDE, workers=0):
        progress = (time.process_time() - start) / (60 * minutes)
        if progress >= 1:
            break
        torch.manual_seed(updates)
        t, cond = (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1, quantized_latents(bench.codec, x, quality(x))
        (alpha, sigma), g = LEVELS.levels(t), guide(cond)
        state.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            context = network.context(cond, quality(x), g)
            x_hat = network(alpha * x + sigma * torch.randn_like(x), t, quality(x), g, context)
        noise = (-LEVELS.log_snr(t)).exp()
        weight = (0.01 + noise) / noise
        (weight.clamp(max=8) * (x_hat - x).square().mean((1, 2, 3))).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), bench.recipe.clip)
        state.update(1e-5 + 3e-3 * (1 + math.cos(math.pi * progress)) / 2)
        updates += 1
    state.load_average()
    return updates


@torch.no_grad()
def judged(bench: Bench, network: SamplingDenoiser, guide: Guide, named: Row) -> Iterator[Row]:
    """A row a number of steps."""
    for steps in COUNTS:
        yield named | {"steps": steps} | bench.figures(*(drawn(bench, network, guide, steps, seed) for seed in (0, 1)))


def drawn(bench: Bench, network: SamplingDenoiser, guide: Guide, steps: int, seed: int) -> Tensor:
    """The held-out crops in so many steps."""
    generator, (alpha, sigma), pictures = torch.Generator().manual_seed(seed), LEVELS.at(1.0), []
    for x, cond in zip(bench.pictures, bench.latents, strict=True):
        g, x_1 = guide(cond), sigma * torch.randn(x.shape, generator=generator)

        def denoise(x_t: Tensor, t: float, cond: Tensor = cond, g: Tensor = g) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                context = network.context(cond, quality(cond), g)
                x_0: Tensor = network(x_t, torch.full((len(g),), t), quality(cond), g, context)
            return x_0.float().clamp(-1, 1)

        x_1 += alpha * g
        pictures.append(sampler.sample(denoise, x_1, LEVELS, steps=steps))
    return torch.cat(pictures)


if __name__ == "__main__":
    main()
