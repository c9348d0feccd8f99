"""The palette codec taken apart: coding.csv, repair.csv and failures.webp.

    python experiments/palette/measure.py KODAK TEST LPIPS [coding] [repair] [failures]
                                          [--model PLACE --out FOLDER] [--every N]

Coding: the middle 512 x 512 pixels of each photo of KODAK, 16 to 256 colours, without dithering, in raster order and to
and fro: bytes as they are and coded, PSNR and LPIPS-AlexNet, decoded as stored and after repair in one step.
Repair: whole photos, every sixth, 256 colours, as `regrain decode --repair --repair-strength --steps` has it.
Pictures: a face, letters and a screen of TEST, beside JPEG, WebP and the conditional codec at equal bytes.

PLACE is another model of the palette codec, a weights file or a Stable Diffusion's folder in the layout of diffusers:
its autoencoder, with its U-Net if that is there, makes the same tables and the same sheet in FOLDER, and tables.md of
them. `--every N` takes every N-th photo alone.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from alternatives import nearest, serpentine
from numpy.typing import NDArray
from page import tables
from PIL import Image

import regrain
from regrain import registry
from regrain.bitstream import Method
from regrain.image import to_bytes, to_signed
from regrain.options import DecodeOptions, Repaired
from regrain.palette import colours, indices, sections
from regrain.palette.codec import PaletteModel
from regrain.palette.decode import reconstruct
from regrain.palette.encode import BEST_PALETTE, analyse
from regrain.palette.sections import to_levels
from regrain_lab.evaluation.baselines import JPEG, WEBP, at_size
from regrain_lab.evaluation.codecs import AS_STORED
from regrain_lab.evaluation.contact_sheet import Box, Column, Strip, draw
from regrain_lab.metrics.fidelity import psnr, ssim
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
SIDE = 512
COLOURS = (16, 32, 64, 128, 256)
ORDERS: dict[str, Callable[..., NDArray[np.uint8]]] = {
    "none": nearest, "raster": colours.dither, "serpentine": serpentine,
}  # fmt: skip
STRENGTHS = (0.25, 0.5, 1.0)
STEPS = (1, 8, 100)
"""100 steps at the default strength alone."""
QUALITY = BEST_PALETTE / 256
SHOWN = (
    ("KODAK/kodim15.png", Box(390, 90, 240, 180)),
    ("KODAK/kodim08.png", Box(528, 240, 240, 180)),
    ("TEST/gui.png", Box(170, 560, 240, 180)),
)
CODING = [
    "image",
    "colours",
    "dither",
    "gain",
    "error",
    "stored",
    "coded",
    "psnr",
    "lpips_alex",
    "psnr_repaired",
    "lpips_repaired",
]
REPAIR = ["image", "repaired", "strength", "steps", "psnr", "ssim", "lpips_alex"]
Pixels = NDArray[np.uint8]


def main(arguments: list[str] | None = None) -> None:
    """Write the tables and the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kodak", "test", "lpips"):
        parser.add_argument(name, type=Path)
    parser.add_argument("what", nargs="*", default=["coding", "repair", "failures"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.model and options.out == HERE:
        parser.error("the tables of another model need a folder of their own: --out")
    judge = load_metrics([options.lpips])["lpips_alex"]
    model = PaletteModel.load(options.model or _shipped(Method.PALETTE))
    photos, out = sorted(options.kodak.glob("*.png"))[:: options.every], options.out
    out.mkdir(parents=True, exist_ok=True)
    if "coding" in options.what:
        _write(out / "coding.csv", CODING, (row for path in photos for row in _coded(model, path, judge)))
    if "repair" in options.what:
        _write(out / "repair.csv", REPAIR, (row for path in photos[::6] for row in _repaired(model, path, judge)))
    if "failures" in options.what:
        sheet = draw([_strip(model, {"KODAK": options.kodak, "TEST": options.test}, *shown) for shown in SHOWN])
        Image.fromarray(sheet).save(out / "failures.webp", lossless=True)
    if options.model:
        (out / "tables.md").write_text("\n\n".join([_ceiling(model, photos, judge), *tables(out)]) + "\n")


def _ceiling(model: PaletteModel, photos: list[Path], judge: Callable[..., float]) -> str:
    """What the autoencoder is worth where latents are not reduced at all."""
    pairs = []
    for path in photos:
        pixels = _middle(path)
        latents = model.space.encode(to_signed(pixels))
        pairs.append((pixels, to_bytes(model.space.decode(latents), False)))
    psnrs, distances = (np.mean([metric(*pair) for pair in pairs]) for metric in (psnr, judge))
    return f"Latents of {model.recipe} as they are: PSNR {psnrs:.2f} dB, LPIPS-AlexNet {distances:.4f}."


def _write(path: Path, names: list[str], rows: Iterator[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in row])
            file.flush()


def _shipped(method: Method) -> Path:
    """The weights in the package."""
    return Path(str(registry.shipped_weights(method)))


def _middle(path: Path) -> Pixels:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    return pixels[top : top + SIDE, left : left + SIDE]


def _coded(model: PaletteModel, path: Path, judge: Callable[..., float]) -> Iterator[list[Any]]:
    pixels = _middle(path)
    levels = to_levels(analyse(model.space, pixels))
    decode = partial(reconstruct, model.space, model.denoiser, size=(SIDE, SIDE), grey=False)
    for count in COLOURS:
        palette = colours.choose(levels.reshape(-1, levels.shape[2]), count)
        for name, order in ORDERS.items():
            chosen = order(levels, palette)
            told = palette[chosen]
            payload = sections.pack_palette(levels, palette, chosen, 0)
            stored = 3 + len(indices.pack_stored(palette, chosen, 0))
            _, channel = sections.unpack(payload, (levels.shape[0], levels.shape[1]), levels.shape[2], 0)
            plain, repaired = (decode(told, channel, options=DecodeOptions(realism=part)) for part in (0, 1))
            yield [path.name, count, name, channel.gain, channel.error, stored, len(payload), psnr(pixels, plain),
                   judge(pixels, plain), psnr(pixels, repaired), judge(pixels, repaired)]  # fmt: skip


def _repaired(model: PaletteModel, path: Path, judge: Callable[..., float]) -> Iterator[list[Any]]:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    data = regrain.encode(pixels, quality=QUALITY, model=model)

    def row(name: str, strength: str, steps: int, decoded: Image.Image) -> list[Any]:
        """What is measured of one way."""
        shown = np.asarray(decoded)
        return [path.name, name, strength, steps, *(metric(pixels, shown) for metric in (psnr, ssim, judge))]

    decode = partial(regrain.decode, data, model=model)
    yield row("nothing", "", 0, decode(realism=0))
    ways: tuple[Repaired, ...] = ("latent", "image", "both")
    for repaired in ways if model.denoiser else ways[1:2]:
        for strength in STRENGTHS:
            for steps in STEPS if strength == DecodeOptions.repair_strength else STEPS[:-1]:
                picture = decode(repair=repaired, repair_strength=strength, steps=steps)
                yield row(repaired, f"{strength:g}", steps, picture)


def _strip(model: PaletteModel, folders: dict[str, Path], place: str, box: Box) -> Strip:
    folder, name = place.split("/")
    pixels = np.asarray(Image.open(folders[folder] / name).convert("RGB"))
    data = regrain.encode(pixels, quality=QUALITY, model=model)
    columns = [Column("original", pixels, [f"{pixels.shape[1]} x {pixels.shape[0]} pixels"])]
    for title, realism in (("palette, as stored", 0.0), ("palette, repaired", 1.0)):
        columns.append(
            _column(title, len(data), np.asarray(regrain.decode(data, realism=realism, model=model)), pixels)
        )
    try:
        other = regrain.encode(pixels, target_size=len(data))
    except regrain.UsageError:
        other = regrain.encode(pixels, quality=0)
    columns.append(_column("conditional", len(other), np.asarray(regrain.decode(other)), pixels))
    for codec in (JPEG, WEBP):
        fitted = at_size(codec, pixels, len(data))
        columns.append(_column(codec.name, len(fitted.data), codec.decode(fitted.data, AS_STORED), pixels))
    return Strip(name, columns, box)


def _column(title: str, size: int, found: Pixels, original: Pixels) -> Column:
    return Column(title, found, [f"{size:,} bytes", f"PSNR {psnr(original, found):.2f} dB"])


if __name__ == "__main__":
    main()
