"""What filling brings to lost tiles: rows.csv, a row a photo and way, and a last one of the set.

    python experiments/fill/measure.py PICTURES WEIGHTS [--every N] [--tile PIXELS]

PICTURES is a folder; WEIGHTS has those of LPIPS-AlexNet, LPIPS-VGG and VGG16. From the middle of each photo come 4 x 3
tiles, of which a seed loses three. The others are the original's pixels. Ways are grey, the smooth surface (Laplace's
equation) and the fill. PSNR is that of the lost tiles alone, LPIPS that of the crop, and the Gram distance that of the
set of crops: known tiles are equal in all ways. `--workers` photos are drawn
at once, into sheet.png, and `--judge` draws none and reads them there.
"""

import argparse
import csv
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regrain.image import to_bytes, to_signed
from regrain.registry import prior_for
from regrain.restoration.fill import fill, harmonic
from regrain.tiles import Place, places

HERE = Path(__file__).resolve().parent
LOST = 3
WAYS = ("original", "grey", "smooth", "fill")
WEIGHTS = ("lpips_vgg_lins", "vgg16_features_fp16", "lpips_alex_v0.1")
Pixels = NDArray[np.uint8]


def main() -> None:
    """Draw all, judge all, write the rows and a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--tile", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--judge", action="store_true")
    options = parser.parse_args()
    paths = sorted(options.pictures.glob("*.png"))[:: options.every]
    if not options.judge:
        with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
            drawn = list(pool.map(partial(draw, side=options.tile), paths, range(len(paths))))
        Image.fromarray(np.hstack([np.vstack(list(ways.values())) for ways in drawn])).save(HERE / "sheet.png")
    sheet = np.asarray(Image.open(HERE / "sheet.png"))
    drawn = [dict(zip(WAYS, np.vsplit(column, len(WAYS)), strict=True)) for column in np.hsplit(sheet, len(paths))]
    with (HERE / "rows.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows([path.name for path in paths], drawn, options))


def draw(path: Path, seed: int, side: int) -> dict[str, Pixels]:
    """The crop of one photo: as it is, and by each way."""
    whole = np.asarray(Image.open(path).convert("RGB"))
    top, left = (whole.shape[0] - 3 * side) // 2, (whole.shape[1] - 4 * side) // 2
    original = whole[top : top + 3 * side, left : left + 4 * side]
    lost = lost_tiles(original, seed, side)
    grey, mask = original.copy(), mask_of(original, lost)
    grey[~mask] = 128
    drawn = grey.copy()
    fill(prior_for().denoiser, drawn, lost, seed)
    smooth = to_bytes(harmonic(to_signed(grey), mask[None]), False)
    return {"original": original, "grey": grey, "smooth": smooth, "fill": drawn}


def lost_tiles(pixels: Pixels, seed: int, side: int) -> list[Place]:
    """Three of the tiles, by a seed."""
    tiles = places(*pixels.shape[:2], side)
    return [tiles[number] for number in np.random.default_rng(seed).choice(len(tiles), LOST, replace=False)]


def mask_of(pixels: Pixels, lost: list[Place]) -> NDArray[np.bool_]:
    """Where pixels are known, (h, w)."""
    mask = np.ones(pixels.shape[:2], bool)
    for place in lost:
        mask[place] = False
    return mask


def rows(names: list[str], drawn: list[dict[str, Pixels]], options: argparse.Namespace) -> list[list[object]]:
    """The table with its head."""
    from regrain_lab.metrics.realism import Realism, distances
    from regrain_lab.metrics.registry import load_metrics

    files = [options.weights / f"{name}.safetensors" for name in WEIGHTS]
    realism, lpips = Realism.load(*files), load_metrics([files[2]])["lpips_alex"]
    table: list[list[object]] = [["image", "way", "psnr_lost", "lpips_alex", "gram", "gram_error"]]
    features = {way: [realism.features(ways[way]) for ways in drawn] for way in drawn[0]}
    for way in WAYS[1:]:
        figures = []
        for seed, (name, ways) in enumerate(zip(names, drawn, strict=True)):
            lost = ~mask_of(ways[way], lost_tiles(ways[way], seed, options.tile))
            error = np.square(ways["original"][lost].astype(float) - ways[way][lost]).mean()
            figures.append((10 * np.log10(255**2 / error), lpips(ways["original"], ways[way])))
            table.append([name, way, *(f"{figure:.4f}" for figure in figures[-1]), "", ""])
        gram = distances(features["original"], features[way])["gram"]
        table.append(["mean", way, *(f"{figure:.4f}" for figure in np.mean(figures, 0)), *(f"{x:.5f}" for x in gram)])
    return table


if __name__ == "__main__":
    main()
