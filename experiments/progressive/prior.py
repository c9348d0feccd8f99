"""The prior's variational bound on small pictures, term by term, in bits a value; and its time profile.

    python experiments/progressive/prior.py [WEIGHTS] [PICTURES.npy] [--steps N]

WEIGHTS are the package's by default. PICTURES is uint8 (N, H, W, 3), H and W multiples of 8; by default the 1,000 of
CIFAR-10 in ../shared/data, which are of its training part, not of its test part, and on which nothing was trained.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regrain import registry
from regrain.bitstream import Method
from regrain.diffusion import sampler
from regrain.diffusion.prior import Prior
from regrain.diffusion.schedule import LogLinear
from regrain_lab.evaluation import likelihood

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10" / "cifar10_1000.npy"
SHIPPED = Path(str(registry.shipped_weights(Method.PROGRESSIVE)))
BATCH = 100
PROFILE = 10
"""Rows of the profile."""


class Found(NamedTuple):
    """Means over the pictures: the terms of the bound in bits a value, (steps + 1,), first to last.

    `times` are the steps' (steps,), falling; `squares` the squared error of the estimate of x_0 there on [0, 255].
    """

    terms: Tensor
    times: tuple[float, ...]
    squares: Tensor


def main() -> None:
    """Print the terms and the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("pictures", type=Path, nargs="?", default=CIFAR)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    pictures = np.load(options.pictures)
    found = measure(Prior.load(options.weights), pictures, options.steps)
    first, *steps, last = found.terms.tolist()
    print(f"{len(pictures)} pictures, {options.steps} steps: {found.terms.sum():.3f} bits a value")
    print(f"  prior {first:.4f}, steps {sum(steps):.3f}, decoder {last:.3f}")
    for part in np.array_split(np.arange(len(steps)), PROFILE):
        levels = [10 - 20 * (1 - k / options.steps) for k in (part[0], part[-1] + 1)]
        print(f"  log-SNR {levels[0]:+6.2f} to {levels[1]:+6.2f}: {sum(steps[k] for k in part):.4f}")


def measure(prior: Prior, pictures: np.ndarray, steps: int) -> Found:
    """The bound on pictures uint8 (N, H, W, 3), at one draw of x_t a step."""
    parts = [_batch(prior, part, steps) for part in np.array_split(pictures, -(-len(pictures) // BATCH))]
    terms, squares = (torch.cat(rows).mean(0) for rows in zip(*parts, strict=True))
    return Found(terms, sampler.time_grid(steps)[:-1], squares)


@torch.no_grad()
def _batch(prior: Prior, pictures: np.ndarray, steps: int) -> tuple[Tensor, Tensor]:
    """Terms (N, steps + 1) and squared errors (N, steps)."""
    x_0 = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    schedule, squares = LogLinear(), list[Tensor]()

    def denoise(x_t: Tensor, t: float) -> Tensor:
        log_snr = schedule.log_snr(torch.full((len(x_t),), t))
        estimate = prior.denoise(x_t.float().contiguous(memory_format=torch.channels_last), log_snr).clamp(-1, 1)
        squares.append((estimate - x_0).square().mean((1, 2, 3)) * 127.5**2)
        return estimate

    def noise(k: int) -> Tensor:
        return torch.randn(x_0.shape, generator=torch.Generator().manual_seed(k))

    bound = likelihood.bound(denoise, x_0, schedule, sampler.time_grid(steps), noise)
    terms = torch.cat([bound.prior[:, None], bound.steps, bound.decoder[:, None]], 1) / bound.dimensions
    return terms, torch.stack(squares, 1)


if __name__ == "__main__":
    main()
