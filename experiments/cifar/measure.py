"""What the conditional codec makes of CIFAR-10's pictures: rows.csv and samples.webp.

    python experiments/cifar/measure.py PICTURES.npy WEIGHTS

PICTURES.npy is uint8 (n, 32, 32, 3), of which every tenth was held out; WEIGHTS are those of recipes/cifar.toml. Rows
are of the first 30 held-out pictures, means in bits a value (3072 a picture). In "alone" each picture is a file of its
own; in "sheet" they lie side by side in one file, ten in a row. y and z are what an ideal coder takes for the symbols
of each; "y, other z" is y where z is that of the next picture: the difference is what z says. RMSE is on [0, 255],
faithful.

The sheet has, from top to bottom: pictures; their files at quality 0, 25 and 75; those of quality 25 in 16 steps by two
seeds; pictures that nobody took, for which z is drawn from its tables and y from what z and earlier channels say.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shard import EVERY

import regrain
from regrain import registry
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.coding_order import CodingStep
from regrain.conditional.context_model import ContextModel, Symbols, hyper_table_ids
from regrain.conditional.decode import reconstruct
from regrain.conditional.encode import tile_parts
from regrain.conditional.grid import Region
from regrain.entropy.coder import ideal_bits
from regrain.entropy.tables import gaussian_tables, scales
from regrain.options import DecodeOptions

HERE = Path(__file__).resolve().parent
QUALITIES = (0, 50, 100)
HEAD = ("codec", "way", "quality", "bits", "y", "z", "y, other z", "rmse", "psnr")
SIDE, ACROSS, LATENTS, SCALE = 32, 10, (2, 2), 4
COUNT = 30
"""Of the pictures that were held out."""
Pixels = NDArray[np.uint8]
Read = Callable[[CodingStep, NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]], Symbols]


def main(source: Path, weights: Path) -> None:
    """Write both."""
    pictures = np.load(source)[::EVERY][:COUNT]
    own = registry.load(weights, "cpu")
    shipped = registry.load(registry.shipped_weights(Method.CONDITIONAL), "cpu")
    assert isinstance(own, ConditionalModel)
    assert isinstance(shipped, ConditionalModel)
    with (HERE / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        for name, codec in (("cifar", own), ("package", shipped)):
            for quality in QUALITIES:
                writer.writerow([name, "alone", quality, *alone(codec, pictures, quality)])
                writer.writerow([name, "sheet", quality, *together(codec, pictures, quality)])
        writer.writerows(jpegs(pictures))
    shown = Image.fromarray(sheet(own, pictures))
    shown.resize((SIDE * ACROSS * SCALE,) * 2, 0).save(HERE / "samples.webp", quality=90)


def alone(codec: ConditionalModel, pictures: Pixels, quality: int) -> list[str]:
    """Bits of files, of y, of z, of y under another picture's z, and the error."""
    latents = [codec.prepare(pixels, 64).y for pixels in pictures]
    hypers = [hyper_latents(codec.latents, y, quality) for y in latents]
    own = np.mean([y_bits(codec.latents, y, z, quality) for y, z in zip(latents, hypers, strict=True)])
    others = zip(latents, [*hypers[1:], hypers[0]], strict=True)
    other = np.mean([y_bits(codec.latents, y, z, quality) for y, z in others])
    z_bits = np.mean([z_cost(codec.latents, z, quality) for z in hypers])
    files = [regrain.encode(pixels, quality=quality, model=codec) for pixels in pictures]
    decoded = np.stack([np.asarray(regrain.decode(data, realism=0, model=codec)) for data in files])
    size = 8 * sum(map(len, files)) / pictures.size
    return cells(size, pictures, decoded, *(bits / pictures[0].size for bits in (own, z_bits, other)))


def together(codec: ConditionalModel, pictures: Pixels, quality: int) -> list[str]:
    """Bits and error of one file with all."""
    pixels = side_by_side(pictures)
    data = regrain.encode(pixels, quality=quality, model=codec)
    decoded = np.asarray(regrain.decode(data, realism=0, model=codec))
    return cells(8 * len(data) / pixels.size, pixels, decoded)


def jpegs(pictures: Pixels) -> Iterator[list[object]]:
    """JPEG of the same sheet."""
    pixels = side_by_side(pictures)
    for quality in (5, 15, 30, 50, 75, 90):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
        decoded = np.asarray(Image.open(file))
        yield ["JPEG 4:4:4", "sheet", quality, *cells(8 * len(file.getvalue()) / pixels.size, pixels, decoded)]


