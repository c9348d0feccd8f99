"""What the prior has learned, to be looked at: docs/progressive/{process,samples}.webp.

    python experiments/progressive/pictures.py [--model WEIGHTS]

process: six pictures of CIFAR-10 under more and more noise (the forward process), and below each what the prior makes
of it. samples: 64 x 64 from noise alone, above by ancestral sampling, below along the probability flow (DDIM).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prior import CIFAR, SHIPPED
from torch import Tensor

from regrain.diffusion import sampler
from regrain.diffusion.noise import normal
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import LogLinear

OUT = Path(__file__).resolve().parent
SHOWN, LEVELS, ACROSS, SIDE, STEPS, SCALE = 6, (-6, -4, -2, 0, 2, 4, 6, 8), 10, 64, 100, 2
SCHEDULE = LogLinear()


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    prior = Prior.load(parser.parse_args().model)
    _save("process", process(prior, np.load(CIFAR)[:SHOWN]))
    _save("samples", torch.cat([samples(prior, eta) for eta in (1.0, 0.0)], 1))


@torch.no_grad()
def process(prior: Prior, pictures: np.ndarray) -> Tensor:
    """(3, 2 N 32, L 32): noise falls from left to right; of each picture x_t, then the estimate of x_0."""
    x_0 = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    columns = []
    for log_snr in LEVELS:
        level = torch.full((len(x_0),), float(log_snr))
        alpha, sigma = levels(level)
        x_t = alpha * x_0 + sigma * torch.randn(x_0.shape, generator=torch.Generator().manual_seed(log_snr + 100))
        columns.append(torch.stack([x_t, prior.denoise(x_t, level)], 1).flatten(0, 1))
    return torch.cat([torch.cat([*column], 1) for column in columns], 2)


@torch.no_grad()
def samples(prior: Prior, eta: float) -> Tensor:
    """(3, 2 SIDE, ACROSS SIDE): two rows of samples."""

    def noise(k: int) -> Tensor:
        corners = [(row * SIDE, column * SIDE) for row in range(2) for column in range(ACROSS)]
        return torch.from_numpy(np.stack([normal(0, k, *corner, SIDE, SIDE) for corner in corners]))

    def denoise(x_t: Tensor, t: float) -> Tensor:
        return prior.denoise(x_t, SCHEDULE.log_snr(torch.full((len(x_t),), t))).clamp(-1, 1)

    found = sampler.sample(denoise, noise(0), SCHEDULE, steps=STEPS, eta=eta, noise=noise)
    return torch.cat([torch.cat([*row], 2) for row in found.split(ACROSS)], 1)


def _save(name: str, picture: Tensor) -> None:
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST).save(
        OUT / f"{name}.webp", quality=80, method=6
    )


if __name__ == "__main__":
    main()
