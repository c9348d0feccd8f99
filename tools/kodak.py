"""The figures of the README and the model card: regrain beside JPEG, WebP and AVIF on a folder of photos.

    python tools/kodak.py ../shared/data/kodak --lpips ../shared/data/weights/lpips_alex_v0.1.safetensors

Every rate is the size of a file. Prints Markdown: regrain's means over -q at realism 0 and 1; the same with more steps;
each baseline at the bytes of regrain's own files, photo by photo; and the checks of range, monotony and estimate.
"""

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import regrain
from regrain import bitstream, codec
from regrain.conditional.decode import tile_symbols
from regrain.conditional.encode import analyse, encode_tiles
from regrain.conditional.frozen import Model
from regrain.conditional.grid import tiles
from regrain.entropy.prior import gaussian_bits
from regrain.entropy.tables import scales
from regrain.evaluation.baselines import BASELINES, at_size
from regrain.evaluation.metrics import ms_ssim, psnr
from regrain.evaluation.perceptual import Lpips
from regrain.image import read, to_signed

HEAD = "| codec | bpp | PSNR | MS-SSIM | LPIPS |\n|---|---|---|---|---|"


class Judge:
    """Scores a decoded picture against its original."""

    def __init__(self, lpips: Path | None) -> None:
        """Take LPIPS weights, or leave that score out."""
        self.lpips = Lpips.load(lpips) if lpips else None

    @torch.no_grad()
    def score(self, original: np.ndarray, decoded: np.ndarray, size: int) -> tuple[float, ...]:
        """Bits a pixel, PSNR, MS-SSIM, LPIPS."""
        bpp = 8 * size / (original.shape[0] * original.shape[1])
        pair = (torch.from_numpy(to_signed(image))[None] for image in (decoded, original))
        distance = float(self.lpips(*pair)) if self.lpips else float("nan")
        return bpp, psnr(original, decoded), ms_ssim(original, decoded) or float("nan"), distance


def row(name: str, scores: Iterable[tuple[float, ...]]) -> str:
    """A line of means."""
    bpp, decibel, structure, distance = np.mean(list(scores), axis=0)
    return f"| {name} | {bpp:.3f} | {decibel:.2f} | {structure:.4f} | {distance:.4f} |"


def sweep(
    photos: list[np.ndarray], judge: Judge, qualities: list[float], ends: list[tuple[float, int]]
) -> dict[float, list[bytes]]:
    """Print regrain's table; return its files by quality."""
    files = {q: [regrain.encode(photo, quality=q) for photo in photos] for q in qualities}
    for realism, steps in ends:
        for q in qualities:
            decoded = (np.asarray(regrain.decode(data, realism=realism, steps=steps)) for data in files[q])
            scores = [judge.score(a, b, len(f)) for a, b, f in zip(photos, decoded, files[q], strict=True)]
            print(row(f"regrain -q {q:g}, realism {realism:g}, steps {steps}", scores), flush=True)
    return files


def baselines(photos: list[np.ndarray], judge: Judge, files: list[bytes]) -> None:
    """Each baseline at the bytes of regrain's files, photo by photo."""
    for other in BASELINES:
        fitted = [at_size(other, photo, len(data)) for photo, data in zip(photos, files, strict=True)]
        decoded = (other.decode(f.data) for f in fitted)
        scores = [judge.score(a, b, len(f.data)) for a, b, f in zip(photos, decoded, fitted, strict=True)]
        over = sum(not f.fits for f in fitted)
        print(row(f"{other.name}{f' ({over} photos cannot be so small)' if over else ''}", scores), flush=True)


def estimate(model: Model, codec_state: bitstream.Stream, payload: bytes, z_bits: np.ndarray) -> float:
    """Bits that the trained prior gives a file's symbols."""
    header = codec_state.header
    region = tiles(-(-header.height // 16), -(-header.width // 16), header.tile // 16)[0]
    z, y = tile_symbols(model, payload, 0, region, header.quality)
    scale = torch.from_numpy(scales())[model.latents.index(torch.from_numpy(z), header.quality)]
    bits = gaussian_bits(torch.from_numpy(y).double(), scale[:, : region.height, : region.width]).sum()
    return float(bits) + float(np.take_along_axis(z_bits, z.reshape(len(z), -1) + 127, 1).sum())


def checks(photos: list[np.ndarray]) -> None:
    """Range of rates, monotony over q = 0 .. 100 on every photo, bytes against the prior's estimate."""
    model, falls, ends, gap = codec.load(), 0, [], 0.0
    for photo in photos:
        y = analyse(model, photo)
        sizes = [sum(map(len, encode_tiles(model, y, 256 * q, 1024))) for q in range(101)]
        falls = max(falls, *(a - b for a, b in pairwise(sizes)))
        ends.append([8 * sizes[0] / photo[..., 0].size, 8 * sizes[-1] / photo[..., 0].size])
        for q in (0, 30, 60, 100):
            data = regrain.encode(photo, quality=q)
            stream = bitstream.read(data)
            anchor = np.stack([t.bits()[:-1] for t in model.latents.hyper_tables(stream.header.quality)])
            wanted = estimate(model, stream, stream.tiles[0] or b"", anchor) / 8
            gap = max(gap, (abs(len(data) - wanted) - 64) / wanted)
    low, high = np.mean(ends, axis=0)
    print(f"\nrates: {low:.3f} to {high:.3f} bpp (means at q 0 and q 100); largest fall from q to q + 1: {falls} bytes")
    print(f"bytes against the prior's estimate: at most {100 * max(0, gap):.2f} % + 64 bytes")


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lpips", type=Path)
    parser.add_argument("--qualities", type=float, nargs="+", default=[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    parser.add_argument("--at", type=float, help="quality at which baselines and more steps are measured")
    parser.add_argument("--first", type=int, help="only the first N photos")
    parser.add_argument("--skip-checks", action="store_true")
    options = parser.parse_args()
    photos = [read(path).pixels for path in sorted(options.folder.glob("*.png"))[: options.first]]
    judge = Judge(options.lpips)
    mark = codec.load().fingerprint.hex()
    print(f"{len(photos)} photos, seed 0, fingerprint {mark}, torch {torch.__version__}\n\n{HEAD}")
    files = sweep(photos, judge, options.qualities, [(1, 1), (0, 1)])
    if options.at is not None:
        at = sweep(photos, judge, [options.at], [(1, 4), (1, 16)])
        baselines(photos, judge, (files | at)[options.at])
    if not options.skip_checks:
        checks(photos)


if __name__ == "__main__":
    main()