def cells(bits: float, pixels: Pixels, decoded: Pixels, *latents: float) -> list[str]:
    """The figures of a row."""
    mse = np.square(pixels.astype(float) - decoded).mean()
    parts = [f"{value:.5f}" for value in latents] or [""] * 3
    return [f"{bits:.5f}", *parts, f"{mse**0.5:.4f}", f"{10 * np.log10(255**2 / mse):.3f}"]


def side_by_side(pictures: Pixels) -> Pixels:
    """(n, 32, 32, 3), ten in a row, as one picture."""
    rows = pictures.reshape(-1, ACROSS, SIDE, SIDE, 3)
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4).reshape(-1, ACROSS * SIDE, 3))


def hyper_latents(model: ContextModel, y: NDArray[np.float32], quality: int) -> Symbols:
    """z_hat of a picture's latents, as encoding has it."""
    region = Region(0, y.shape[1], 0, y.shape[2])
    return tile_parts(model, region, y, 256 * quality)[1]


def z_cost(model: ContextModel, z_hat: Symbols, quality: int) -> float:
    """Bits of z."""
    part = z_hat.reshape(-1), hyper_table_ids(*z_hat.shape), model.hyper_tables(256 * quality)
    return float(ideal_bits(part).sum())


def y_bits(model: ContextModel, y: NDArray[np.float32], z_hat: Symbols, quality: int) -> float:
    """Bits of y under a given z."""
    gained, bits = model.gain(256 * quality) * y, 0.0

    def code(step: CodingStep, mean: NDArray[np.float32], index: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Symbols:
        nonlocal bits
        symbols: Symbols = np.rint(gained[step.channels, mask] - mean).astype(np.int32)
        bits += float(ideal_bits((symbols.reshape(-1), index.reshape(-1), gaussian_tables())).sum())
        return symbols

    walk(model, z_hat, quality, code)
    return bits


def walk(model: ContextModel, z_hat: Symbols, quality: int, read: Read) -> NDArray[np.float32]:
    """y_hat of a picture of 32 x 32, whose symbols `read` gives step by step."""
    state = model.start(z_hat, 256 * quality, LATENTS)
    for number, step in enumerate(model.order):
        mean, index, mask = state.predict(number, step)
        state.update(step, read(step, mean, index, mask), mean, mask)
    return state.y_hat


def invented(codec: ConditionalModel, quality: int, seed: int) -> Pixels:
    """A picture whose latents are drawn from their model."""
    random, model = np.random.default_rng(seed), codec.latents

    def draw(step: CodingStep, mean: NDArray[np.float32], index: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Symbols:
        symbols: Symbols = np.rint(random.normal(size=index.shape) * scales()[index]).astype(np.int32)
        return symbols

    tables = [(table.first, table.counts[:-1] / table.counts[:-1].sum()) for table in model.hyper_tables(256 * quality)]
    z = [first + random.choice(len(shares), p=shares) for first, shares in tables]
    y_hat = walk(model, np.array(z, np.int32)[:, None, None], quality, draw)
    return reconstruct(codec.denoiser, y_hat, (SIDE, SIDE), 256 * quality, DecodeOptions(realism=0), grey=False)


def sheet(codec: ConditionalModel, pictures: Pixels) -> Pixels:
    """Ten rows of ten."""
    shown, rows = pictures[:ACROSS], [pictures[:ACROSS]]
    for quality in (0, 25, 75):
        files = [regrain.encode(pixels, quality=quality, model=codec) for pixels in shown]
        rows.append(np.stack([np.asarray(regrain.decode(data, realism=0, model=codec)) for data in files]))
    files = [regrain.encode(pixels, quality=25, model=codec) for pixels in shown]
    for seed in (1, 2):
        options = {"realism": 1, "steps": 16, "eta": 1, "seed": seed}
        rows.append(np.stack([np.asarray(regrain.decode(data, model=codec, **options)) for data in files]))
    for row, quality in enumerate((25, 25, 75, 75)):
        rows.append(np.stack([invented(codec, quality, ACROSS * row + column) for column in range(ACROSS)]))
    return side_by_side(np.concatenate(rows))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
