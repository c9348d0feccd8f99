"""What the interactive page shows, computed by the house's own rooms and weights on the demo photo.

    python scripts/how_it_works.py [SITE/how-it-works]      (make site-how)

The page itself is web/how-it-works; it is copied, and beside it come data.json and the pictures. No figure of the page
is written by hand: those over Kodak are of experiments/sampling/rows.csv.
"""

import csv
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import regrain
from regrain import bitstream, image, registry
from regrain.bitstream import MOST_STEPS, Header, Method, Stream
from regrain.diffusion import noise, sampler
from regrain.diffusion.schedule import STEPS, LogLinear, get, levels_at
from regrain.image import Picture, to_bytes, to_signed
from regrain.palette.codec import PaletteModel
from regrain.palette.decode import decode_tiles
from regrain.progressive import encode, reverse_process
from regrain.progressive.codec import ProgressiveModel
from regrain.varint import get_varint
from regrain_lab.explanation import forward, reverse

ROOT = Path(__file__).resolve().parents[1]
PAGE, OUT = ROOT / "web" / "how-it-works", ROOT / "site" / "how-it-works"
PHOTO, ROWS = ROOT / "demo" / "photo.png", ROOT / "experiments" / "sampling" / "rows.csv"
SIDE = 192
"""Of the copy that the unconditional model sees."""
LEVELS = tuple(range(-8, 9))
BOUND_STEPS, WALK_STEPS = 60, 20
QUALITIES, QUALITY = tuple(range(0, 101, 10)), 28
COUNTS, SEEDS, EYE = (1, 2, 4, 8, 16), (0, 1), (96, 48, 160, 112)
PALETTES = (0, 10, 20, 30, 40, 50, 60)
Image = NDArray[np.float32]
U8 = NDArray[np.uint8]


def main() -> None:
    """Write the folder, whole or not at all."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    part = out.with_name(out.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(PAGE, part)
    photo = image.read(PHOTO, max_pixels=10**7)
    copy = image.shrink(photo, SIDE)
    save(copy.pixels, part / "copy.png")
    save(photo.pixels, part / "photo.png")
    model = registry.model_for(None, Method.PROGRESSIVE, None)
    assert isinstance(model, ProgressiveModel)
    x_0 = to_signed(copy.pixels)
    data = {
        "width": copy.width,
        "height": copy.height,
        "schedules": {name: schedule(name, x_0) for name in ("linear", "cosine")},
        "estimates": estimates(model, x_0, part),
        "walks": {name: walk(model, x_0, eta, part / f"walk-{name}.webp") for name, eta in WALKS.items()},
        "bound": bits(model, x_0),
        "file": file_bytes(photo),
        "rates": rates(photo, part),
        "steps": {"kodak": kodak(), "pictures": steps(part), "region": EYE, "quality": QUALITY},
        "stream": stream(model, copy, part),
        "palettes": palettes(photo, part),
    }
    (part / "data.json").write_text(json.dumps(data, separators=(",", ":")), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()):,} bytes")


WALKS = {"ddim": 0.0, "ancestral": 1.0}


def save(pixels: U8, path: Path, **options: object) -> None:
    """Write pixels (H, W, 1 or 3); WebP with loss, since a page has many of them."""
    image.write(Picture(pixels), path, **(options or ({"quality": 85, "method": 6} if path.suffix == ".webp" else {})))


def psnr(pixels: U8, original: U8) -> float:
    """In dB, of 8-bit levels."""
    error = np.square(pixels.astype(np.float64) - original).mean()
    return round(10 * math.log10(255**2 / max(float(error), 1e-9)), 2)


def schedule(name: str, x_0: Image) -> dict[str, Any]:
    """alpha and sigma of every step, and what a chain of single steps on the photo measures of them."""
    levels = [(1.0, 0.0), *(get(name).at(n / STEPS) for n in range(1, STEPS + 1))]
    chain = [
        [state.n, *(round(figure, 4) for figure in state.measure(state.x, x_0))]
        for state in forward.chain(x_0, get(name), seed=0)
        if state.n
    ]
    alphas, sigmas = ([round(value, 5) for value in column] for column in zip(*levels, strict=True))
    return {"alpha": alphas, "sigma": sigmas, "chain": chain}


def shown(x: Image) -> U8:
    """x_t or an estimate as pixels; what is beyond [-1, 1] is clipped."""
    return to_bytes(x, grey=False)


def estimates(model: ProgressiveModel, x_0: Image, folder: Path) -> list[dict[str, float]]:
    """The photo under noise of each level, and what the model takes x_0 to be: one picture, level under level."""
    rows, facts = [], []
    for level in LEVELS:
        alpha, sigma = levels_at(float(level))
        x_t = np.float32(alpha) * x_0 + np.float32(sigma) * noise.normal(0, level + 100, 0, 0, *x_0.shape[1:])
        x_hat = reverse_process.estimate(model.denoiser, x_t, float(level))
        rows.append(np.concatenate([shown(x_t), shown(x_hat)], 1))
        error = round(reverse.rmse(x_hat, x_0), 2)
        facts.append({"log_snr": level, "alpha": alpha, "sigma": sigma, "error": error})
    save(np.concatenate(rows), folder / "estimates.webp")
    return facts


def walk(model: ProgressiveModel, x_0: Image, eta: float, path: Path) -> list[float]:
    """From noise alone to a picture: x_t and the estimate at each step, one under the other; the steps' levels."""
    frames, levels = [], []

    def denoise(x_t: Image, t: float) -> Image:
        levels.append(round(LogLinear().log_snr_at(t), 2))
        x_hat = reverse_process.estimate(model.denoiser, x_t, levels[-1])
        frames.append(np.concatenate([shown(x_t), shown(x_hat)], 1))
        return x_hat

    def fresh(k: int) -> Image:
        return noise.normal(3, k, 0, 0, *x_0.shape[1:])

    sampler.sample(denoise, fresh(0), LogLinear(), steps=WALK_STEPS, eta=eta, noise=fresh)
    save(np.concatenate(frames), path)
    return levels


