"""What the conditional decoder should predict: quality against 1 to 500 steps for x_0, v and eps, equally trained.

    python experiments/few_steps/predictions.py WEIGHTS CSV [--updates N] [--predictions x0 v eps]

The decoder is that of Yang and Mandt (2023, sec. 3): a U-Net that takes x_t beside the latents, which a transposed
convolution of its own has upsampled to the picture. It has the size of the denoiser that ships. Noise has DDPM's linear
betas, so that alpha at t = 1 is 6.4e-3 and an estimate of eps says something of x_0 even there. The loss is L_simple,
the squared error of what is predicted; the rate R beside it is a constant, because the latents are those that ship, at
-q 28, and stay as they are. All three begin from the weights of the sampler that ships, which reads x_t, but for its
last convolution, which begins anew; they see the same crops, times and noise.

Held-out crops are then sampled from the same noise in 1 to 500 steps, by DDIM and by ancestral steps, each estimate
clamped to [-1, 1]. A row of the CSV is one prediction, sampler and number of steps: PSNR of the mean squared error of
all, mean LPIPS of AlexNet, and the distances of sets, KID and Gram, times 1000. `loss` is the error of the estimate of
eps on those crops at even times, whatever is predicted. "none" is the latents as they are upsampled at first. Rows of
other predictions stay. WEIGHTS is the folder of metrics' weights.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regrain.conditional.dct import BLOCK, dct_basis
from regrain.diffusion import parametrize, sampler, schedule
from regrain.diffusion.parametrize import Prediction
from regrain.diffusion.unet import Denoiser, DenoiserConfig
from regrain.image import to_bytes
from regrain.layers import Embedding
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.metrics.realism import Realism, distances
from regrain_lab.trainable.frozen import FrozenCodec, quantized_latents
from regrain_lab.training.data import Crops, holdout_batch, members
from regrain_lab.training.losses.prior import EPS_GAINS
from regrain_lab.training.recipe import Recipe, read_recipe
from regrain_lab.training.state import State

ROOT: Final = Path(__file__).resolve().parents[2]
PREDICTIONS: Final[tuple[Prediction, ...]] = ("x0", "v", "eps")
COUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 250, 500)
SAMPLERS: Final = {"ddim": 0.0, "ancestral": 1.0}
"""By name, the eta of their steps."""
KEYS: Final = ["prediction", "sampler", "steps"]
HEADS: Final = [*KEYS, "parameters", "updates", "batch", "crop", "pictures", "loss", "psnr", "lpips", "gram", "kid"]
BATCH, SIDE, HELD_OUT, QUALITY, POOL = 8, 128, 8, 28, 480
RATES: Final = (2e-3, 1e-5)
TIMES: Final = 16
LEVELS: Final = schedule.get("linear")
SMALL: Final = DenoiserConfig(widths=(80, 80, 96), depths=(1, 1, 1), half=24, embedding=64)
"""Of the small denoisers in `students.py` and `residual.py`."""
Row = dict[str, str | int]


class Pairs(NamedTuple):
    """Crops x (N, 3, SIDE, SIDE) in [-1, 1], and their latents y_hat (N, C, SIDE / 16, SIDE / 16)."""

    x: Tensor
    cond: Tensor


class Upsampling(nn.Module):
    """Latents (B, C, h, w) -> (B, 3, 16 h, 16 w) by a transposed convolution; it begins as the inverse DCT."""

    def __init__(self, channels: int) -> None:
        """Build for latents of so many channels."""
        super().__init__()
        self.mix = nn.Conv2d(channels, 3 * BLOCK**2, 1, bias=False)
        basis, std = (torch.from_numpy(array) for array in dct_basis(channels))
        self.mix.weight.data = (basis * std[:, None]).T[:, :, None, None].float().contiguous()

    def forward(self, cond: Tensor) -> Tensor:
        """The picture that stands beside x_t."""
        return nn.functional.pixel_shuffle(self.mix(cond), BLOCK)


class Learner(nn.Module):
    """A denoiser and what its output means."""

    def __init__(self, codec: FrozenCodec, prediction: Prediction) -> None:
        """Begin from the codec's sampler, but for its last convolution."""
        super().__init__()
        self.prediction = prediction
        assert codec.networks.sampler is not None
        channels, shipped = codec.config.transform.latent, codec.networks.sampler.state_dict()
        self.denoiser = Denoiser(codec.config.denoiser, channels, Upsampling(channels), corrects=False)
        begun = {name: shipped[name] for name in self.denoiser.state_dict() if name in shipped}
        begun["enter.weight"] = torch.cat([shipped["enter_x.weight"], shipped["enter.weight"]], 1)
        knobs = begun["embed.mlp.0.weight"]
        begun["embed.mlp.0.weight"] = torch.cat([knobs, knobs.new_zeros(len(knobs), Embedding.FREQUENCIES)], 1)
        self.denoiser.load_state_dict({k: v for k, v in begun.items() if not k.startswith("leave.")}, strict=False)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The network's output at the one quality and at realism 1, in float32."""
        ones = torch.ones_like(t)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output: Tensor = self.denoiser(x_t, t, cond, QUALITY / 100 * ones, ones)
        return output.float()

    def errors(self, pairs: Pairs, t: Tensor, eps: Tensor) -> Tensor:
        """The squared error of what is predicted at times t (B,), (B,)."""
        alpha, sigma = LEVELS.levels(t)
        target = parametrize.target(self.prediction, pairs.x, eps, alpha, sigma)
        return (self(alpha * pairs.x + sigma * eps, t, pairs.cond) - target).square().mean((1, 2, 3))

    @torch.no_grad()
    def sample(self, cond: Tensor, steps: int, eta: float) -> Tensor:
        """Pictures in [-1, 1], of seed 0."""
        generator, shape = torch.Generator().manual_seed(0), (len(cond), 3, SIDE, SIDE)

        def noise(_k: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            output = self(x_t, x_t.new_full((len(x_t),), t), cond)
            return parametrize.to_x0(self.prediction, output, x_t, *LEVELS.at(t)).clamp(-1, 1)

        return sampler.sample(denoise, noise(0), LEVELS, steps=steps, eta=eta, noise=noise)


class Judges:
    """The metrics, and the crops that they judge."""

    def __init__(self, folder: Path, pictures: Tensor) -> None:
        """Read the networks of a folder."""
        alex, heads = folder / "lpips_alex_v0.1.safetensors", folder / "lpips_vgg_lins.safetensors"
        self.lpips, self.pictures = Lpips.load(alex), pictures
        self.realism = Realism.load(heads, folder / "vgg16_features_fp16.safetensors", alex)
        self.originals = [self.realism.features(pixels(x)) for x in pictures]

    @torch.no_grad()
    def figures(self, x_hat: Tensor) -> Row:
        """Those of decoded crops."""
        error = float((x_hat - self.pictures).square().mean())
        sets = distances(self.originals, [self.realism.features(pixels(x)) for x in x_hat])
        return {
            "psnr": f"{10 * math.log10(4 / error):.3f}",
            "lpips": f"{float(self.lpips(x_hat, self.pictures).mean()):.4f}",
            **{name: f"{1000 * distance.value:.2f}" for name, distance in sets.items()},
        }


def pixels(x: Tensor) -> NDArray[np.uint8]:
    """A crop (3, H, W) in [-1, 1] as 8-bit pixels."""
    return to_bytes(x.numpy(), grey=False)


def main() -> None:
    """Train, then sample, and write the rows of each prediction as soon as they are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("csv", type=Path, help="file to write")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--predictions", nargs="+", choices=PREDICTIONS, default=PREDICTIONS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = replace(read_recipe(ROOT / "recipes" / "distill.toml"), ema=0.99)
    codec = FrozenCodec.load(None, torch.device("cpu"))
    pictures = holdout_batch(members(recipe.path(recipe.data.shards), recipe.data, held_out=True), HELD_OUT)
    held_out = with_latents(codec, pictures[:, :, 64 : 64 + SIDE, 64 : 64 + SIDE].contiguous())
    judges, crops = Judges(options.weights, held_out.x), pool(codec, recipe, min(POOL, options.updates * BATCH))
    upsampled = Upsampling(codec.config.transform.latent).requires_grad_(False)(held_out.cond).clamp(-1, 1)
    write([{"prediction": "none", "steps": 0, "pictures": HELD_OUT} | judges.figures(upsampled)], options.csv)
    for prediction in options.predictions:
        learner = train(codec, prediction, crops, recipe, options.updates)
        write([{"updates": options.updates} | row for row in rows(learner, held_out, judges)], options.csv)


def with_latents(codec: FrozenCodec, x: Tensor) -> Pairs:
    """Crops and their latents at the one quality."""
    return Pairs(x, quantized_latents(codec, x, torch.full((len(x),), QUALITY / 100)))


def pool(codec: FrozenCodec, recipe: Recipe, count: int) -> Pairs:
    """Crops of the training pictures."""
    crops = Crops(members(recipe.path(recipe.data.shards), recipe.data, held_out=False), recipe.seed, recipe.data)
    parts = [torch.stack([crops[k, SIDE] for k in range(start, start + BATCH)]) for start in range(0, count, BATCH)]
    pairs = [with_latents(codec, x) for x in parts]
    return Pairs(*(torch.cat(tensors) for tensors in zip(*pairs, strict=True)))


def train(codec: FrozenCodec, prediction: Prediction, crops: Pairs, recipe: Recipe, updates: int) -> Learner:
    """L_simple alone, at times even in [0, 1]; the weights are averaged."""
    torch.manual_seed(recipe.seed)
    learner = Learner(codec, prediction).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state, (first, last), start = State(learner, recipe.ema), RATES, time.time()
    for step in range(updates):
        torch.manual_seed((recipe.seed << 32) + step)
        chosen, t = torch.randint(len(crops.x), (BATCH,)), (torch.rand(()) + torch.arange(BATCH) / BATCH) % 1
        batch = Pairs(*(values[chosen].contiguous(memory_format=torch.channels_last) for values in crops))
        state.zero_grad()
        loss = learner.errors(batch, t, torch.randn_like(batch.x)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), recipe.clip)
        state.update(last + (first - last) * (1 + math.cos(math.pi * step / updates)) / 2)
        if step % 50 == 0:
            print(f"{prediction} {step}: {float(loss.detach()):.5f}, {time.time() - start:.0f} s", file=sys.stderr)
    state.load_average()
    return learner.eval().requires_grad_(False)


def rows(learner: Learner, held_out: Pairs, judges: Judges) -> Iterator[Row]:
    """A row a sampler and number of steps."""
    size, loss = sum(parameter.numel() for parameter in learner.parameters()), eps_error(learner, held_out)
    named: Row = {"prediction": learner.prediction, "parameters": size, "loss": f"{loss:.5f}"}
    named |= {"batch": BATCH, "crop": SIDE, "pictures": len(held_out.x)}
    for name, eta in SAMPLERS.items():
        for steps in COUNTS:
            row = judges.figures(learner.sample(held_out.cond, steps, eta))
            print(learner.prediction, name, steps, row, file=sys.stderr, flush=True)
            yield named | {"sampler": name, "steps": steps} | row


@torch.no_grad()
def eps_error(learner: Learner, held_out: Pairs) -> float:
    """Squared error of the estimate of eps on the held-out crops, a mean over even times."""
    torch.manual_seed(0)
    eps, errors = torch.randn_like(held_out.x), []
    for k in range(TIMES):
        t = torch.full((len(eps),), (k + 0.5) / TIMES)
        errors.append((EPS_GAINS[learner.prediction](LEVELS.log_snr(t)) * learner.errors(held_out, t, eps)).mean())
    return float(torch.stack(errors).mean())


def write(rows: list[Row], path: Path) -> None:
    """Put rows into the CSV, in the place of older ones of the same prediction."""
    older: list[Row] = []
    if path.exists():
        with path.open(newline="") as file:
            older = [dict(row) for row in csv.DictReader(file) if row["prediction"] != rows[0]["prediction"]]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(older + rows)


if __name__ == "__main__":
    main()
