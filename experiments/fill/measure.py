"""What filling brings to lost tiles: rows.csv, a row a photo and way and a last one of the set, and sheet.webp.

    python experiments/fill/measure.py PICTURES WEIGHTS [--every N]

PICTURES is a folder; WEIGHTS has those of LPIPS-AlexNet, LPIPS-VGG and VGG16. From the middle of each photo come 4 x 3
tiles of 128 pixels, of which a seed loses three. The others are the original's pixels. Ways are grey, the smooth
surface (Laplace's equation: inpainting by diffusion of colours) and the fill. PSNR, LPIPS, KID and the Gram distance
are those of the lost tiles alone; LPIPS of the whole crop stands beside them, which sees seams too. The networks of
the two distances between sets see the tiles among their neighbours.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regrain.image import to_bytes, to_signed
from regrain.registry import prior_for
from regrain.restoration.fill import fill, harmonic
from regrain.tiles import Place, places
from regrain_lab.metrics.realism import SIDE, Features, Realism, distances
from regrain_lab.metrics.registry import Metric, load_metrics

HERE = Path(__file__).resolve().parent
ROWS, COLUMNS, LOST = 3, 4, 3
WAYS = ("original", "grey", "smooth", "fill")
HEAD = ("image", "way", "psnr_lost", "lpips_lost", "lpips_crop", "kid", "kid_error", "gram", "gram_error")
WEIGHTS = ("lpips_vgg_lins", "vgg16_features_fp16", "lpips_alex_v0.1")
SHEET_EVERY, SHEET_SCALE = 6, 2
Pixels = NDArray[np.uint8]


def main() -> None:
    """Draw and judge photo by photo, write the rows and a sheet of every sixth photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    files = [options.weights / f"{name}.safetensors" for name in WEIGHTS]
    realism, lpips = Realism.load(*files), load_metrics(files[2:])["lpips_alex"]
    table, sheet = [list(HEAD)], list[Pixels]()
    features: dict[str, list[Features]] = {way: [] for way in WAYS}
    for seed, path in enumerate(sorted(options.pictures.glob("*.png"))[:: options.every]):
        original = crop(path)
        lost = lost_tiles(seed)
        drawn = ways(original, lost, seed)
        if seed % SHEET_EVERY == 0:
            sheet.append(np.vstack([drawn[way] for way in WAYS]))
        for way in WAYS:
            features[way].append(of_tiles(realism.features(drawn[way]), lost))
        for way in WAYS[1:]:
            figures = fidelity(lpips, original, drawn[way], lost)
            table.append([path.name, way, *(f"{figure:.4f}" for figure in figures), *[""] * 4])
        print(*table[-1], flush=True)
    for way in WAYS[1:]:
        mean = np.mean([[float(cell) for cell in row[2:5]] for row in table if row[1] == way], 0)
        sets = distances(features["original"], features[way])
        realism_cells = [str(round(x or 0, 5)) for name in ("kid", "gram") for x in sets[name]]
        table.append(["mean", way, *(f"{figure:.4f}" for figure in mean), *realism_cells])
    with (options.out / "rows.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)
    Image.fromarray(np.hstack(sheet)).reduce(SHEET_SCALE).save(options.out / "sheet.webp", quality=85)


def crop(path: Path) -> Pixels:
    """The middle 4 x 3 tiles of a photo; an upright one is turned."""
    whole = np.asarray(Image.open(path).convert("RGB"))
    whole = np.ascontiguousarray(np.rot90(whole)) if whole.shape[0] > whole.shape[1] else whole
    top, left = (whole.shape[0] - ROWS * SIDE) // 2, (whole.shape[1] - COLUMNS * SIDE) // 2
    return whole[top : top + ROWS * SIDE, left : left + COLUMNS * SIDE]


def lost_tiles(seed: int) -> list[int]:
    """Numbers of three of the tiles, in raster order."""
    return sorted(int(n) for n in np.random.default_rng(seed).choice(ROWS * COLUMNS, LOST, replace=False))


def place(number: int) -> Place:
    """Where a tile is."""
    return places(ROWS * SIDE, COLUMNS * SIDE, SIDE)[number]


def ways(original: Pixels, lost: list[int], seed: int) -> dict[str, Pixels]:
    """The crop as it is, and by each way."""
    grey, known = original.copy(), np.ones((1, *original.shape[:2]), bool)
    for number in lost:
        grey[place(number)], known[0][place(number)] = 128, False
    drawn = grey.copy()
    fill(prior_for().denoiser, drawn, map(place, lost), seed)
    smooth = to_bytes(harmonic(to_signed(grey), known), False)
    return {"original": original, "grey": grey, "smooth": smooth, "fill": drawn}


def fidelity(lpips: Metric, original: Pixels, other: Pixels, lost: list[int]) -> tuple[float, float, float]:
    """PSNR and LPIPS of the lost tiles, and LPIPS of the crop."""
    tiles = [(original[place(number)], other[place(number)]) for number in lost]
    error = np.mean([np.square(one.astype(float) - two).mean() for one, two in tiles])
    alone = np.mean([lpips(one, two) for one, two in tiles])
    return 10 * np.log10(255**2 / error), float(alone), lpips(original, other)


def of_tiles(features: Features, numbers: list[int]) -> Features:
    """Features of some of the patches of a crop, which are its tiles."""
    return Features(features.pooled[numbers], features.grams[numbers])


if __name__ == "__main__":
    main()