def bits(model: ProgressiveModel, x_0: Image) -> dict[str, Any]:
    """The variational bound of the copy, term by term in bits a value, and the error of the estimate at each step."""
    terms, states = reverse.measure_bound(model.denoiser, x_0, BOUND_STEPS, 1, lambda: None)
    values = [float(terms.prior[0]), *map(float, terms.steps[0]), float(terms.decoder[0])]
    return {
        "terms": [value / terms.dimensions for value in values],
        "log_snr": [round(state.log_snr, 3) for state in states],
        "errors": [round(reverse.rmse(state.x_0, x_0), 2) for state in states],
    }


def file_bytes(photo: Picture) -> dict[str, Any]:
    """A whole file in hexadecimal, and its fields: name, first byte, length, what it says here."""
    data = regrain.encode(photo.pixels, quality=QUALITY)
    return {"hex": data.hex(), "fields": list(fields(data)), "pixels": photo.width * photo.height}


def fields(data: bytes) -> Iterator[tuple[str, int, int, str]]:
    """The fields of a file, as docs/FORMAT.md has them, without a gap."""
    header, parts = bitstream.read_header(data), bitstream.layout(data)
    sizes = [-(-max(1, value.bit_length()) // 7) for value in (header.width, header.height)]
    meanings = {
        "magic": (6, "a byte over 127, RGN, CR LF: a transfer as text shows at once"),
        "version": (1, f"{bitstream.FORMAT_VERSION}"),
        "method": (1, f"{header.method.value}: {header.method.name.lower()}"),
        "flags": (1, f"tiles of {header.tile} pixels, {'grey' if header.grey else 'colour'}"),
        "width": (sizes[0], f"{header.width} pixels, seven bits a byte"),
        "height": (sizes[1], f"{header.height} pixels"),
        "quality": (2, f"{header.quality / 256:g}, times 256"),
        "latent fingerprint": (4, f"{header.fingerprint.hex()}: the weights that turn bytes into latents"),
        "CRC of the header": (4, "a checksum over all bytes before it"),
    }
    at = 0
    for name, (length, meaning) in meanings.items():
        yield name, at, length, meaning
        at += length
    assert at == parts[0].length
    for part in parts[1:]:
        framing = get_varint(data, part.offset + 1)[1] - part.offset
        yield f"{part.name}: type and length", part.offset, framing, f"a section of {part.length:,} bytes, framing too"
        yield f"{part.name}: CRC", part.offset + framing, 4, "a checksum over type, length and payload"
        start = part.offset + framing + 4
        what = "the tile's number, then z and y as symbols, entropy-coded as one stream: a bit belongs to many symbols"
        yield f"{part.name}: payload", start, part.offset + part.length - start, what


def rates(photo: Picture, folder: Path) -> list[dict[str, Any]]:
    """The photo at qualities, decoded with realism 0 and 1."""
    rows = []
    for quality in QUALITIES:
        data = regrain.encode(photo.pixels, quality=quality)
        bpp = 8 * len(data) / (photo.width * photo.height)
        row: dict[str, Any] = {"quality": quality, "bytes": len(data), "bpp": bpp}
        for realism in (0, 1):
            pixels = np.asarray(regrain.decode(data, realism=realism))
            row[f"psnr{realism}"] = psnr(pixels, photo.pixels)
            save(pixels, folder / f"rate-{quality}-{realism}.webp")
        rows.append(row)
    return rows


def kodak() -> list[dict[str, float | str]]:
    """Rows of the experiment on Kodak at realism 1: quality against steps, by sampler."""
    names = ("psnr", "ms_ssim", "lpips_alex", "dists", "kid", "gram", "spread_texture")
    with ROWS.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["realism"]) == 1]
    return [
        {"steps": int(row["steps"]), "sampler": row["sampler"], **{name: float(row[name]) for name in names}}
        for row in rows
    ]


