"""What the progressive codec does, step by step, on Kodak and on CIFAR-10 in three tables.

    python experiments/progressive/measure.py [--model WEIGHTS] [--jobs N] [KODAK]

kodak.csv: of every picture and every prefix of its stream the bytes of the file, the KL divergence of what they tell,
and the PSNR of the estimate of x_0. cifar.csv: the variational bound and the error of the estimate over time (Ho et
al. 2020, figure 5). written.csv: what the channel takes to send CIFAR-10 pictures together, beside JPEG and the
conditional codec on the same pictures laid side by side. `page.py` makes the page of them.
"""

import argparse
import csv
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prior import CIFAR, SHIPPED, measure

import regrain
from regrain import bitstream
from regrain.diffusion.prior import Prior
from regrain.image import to_bytes
from regrain.progressive import encode, reverse_channel_coding, reverse_process
from regrain.progressive.codec import ProgressiveModel
from regrain.progressive.payload import pack
from regrain_lab.metrics.fidelity import psnr

OUT = Path(__file__).resolve().parent
ROOT = OUT.parents[1]
BOUND_STEPS = 100
TOGETHER = 200
"""CIFAR-10 pictures that are sent."""


def main() -> None:
    """Write the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path, nargs="?", default=ROOT.parent / "shared" / "data" / "kodak")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = pool.map(partial(prefixes, options.model), sorted(options.kodak.glob("*.png")))
        _write("kodak.csv", ["image", "steps", "log_snr", "bytes", "divergence", "psnr"], (r for f in found for r in f))
    prior, pictures = Prior.load(options.model), np.load(CIFAR)
    _write("cifar.csv", ["reverse_time", "log_snr", "bits", "rmse"], curve(prior, pictures))
    rows = [*together(prior, pictures[:TOGETHER]), *others(pictures[:TOGETHER])]
    _write("written.csv", ["codec", "setting", "bits", "divergence", "rmse"], rows)


def prefixes(weights: Path, path: Path) -> list[list[object]]:
    """A row a prefix, of no step to all."""
    model, rows, payloads, divergence = ProgressiveModel.load(weights, "cpu"), [], [], 0.0
    pixels = np.asarray(Image.open(path).convert("RGB"))
    header = bitstream.Header(pixels.shape[1], pixels.shape[0], 0, model.fingerprint, bitstream.Method.PROGRESSIVE)
    for sent in encode.stream(model.denoiser, pixels, header.tile):
        rows.append(_prefix(path.name, header, payloads, divergence, psnr(pixels, _shown(sent.x_hat, pixels))))
        payloads.append(sent.payload)
        divergence += sent.divergence
    decoded = np.asarray(regrain.decode(_file(header, payloads), model=model))
    return [*rows, _prefix(path.name, header, payloads, divergence, psnr(pixels, decoded))]


def _prefix(name: str, header: bitstream.Header, payloads: list[bytes], divergence: float, psnr: float) -> list[object]:
    size = len(_file(header, payloads)) if payloads else 0
    after = reverse_process.steps(len(payloads))[-1].log_snr_after if payloads else ""
    return [name, len(payloads), after, size, round(divergence, 1), round(psnr, 4)]


def _file(header: bitstream.Header, payloads: list[bytes]) -> bytes:
    """The file of these steps: the lowest quality that has so many."""
    quality = -(-(len(payloads) - 1) * 25600 // (bitstream.MOST_STEPS - 1))
    fields = vars(header) | {"quality": quality}
    return bitstream.write(bitstream.Stream(bitstream.Header(**fields), tuple(payloads)))


def _shown(x_hat: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return to_bytes(x_hat[:, : pixels.shape[0], : pixels.shape[1]], grey=False)


def curve(prior: Prior, pictures: np.ndarray) -> Iterator[list[object]]:
    """DDPM's figure 5: what is known at each time, in bits a value, and how far off the estimate is then."""
    found = measure(prior, pictures, BOUND_STEPS)
    spent = found.terms.cumsum(0).tolist()
    for time, bits, square in zip(found.times, spent, found.squares.tolist(), strict=False):
        yield [round(1 - time, 4), round(10 - 20 * time, 3), round(bits, 6), round(square**0.5, 4)]
    yield [1.0, "", round(spent[-1], 6), 0.0]


@torch.no_grad()
def together(prior: Prior, pictures: np.ndarray) -> Iterator[list[object]]:
    """All pictures in one message a step: bits a value that are written, and the error of the estimate before it."""
    x_0 = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    x_t, x_hat, written, divergence = torch.zeros_like(x_0), torch.zeros_like(x_0), 0, 0.0
    for number, step in enumerate(reverse_process.steps(bitstream.MOST_STEPS)):
        shift = (step.gain * (x_0 - x_hat)).reshape(-1).numpy()
        message = reverse_channel_coding.send(shift, reverse_process.SEED, number)
        written += 8 * len(pack([message], 0))
        divergence += reverse_channel_coding.divergence(shift)
        z = reverse_channel_coding.receive(message, shift.size, reverse_process.SEED, number)
        x_t = step.picture_weight * x_hat + step.state_weight * x_t + step.std * torch.from_numpy(z).view_as(x_0)
        x_hat = prior.denoise(x_t, torch.full((len(x_t),), step.log_snr_after)).clamp(-1, 1)
        rmse = float((x_hat - x_0).square().mean().sqrt()) * 127.5
        yield ["progressive", step.log_snr_after, written / x_0.numel(), divergence / x_0.numel(), round(rmse, 4)]


def others(pictures: np.ndarray) -> Iterator[list[object]]:
    """JPEG and the conditional codec on one picture in which these lie side by side, 20 in a row."""
    rows = pictures.reshape(-1, 20, *pictures.shape[1:])
    mosaic = np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4).reshape(rows.shape[0] * 32, 20 * 32, 3))
    for quality in (5, 15, 30, 50, 75, 90, 96):
        file = io.BytesIO()
        Image.fromarray(mosaic).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
        yield ["JPEG 4:4:4", quality, *_other(mosaic, file.getvalue(), np.asarray(Image.open(file)))]
    for quality in (0, 25, 50, 75, 100):
        data = regrain.encode(mosaic, quality=quality)
        yield ["conditional", quality, *_other(mosaic, data, np.asarray(regrain.decode(data, realism=0)))]


def _other(mosaic: np.ndarray, data: bytes, decoded: np.ndarray) -> list[object]:
    rmse = np.square(decoded.astype(float) - mosaic).mean() ** 0.5
    return [8 * len(data) / mosaic.size, "", round(float(rmse), 4)]


def _write(name: str, head: list[str], rows: Iterable[list[object]]) -> None:
    with (OUT / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([head, *rows])


if __name__ == "__main__":
    main()
