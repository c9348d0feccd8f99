"""What the sampler should stand on: the sketch that latents give without a network, or the faithful picture.

    python experiments/few_steps/residual.py WEIGHTS CSV [--minutes M]

Two small samplers (`regrain.diffusion.unet.SamplingDenoiser` of `predictions.SMALL`), trained from nothing for equal
processor times on the same crops, by squared error alone, at times that are even:

    sketch      x_0 = s + k d + sqrt(1 - k) F,   d = x_t / alpha_t - s,   s the sketch: the design that ships
    residual    the same about s = x_f, the picture at realism 0, which it sees in the place of the sketch: a diffusion
                model of the residual x - x_f alone

Held-out crops are sampled in 1 to 16 steps from s under noise, as in decoding; the figures are those of `students.py`.
The row "faithful" is x_f itself. WEIGHTS is the folder of metrics' weights.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import torch
from predictions import BATCH, QUALITY, ROOT, SIDE, SMALL
from students import Bench, Judges, Row, quality, write
from torch import Tensor, nn

from regrain.conditional.transform import sketch
from regrain.diffusion import sampler
from regrain.diffusion.unet import SamplingDenoiser
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents
from regrain_lab.training.data import Crops, batches, members
from regrain_lab.training.losses.sampler import LEVELS
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State

COUNTS: Final = (1, 2, 4, 8, 16)
Guide = Callable[[Tensor], Tensor]


def main() -> None:
    """Train both, sample both, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--minutes", type=float, default=6.0, help="processor time of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(read_recipe(ROOT / "recipes" / "distill.toml"), Judges(options.weights))
    faithful = faithful_picture(FrozenCodec.load(None, torch.device("cpu")))
    pictures = torch.cat([faithful(cond) for cond in bench.latents])
    rows: list[Row] = [{"weights": "faithful", "updates": 0, "steps": 0} | bench.figures(pictures, pictures)]
    for name, guide in {"sketch": sketch, "residual": faithful}.items():
        torch.manual_seed(bench.recipe.seed)
        network = SamplingDenoiser(SMALL, bench.latents[0].shape[1], guide, LEVELS)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        updates = train(bench, network, options.minutes)
        rows += judged(bench, network, {"weights": name, "updates": updates})
    for row in rows:
        print(*row.values(), file=sys.stderr)
    write(rows, options.csv)


def faithful_picture(codec: FrozenCodec) -> Guide:
    """x_f of latents at the one quality; that of the last latents is kept, since a sampler asks for it often."""
    last: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def picture(cond: Tensor) -> Tensor:
        if not last or last[0][0] is not cond:
            ones, x_t = torch.ones(len(cond)), torch.zeros_like(sketch(cond))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x_f = codec.networks.denoiser(x_t, ones, cond, quality(cond), 0 * ones).float().clamp(-1, 1)
            last[:] = [(cond, x_f)]
        return last[0][1]

    return picture


def train(bench: Bench, network: SamplingDenoiser, minutes: float) -> int:
    """Squared error alone, weighed as where the sampler trains; returns the number of updates."""
    state, start, updates = State(network, 0.99), time.process_time(), 0
    crops = Crops(members(bench.folder, bench.recipe.data, held_out=False), 0, bench.recipe.data)
    for x in batches(crops, first=0, stride=BATCH, steps=10**6, batch=BATCH, crop=SIDE, workers=0):
        progress = (time.process_time() - start) / (60 * minutes)
        if progress >= 1:
            break
        torch.manual_seed(updates)
        t, cond = (torch.rand(()) + torch.arange(len(x)) / len(x)) % 1, quantized_latents(bench.codec, x, quality(x))
        alpha, sigma = LEVELS.levels(t)
        state.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x_hat = network(alpha * x + sigma * torch.randn_like(x), t, cond, quality(x), torch.ones(len(x)))
        noise = (-LEVELS.log_snr(t)).exp()
        weight = (0.01 + noise) / noise
        (weight.clamp(max=8) * (x_hat - x).square().mean((1, 2, 3))).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), bench.recipe.clip)
        state.update(1e-5 + 3e-3 * (1 + math.cos(math.pi * progress)) / 2)
        updates += 1
    state.load_average()
    return updates


@torch.no_grad()
def judged(bench: Bench, network: SamplingDenoiser, named: Row) -> Iterator[Row]:
    """A row a number of steps."""
    for steps in COUNTS:
        yield named | {"steps": steps} | bench.figures(*(drawn(bench, network, steps, seed) for seed in (0, 1)))


def drawn(bench: Bench, network: SamplingDenoiser, steps: int, seed: int) -> Tensor:
    """The held-out crops in so many steps."""
    generator, (alpha, sigma), pictures = torch.Generator().manual_seed(seed), LEVELS.at(1.0), []
    for x, cond in zip(bench.pictures, bench.latents, strict=True):
        ones = torch.ones(len(x))

        def denoise(x_t: Tensor, t: float, cond: Tensor = cond, ones: Tensor = ones) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x_0: Tensor = network(x_t, t * ones, cond, QUALITY / 100 * ones, ones)
            return x_0.float().clamp(-1, 1)

        x_1 = alpha * network.sketch(cond) + sigma * torch.randn(x.shape, generator=generator)
        pictures.append(sampler.sample(denoise, x_1, LEVELS, steps=steps))
    return torch.cat(pictures)


if __name__ == "__main__":
    main()
