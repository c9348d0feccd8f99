"""The figures of the README and the model card: regrain beside JPEG, WebP and AVIF on a folder of photos.

    python tools/kodak.py ../shared/data/kodak --at 28 --lpips ../shared/data/weights/lpips_alex_v0.1.safetensors

Every rate is the size of a file. Prints Markdown, means over the photos: regrain over -q at realism 0 and 1; at one -q
also with more steps, and each baseline at the bytes of regrain's own files, photo by photo; then the range of rates,
the largest fall of bytes over q = 0 .. 100, and how far bytes lie from the trained prior's estimate.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import regrain
from regrain import bitstream, codec
from regrain.conditional.decode import tile_symbols
from regrain.conditional.encode import analyse, encode_tiles
from regrain.conditional.grid import latent_size, tiles
from regrain.entropy.prior import gaussian_bits
from regrain.entropy.tables import scales
from regrain.evaluation.baselines import BASELINES, at_size
from regrain.evaluation.metrics import ms_ssim, psnr
from regrain.evaluation.perceptual import Lpips
from regrain.image import read, to_signed

Scores = dict[str, tuple[float, ...]]


@torch.no_grad()
def judge(lpips: list[Lpips], original: np.ndarray, decoded: np.ndarray, size: int) -> tuple[float, ...]:
    """Bits a pixel, PSNR, MS-SSIM, and LPIPS by each network."""
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    pair = [torch.from_numpy(to_signed(image))[None] for image in (decoded, original)]
    return bpp, psnr(original, decoded), ms_ssim(original, decoded) or np.nan, *(float(each(*pair)) for each in lpips)


def measure(path: Path, options: argparse.Namespace) -> tuple[Scores, list[float]]:
    """All that is said of one photo: scores by name; then bpp at the ends, largest fall and largest gap of bytes."""
    torch.set_num_threads(1)
    photo, lpips = read(path).pixels, [Lpips.load(weights) for weights in options.lpips]
    scores: Scores = {}
    for quality in sorted({*options.qualities, options.at}):
        data = regrain.encode(photo, quality=quality)
        for steps in options.steps if quality == options.at else [1]:
            for realism in (1, 0) if steps == 1 else (1,):
                decoded = np.asarray(regrain.decode(data, realism=realism, steps=steps))
                name = f"regrain -q {quality:g}, realism {realism}, steps {steps}"
                scores[name] = judge(lpips, photo, decoded, len(data))
        if quality == options.at:
            scores |= dict(baselines(photo, lpips, len(data)))
    return scores, checks(photo)


def baselines(photo: np.ndarray, lpips: list[Lpips], size: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Each baseline's largest file of at most `size` bytes; its smallest where none is so small."""
    for other in BASELINES:
        fitted = at_size(other, photo, size)
        yield other.name, judge(lpips, photo, other.decode(fitted.data), len(fitted.data))


def checks(photo: np.ndarray) -> list[float]:
    """bpp at quality 0 and 100, largest fall of bytes from q to q + 1, largest gap to the estimate."""
    model = codec.load()
    y = analyse(model, photo)
    sizes = [sum(map(len, encode_tiles(model, y, 256 * q, 1024))) for q in range(101)]
    ends = [8 * sizes[end] / (photo.shape[0] * photo.shape[1]) for end in (0, -1)]
    gaps = [gap(photo, quality) for quality in (0, 30, 60, 100)]
    return [*ends, max(0, *(a - b for a, b in pairwise(sizes))), max(gaps)]


def gap(photo: np.ndarray, quality: int) -> float:
    """How far a file's bytes lie from the trained prior's estimate of its symbols, in % past 64 bytes."""
    data, model = regrain.encode(photo, quality=quality), codec.load()
    stream = bitstream.read(data)
    (region,) = tiles(*latent_size(*photo.shape[:2]), stream.header.tile // 16)
    z, y = tile_symbols(model, stream.tiles[0] or b"", 0, region, stream.header.quality)
    scale = torch.from_numpy(scales())[model.latents.index(torch.from_numpy(z), stream.header.quality)]
    bits = float(gaussian_bits(torch.from_numpy(y).double(), scale[:, : region.height, : region.width]).sum())
    table = np.stack([table.bits() for table in model.latents.hyper_tables(stream.header.quality)])
    bits += float(np.take_along_axis(table, z.reshape(len(z), -1) + 127, 1).sum())
    return max(0.0, 100 * (abs(len(data) - bits / 8) - 64) / (bits / 8))


def main() -> None:
    """Parse, measure every photo, print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lpips", type=Path, nargs="*", default=[], help="weights, one column each")
    parser.add_argument("--qualities", type=float, nargs="+", default=[0, 15, 28, 45, 70, 100])
    parser.add_argument("--at", type=float, default=28, help="quality of the baselines and of more steps")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--jobs", type=int, default=2, help="photos measured side by side")
    options = parser.parse_args()
    photos = sorted(options.folder.glob("*.png"))
    with ProcessPoolExecutor(options.jobs) as pool:
        measured = list(pool.map(partial(measure, options=options), photos))
    print(f"{len(photos)} photos, seed 0, fingerprint {codec.load().fingerprint.hex()}, torch {torch.__version__}\n")
    names = " | ".join(f"LPIPS ({path.stem})" for path in options.lpips)
    print(f"| codec | bpp | PSNR | MS-SSIM | {names} |\n|{'---|' * (4 + len(options.lpips))}")
    for name in measured[0][0]:
        bpp, decibel, *rest = np.mean([scores[name] for scores, _ in measured], axis=0)
        print(f"| {name} | {bpp:.3f} | {decibel:.2f} | {' | '.join(f'{value:.4f}' for value in rest)} |")
    low, high, fall, estimate = np.array([found for _, found in measured]).T
    print(f"\nrates at q 0 and q 100: {low.mean():.3f} and {high.mean():.3f} bpp")
    print(f"largest fall of bytes from q to q + 1, any photo: {fall.max():.0f}")
    print(f"bytes against the prior's estimate, any photo: within {estimate.max():.2f} % + 64 bytes")


if __name__ == "__main__":
    main()
