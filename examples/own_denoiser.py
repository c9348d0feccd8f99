"""A denoiser of one's own behind the frozen latents, run by the codec's sampler.

This one needs no training. It takes the picture to be Gaussian: its mean is the sketch that the latents are without
any network, and its deviation around that is the same everywhere. Of such a picture the best estimate is known:

    x_0 = m + k (x_t / alpha_t - m),    k = s^2 / (s^2 + sigma_t^2 / alpha_t^2)

so that many steps draw from N(m, s^2). A network that was trained to estimate x_0 from x_t, t and y_hat has the same
place: `regrain.latents(photo).y_hat` is what it is trained on, and `schedule.get("log-linear").at(t)` the noise.

    python examples/own_denoiser.py OUT      writes OUT/own_denoiser.png
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import regrain
from regrain.conditional.dct import dct_basis
from regrain.diffusion import schedule

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "photo.png"
SCHEDULE = "log-linear"
DEVIATION = 0.05
"""Of the picture around its sketch, in [-1, 1]: s."""


def sketch(y_hat: NDArray[np.float32]) -> NDArray[np.float32]:
    """What latents (C, H, W) say without a network: the sum of their waves, (3, 16 H, 16 W)."""
    basis, std = dct_basis(len(y_hat))
    waves = (basis * std[:, None]).reshape(len(y_hat), 3, 16, 16)
    rows, columns = y_hat.shape[1:]
    return np.einsum("ckij,chw->khiwj", waves, y_hat, optimize=True).reshape(3, 16 * rows, 16 * columns)


def denoise(x_t: NDArray[np.float32], t: float, y_hat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the picture given x_t (3, 16 H, 16 W) at time t and its latents."""
    alpha, sigma = schedule.get(SCHEDULE).at(t)
    mean = sketch(y_hat)
    gain = DEVIATION**2 / (DEVIATION**2 + (sigma / alpha) ** 2)
    return mean + np.float32(gain) * (x_t / np.float32(alpha) - mean)


def main(out: Path) -> Path:
    """Write the codec's own picture beside two of this denoiser's, in one step and in sixteen; returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    parts = regrain.latents(PHOTO, quality=60)
    pictures = [
        regrain.from_latents(parts),
        regrain.from_latents(parts, denoiser=denoise, schedule=SCHEDULE),
        regrain.from_latents(parts, denoiser=denoise, schedule=SCHEDULE, steps=16, sampler="second-order"),
    ]
    sheet = Image.new("RGB", (3 * parts.width, parts.height))
    for column, picture in enumerate(pictures):
        sheet.paste(picture, (column * parts.width, 0))
    sheet.save(path := out / "own_denoiser.png")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
