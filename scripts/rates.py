"""The rates of regrain on a folder of photos: their range, whether they rise with quality, and whether they are honest.

    python scripts/rates.py ../shared/data/kodak

Prints the mean rates at quality 0 and 100, the largest fall of bytes from any whole quality to the next, and how far
files lie from the trained prior's estimate of their symbols, each over all photos.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import regrain
from regrain import bitstream, registry
from regrain.conditional.context_model import ContextModel
from regrain.conditional.decode import decode_tile
from regrain.conditional.grid import latent_size, tiles
from regrain.entropy.tables import scales
from regrain.image import read
from regrain_lab.trainable.likelihoods import gaussian_bits


def measure(path: Path) -> list[float]:
    """Measure one photo: bpp at quality 0 and 100, largest fall of bytes from q to q + 1, and gap to the estimate."""
    os.environ["OMP_NUM_THREADS"] = "1"
    photo = read(path).pixels
    prepared = registry.load().prepare(photo, 1024)
    sizes = [sum(map(len, prepared.payloads(256 * q))) for q in range(101)]
    ends = [8 * sizes[end] / (photo.shape[0] * photo.shape[1]) for end in (0, -1)]
    gaps = [gap(photo, quality) for quality in (0, 30, 60, 100)]
    return [*ends, max(0, *(a - b for a, b in pairwise(sizes))), max(gaps)]


def gap(photo: np.ndarray, quality: int) -> float:
    """How far a file's bytes lie from the trained prior's estimate of its symbols, in % past 64 bytes."""
    data, model = regrain.encode(photo, quality=quality), registry.load()
    stream = bitstream.read(data)
    (region,) = tiles(*latent_size(*photo.shape[:2]), stream.header.tile // 16)
    z, y, _ = decode_tile(model.latents, stream.tiles[0] or b"", 0, region, stream.header.quality)
    index = scale_indices(model.latents, z, y, stream.header.quality)
    bits = float(gaussian_bits(torch.from_numpy(y).double(), torch.from_numpy(scales())[index]).sum())
    table = np.stack([table.bits() for table in model.latents.hyper_tables(stream.header.quality)])
    bits += float(np.take_along_axis(table, z.reshape(len(z), -1) + 127, 1).sum())
    return max(0.0, 100 * (abs(len(data) - bits / 8) - 64) / (bits / 8))


def scale_indices(latents: ContextModel, z: np.ndarray, y: np.ndarray, quality: int) -> np.ndarray:
    """The tables, (C, H, W), by which the symbols of a tile are coded."""
    state, index = latents.start(z, quality, y.shape[1:]), np.zeros(y.shape, np.int64)
    for number, step in enumerate(latents.order):
        mean, indices, mask = state.predict(number, step)
        index[step.channels, mask] = indices
        state.update(step, y[step.channels, mask], mean, mask)
    return index


def main() -> None:
    """Parse, measure every photo, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="photos measured side by side")
    options = parser.parse_args()
    photos = sorted(options.folder.glob("*.png"))
    with ProcessPoolExecutor(options.jobs) as pool:
        low, high, fall, estimate = np.array(list(pool.map(measure, photos))).T
    print(f"{len(photos)} photos, fingerprint {registry.load().fingerprint.hex()}")
    print(f"rates at q 0 and q 100: {low.mean():.3f} and {high.mean():.3f} bpp")
    print(f"largest fall of bytes from q to q + 1, any photo: {fall.max():.0f}")
    print(f"bytes against the prior's estimate, any photo: within {estimate.max():.2f} % + 64 bytes")


if __name__ == "__main__":
    main()
