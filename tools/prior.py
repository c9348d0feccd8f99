"""The prior's variational bound on small pictures, term by term, in bits a value; and its time profile.

    python tools/prior.py WEIGHTS [PICTURES.npy] [--steps N]

PICTURES is uint8 (N, H, W, 3), H and W multiples of 8; by default the 1,000 of CIFAR-10 in ../shared/data, which are of
its training part, not of its test part, and on which nothing was trained.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regrain.diffusion import likelihood, sampler
from regrain.diffusion.prior import Prior
from regrain.diffusion.schedule import LogLinear

CIFAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10" / "cifar10_1000.npy"
BATCH = 100
PROFILE = 10
"""Rows of the profile."""


def main() -> None:
    """Print the terms and the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("pictures", type=Path, nargs="?", default=CIFAR)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    prior, pictures = Prior.load(options.weights), np.load(options.pictures)
    found = [terms(prior, part, options.steps) for part in np.array_split(pictures, -(-len(pictures) // BATCH))]
    rows = torch.cat(found)
    first, *steps, last = rows.mean(0).tolist()
    print(f"{len(rows)} pictures, {options.steps} steps: {rows.mean(0).sum():.3f} bits a value")
    print(f"  prior {first:.4f}, steps {sum(steps):.3f}, decoder {last:.3f}")
    for part in np.array_split(np.arange(len(steps)), PROFILE):
        levels = [10 - 20 * (1 - k / options.steps) for k in (part[0], part[-1] + 1)]
        print(f"  log-SNR {levels[0]:+6.2f} to {levels[1]:+6.2f}: {sum(steps[k] for k in part):.4f}")


@torch.no_grad()
def terms(prior: Prior, pictures: np.ndarray, steps: int) -> Tensor:
    """The bound's terms in bits a value, (N, steps + 1)."""
    x_0 = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    schedule = LogLinear()

    def denoise(x_t: Tensor, t: float) -> Tensor:
        log_snr = schedule.log_snr(torch.full((len(x_t),), t))
        return prior.denoise(x_t.float().contiguous(memory_format=torch.channels_last), log_snr).clamp(-1, 1)

    def noise(k: int) -> Tensor:
        return torch.randn(x_0.shape, generator=torch.Generator().manual_seed(k))

    bound = likelihood.bound(denoise, x_0, schedule, sampler.time_grid(steps), noise)
    return torch.cat([bound.prior[:, None], bound.steps, bound.decoder[:, None]], 1) / bound.dimensions


if __name__ == "__main__":
    main()
