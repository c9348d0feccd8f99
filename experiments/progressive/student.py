"""What the prior's student brings: student.csv, by the number of steps, from noise and from cut streams.

    python experiments/progressive/student.py WEIGHTS METRICS PICTURES [--samples N] [--steps 4 8 100]

WEIGHTS is a file with a student; PICTURES is a folder of held-out pictures; METRICS has the weights of LPIPS and VGG16.
Finishes: x_t of the middle SIDE x SIDE of each picture at log-SNR -1, 1 and 3, ended by prior and student along the
probability flow: PSNR and LPIPS-AlexNet to the picture. Samples: SAMPLE x SAMPLE from noise alone, KID and Gram
distance (times 1000) of their patches to those of as many crops of the pictures; `error` is that of KID.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regrain.diffusion import sampler
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import REACH
from regrain_lab.metrics.fidelity import psnr
from regrain_lab.metrics.realism import Features, Realism, distances
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
SIDE, SAMPLE, BATCH = 192, 128, 6
STARTS, END = (-1.0, 1.0, 3.0), 7.0
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("weights", "metrics", "pictures"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--samples", type=int, default=36)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 100])
    parser.add_argument("--networks", nargs="+", default=["prior", "student"])
    parser.add_argument("--what", nargs="+", default=["finishes", "samples"])
    parser.add_argument("--out", type=Path, default=HERE / "student.csv")
    options = parser.parse_args()
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(options.pictures.glob("*.png"))]
    networks = dict(zip(("prior", "student"), Prior.load_pair(options.weights), strict=True))
    ways = [(name, steps) for steps in options.steps for name in options.networks if name == "prior" or steps <= 16]
    measured = {"finishes": finishes, "samples": samples}
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "network", "steps", "psnr", "lpips_alex", "kid", "gram", "error"])
        for what in options.what:
            for row in measured[what](networks, ways, pictures, options):
                writer.writerow(row)
                file.flush()


def finishes(
    networks: dict[str, Prior], ways: list[tuple[str, int]], pictures: list[Pixels], options: argparse.Namespace
) -> Iterator[list[object]]:
    """A row a start and a way."""
    judge = load_metrics([options.metrics / "lpips_alex_v0.1.safetensors"])["lpips_alex"]
    for start in STARTS:
        for name, steps in ways:
            figures = []
            for number, whole in enumerate(pictures):
                top, left = ((side - SIDE) // 2 for side in whole.shape[:2])
                pixels = whole[top : top + SIDE, left : left + SIDE]
                x = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
                alpha, sigma = levels(torch.tensor([start]))
                eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(number))
                ended = to_pixels(descend(networks[name], alpha * x + sigma * eps, (start, END), steps))[0]
                figures.append((psnr(pixels, ended), judge(pixels, ended)))
            yield [
                f"finish from {start:+g}",
                name,
                steps,
                *(f"{value:.4f}" for value in np.mean(figures, 0)),
                "",
                "",
                "",
            ]


def samples(
    networks: dict[str, Prior], ways: list[tuple[str, int]], pictures: list[Pixels], options: argparse.Namespace
) -> Iterator[list[object]]:
    """A row a way, against crops of the pictures; the first row is of other crops of them."""
    judge = Realism.load(*(options.metrics / f"{name}.safetensors" for name in (
        "lpips_vgg_lins", "vgg16_features_fp16", "lpips_alex_v0.1")))  # fmt: skip
    crops = [np.ascontiguousarray(whole[row : row + SAMPLE, column : column + SAMPLE]) for whole in pictures
             for row in range(0, whole.shape[0] - SAMPLE + 1, SAMPLE)
             for column in range(0, whole.shape[1] - SAMPLE + 1, SAMPLE)]  # fmt: skip
    truth, other = ([judge.features(crop) for crop in half] for half in (crops[::2], crops[1::2]))
    count = min(options.samples, len(truth))
    yield ["samples", "other pictures", 0, "", "", *compared(truth[:count], other[:count])]
    for name, steps in ways:
        drawn = draw(networks[name], steps, count)
        for number, pixels in enumerate(drawn[:8]):
            Image.fromarray(pixels).save(options.out.with_suffix(f".{name}-{steps}-{number}.png"))
        yield ["samples", name, steps, "", "", *compared(truth[:count], [judge.features(pixels) for pixels in drawn])]


def compared(truth: list[Features], drawn: list[Features]) -> list[str]:
    """KID, Gram distance, and the error of KID, times 1000."""
    apart = distances(truth, drawn)
    return [f"{1000 * value:.3f}" for value in (apart["kid"].value, apart["gram"].value, apart["kid"].error or 0.0)]


def draw(network: Prior, steps: int, count: int) -> list[Pixels]:
    """So many samples, along the flow from noise whose seeds are the same for every network."""
    batches = []
    for first in range(0, count, BATCH):
        noise = torch.randn(BATCH, 3, SAMPLE, SAMPLE, generator=torch.Generator().manual_seed(first))
        batches.extend(to_pixels(descend(network, noise, (-REACH, REACH), steps)))
    return batches[:count]


@torch.no_grad()
def descend(network: Prior, x_t: Tensor, way: tuple[float, float], steps: int) -> Tensor:
    """The end of DDIM steps even in log-SNR from x_t on; a student is told how far each goes."""

    def denoise(x_t: Tensor, log_snr: float) -> Tensor:
        leap = sampler.leap_length(log_snr, way, steps)
        return network.denoise(x_t, x_t.new_full((len(x_t),), log_snr), x_t.new_full((len(x_t),), leap)).clamp(-1, 1)

    return sampler.descend(denoise, x_t.contiguous(memory_format=torch.channels_last), way, steps=steps)


def to_pixels(x: Tensor) -> list[Pixels]:
    """(B, 3, H, W) in [-1, 1] to pictures."""
    return list(((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


if __name__ == "__main__":
    main()