def steps(folder: Path) -> list[str]:
    """One region of one file, by steps, sampler and seed: the names of its pictures."""
    data, names = regrain.encode(PHOTO, quality=QUALITY), []
    for kind in ("ddim", "ancestral"):
        for count in COUNTS:
            for seed in SEEDS:
                names.append(f"steps-{kind}-{count}-{seed}.webp")
                picture = regrain.decode(data, steps=count, sampler=kind, seed=seed, region=EYE)
                save(np.asarray(picture), folder / names[-1])
    return names


def stream(model: ProgressiveModel, copy: Picture, folder: Path) -> dict[str, Any]:
    """The progressive file of the copy: where each step ends, in bytes, and the picture of what has come by then."""
    header = Header(copy.width, copy.height, 100 * 256, model.fingerprint, Method.PROGRESSIVE)
    parts = list(encode.stream(model.denoiser, copy.pixels, header.tile))
    data = bitstream.write(Stream(header, tuple(part.payload for part in parts)))
    ends = [entry.offset + entry.length for entry in bitstream.layout(data) if entry.name == "latents"]
    assert len(ends) == MOST_STEPS
    # The estimate before a step is the picture of all that came before it.
    frames = [shown(part.x_hat)[: copy.height, : copy.width] for part in parts[1:]]
    frames.append(np.asarray(regrain.decode(data)))
    save(np.concatenate(frames), folder / "stream.webp")
    return {"ends": ends, "psnr": [psnr(frame, copy.pixels) for frame in frames], "size": len(data)}


def palettes(photo: Picture, folder: Path) -> list[dict[str, Any]]:
    """The photo by the palette method: its latents as a dithered picture (three channels of them), and the result."""
    rows = []
    for quality in PALETTES:
        data = regrain.encode(photo.pixels, quality=quality, method="palette")
        parsed, model = bitstream.read(data), registry.model_for(None, Method.PALETTE, None)
        assert isinstance(model, PaletteModel)
        levels, _ = decode_tiles(model.space, parsed.tiles, photo.pixels.shape[:2], parsed.header.tile)
        colours, counts = np.unique(levels.reshape(-1, levels.shape[2]), axis=0, return_counts=True)
        pixels = np.asarray(regrain.decode(data))
        save(levels[..., :3], folder / f"latents-{quality}.png")
        save(pixels, folder / f"palette-{quality}.webp")
        order = np.argsort(-counts)
        palette = [[*map(int, colours[k][:3]), int(counts[k])] for k in order]
        row = {"quality": quality, "bytes": len(data), "psnr": psnr(pixels, photo.pixels), "colours": palette}
        rows.append(row | {"width": levels.shape[1], "height": levels.shape[0], "channels": levels.shape[2]})
    return rows


if __name__ == "__main__":
    main()
