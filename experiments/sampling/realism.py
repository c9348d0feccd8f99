"""Four ways from the faithful picture to a sample: LPIPS against PSNR as the knob turns.

    python experiments/sampling/realism.py WEIGHTS [--minutes M] [--model FILE] [--out CSV]

    residual   the picture in one step at realism r, g, and r times what the sampler adds to it; this is what ships
    pixels     the pixels of the faithful picture and of the sample at realism 1, mixed
    warp       the sampler's features h, moved by the faithful pass's f:  h + w C(f, h)  before the way out of 1/4, with
               C two convolutions that learn at w = 1 to give the picture back, by squared error, for M minutes
                                                             (controllable feature warping, Wang et al. 2024, StableSR)
    noise      the sampler itself, from less noise: x_1 = alpha_1 g + r sigma_1 m eps

All in three steps, two of them the sampler's, from the same noise on held-out crops at -q 28, which no training has. A
row a way and a value of the knob. WEIGHTS is the folder of metrics' weights.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from regrain.diffusion import sampler
from regrain.layers import conv
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.trainable.frozen import FrozenCodec, guides, noise_gates, quantized_latents
from regrain_lab.training.data import Crops, batches, holdout_batch, members
from regrain_lab.training.losses.sampler import LEVELS
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State

ROOT: Final = Path(__file__).resolve().parents[2]
QUALITY, PASSES, HELD_OUT, BATCH, SIDE = 0.28, 2, 24, 4, 128
VALUES: Final = (0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0)
HEADS: Final = ["way", "realism", "crops", "psnr", "lpips"]


class Warp(nn.Module):
    """C: how the faithful pass moves the sampler's features, (B, width, H/4, W/4) each; nothing before training."""

    def __init__(self, width: int) -> None:
        """Build for features of so many channels."""
        super().__init__()
        self.enter, self.leave = conv(2 * width, width), conv(width, width)
        nn.init.zeros_(self.leave.weight)

    def forward(self, faithful: Tensor, drawn: Tensor) -> Tensor:
        """What is added where the coefficient is 1."""
        moved: Tensor = self.leave(nn.functional.silu(self.enter(torch.cat([faithful, drawn], 1))))
        return moved


class Pair:
    """The faithful denoiser and the sampler of one weights file, at one quality."""

    def __init__(self, codec: FrozenCodec) -> None:
        """Take the networks. Raises SystemExit where there is no sampler."""
        if codec.networks.sampler is None:
            raise SystemExit("these weights have no sampler")
        self.codec = codec
        self.faithful, self.drawn = codec.networks.denoiser, codec.networks.sampler
        self.warp = Warp(codec.config.denoiser.widths[0])

    def latents(self, x: Tensor) -> Tensor:
        """y_hat of crops."""
        return quantized_latents(self.codec, x, full(x, QUALITY))

    def sample(self, cond: Tensor, noise: Tensor, *, realism: float = 1.0, loud: float = 1.0, w: float = 0.0) -> Tensor:
        """In PASSES of the sampler from `loud` times the noise; `w` is the coefficient of the warp."""
        alpha, sigma = LEVELS.at(1.0)
        features, guide, quality = self.features(cond) if w else None, self.picture(cond, realism), full(cond, QUALITY)
        context = self.drawn.context(cond, quality, guide)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            with warped(self.drawn, lambda h: h if features is None else h + w * self.warp(features, h)):
                x_0: Tensor = self.drawn(x_t, full(x_t, t), quality, guide, context)
            return x_0.clamp(-1, 1)

        x_1 = alpha * guide + loud * sigma * noise_gates(guide) * noise
        x_0 = sampler.sample(denoise, x_1, LEVELS, steps=PASSES)
        return torch.lerp(guide, x_0, realism)

    def features(self, cond: Tensor) -> Tensor:
        """The faithful pass's features before the way out of 1/4."""
        caught: list[Tensor] = []
        with warped(self.faithful, lambda h: caught.append(h) or h):
            self.picture(cond, 0.0)
        return caught[0]

    def picture(self, cond: Tensor, realism: float) -> Tensor:
        """The picture in one step."""
        return guides(self.codec, cond, full(cond, QUALITY), full(cond, realism))

    def train(self, minutes: float) -> int:
        """Teach the warp for so many minutes of processor time; returns the number of updates."""
        recipe = read_recipe(ROOT / "recipes" / "sampler.toml")
        crops = Crops(members(recipe.path(recipe.data.shards), recipe.data, held_out=False), 0, recipe.data)
        state, start, updates = State(self.warp, 0.99), time.process_time(), 0
        for x in batches(crops, first=0, stride=BATCH, steps=10**6, batch=BATCH, crop=SIDE, workers=0):
            progress = (time.process_time() - start) / (60 * minutes)
            if progress >= 1:
                break
            torch.manual_seed(updates)
            cond, noise = self.latents(x), torch.randn_like(x)
            state.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                (self.sample(cond, noise, w=1.0) - x).square().mean().backward()
            state.update(1e-3 * (1 + math.cos(math.pi * progress)) / 2)
            updates += 1
        state.load_average()
        return updates


@contextmanager
def warped(network: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within, features of either denoiser pass through a function before they leave 1/4."""
    handle = network.up2.register_forward_pre_hook(lambda _module, inputs: (function(inputs[0]),))
    try:
        yield
    finally:
        handle.remove()


def full(x: Tensor, value: float) -> Tensor:
    """(B,) of one value."""
    return torch.full((len(x),), value)


def ways(pair: Pair, cond: Tensor, noise: Tensor, value: float) -> Iterator[tuple[str, Tensor]]:
    """The pictures of every way at one value of the knob."""
    yield "residual", pair.sample(cond, noise, realism=value)
    yield "pixels", torch.lerp(pair.picture(cond, 0.0), pair.sample(cond, noise), value)
    yield "warp", pair.sample(cond, noise, w=1 - value)
    yield "noise", pair.sample(cond, noise, loud=value)


def main() -> None:
    """Train the warp, sample all, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time of the warp's training")
    parser.add_argument("--model", type=Path, help="weights, if not those in the package")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("realism.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lpips, recipe = (
        Lpips.load(options.weights / "lpips_alex_v0.1.safetensors"),
        read_recipe(ROOT / "recipes/sampler.toml"),
    )
    pair = Pair(FrozenCodec.load(options.model, torch.device("cpu")))
    print(pair.train(options.minutes), "updates of the warp", flush=True)
    pictures = holdout_batch(members(recipe.path(recipe.data.shards), recipe.data, held_out=True), HELD_OUT)
    torch.manual_seed(0)
    noise, rows = torch.randn_like(pictures), []
    for value in VALUES:
        decoded: dict[str, list[Tensor]] = {}
        for x, eps in zip(pictures.split(BATCH), noise.split(BATCH), strict=True):
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                for way, picture in ways(pair, pair.latents(x), eps, value):
                    decoded.setdefault(way, []).append(picture.float())
        for way, parts in decoded.items():
            x_hat = torch.cat(parts)
            error = float((x_hat - pictures).square().mean((1, 2, 3)).log10().mean())
            distance = torch.cat([lpips(a, b) for a, b in zip(parts, pictures.split(BATCH), strict=True)]).mean()
            rows.append([way, value, len(pictures), f"{10 * (math.log10(4) - error):.3f}", f"{float(distance):.5f}"])
            print(*rows[-1], flush=True)
    with options.out.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS, *sorted(rows, key=lambda row: row[0])])


if __name__ == "__main__":
    main()
