"""What weights for screens and the foreground gain: bytes against AVIF's and the general weights', at equal quality.

    python experiments/screens/measure.py PICTURES... [--model NAME=WEIGHTS ...] [--screen] [--out rows.csv]
    python experiments/screens/measure.py --table [rows.csv]

Every picture is encoded by AVIF at its usual settings, by the general weights, by those of each --model, and with
--screen as `--content screen` does, at some qualities, and decoded faithfully (realism 0) and by default. BD-rates are
of the means over all pictures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import regrain
from regrain_lab.evaluation import bd
from regrain_lab.evaluation.baselines import BASELINES
from regrain_lab.evaluation.rows import append, read
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows.csv"
QUALITIES = {"regrain": (0, 20, 40, 60, 80), "AVIF": (0, 5, 10, 20, 35, 50)}
METRICS = ("psnr", "ms_ssim", "ssimulacra2")
GENERAL, SCREEN = "general", "foreground"
HEAD = ["image", "codec", "realism", "quality", "bpp", *METRICS]
Pixels = NDArray[np.uint8]


def main() -> None:
    """Write the rows that are missing, or print the table of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="*")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=WEIGHTS")
    parser.add_argument("--screen", action="store_true")
    parser.add_argument("--middle", help="WIDTH,HEIGHT: no more than this of every picture")
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return print(table(read(options.out)))
    named = dict(text.split("=", 1) for text in options.model)
    ways: dict[str, dict[str, Any]] = {GENERAL: {"content": "photo"}}
    ways |= {name: {"model": regrain.load(path)} for name, path in named.items()}
    ways |= {SCREEN: {"content": "screen"}} if options.screen else {}
    there, judges = {tuple(row[name] for name in HEAD[:4]) for row in read(options.out)}, load_metrics([])
    for path in sorted(options.pictures):
        pixels = middle(Image.open(path).convert("RGB"), options.middle)
        for codec, realism, quality, size, decoded in results(pixels, ways, there, path.name):
            rate = f"{8 * size / (pixels.shape[0] * pixels.shape[1]):.5f}"
            figures = [f"{judges[name](pixels, decoded):.5f}" for name in METRICS]
            cells = [path.name, codec, realism, quality, rate, *figures]
            append(options.out, dict(zip(HEAD, cells, strict=True)))
    return None


def middle(picture: Image.Image, sides: str | None) -> Pixels:
    """The pixels, or those of the middle where it is to have no more than "WIDTH,HEIGHT"."""
    width, height = picture.size
    if sides:
        width, height = (min(pair) for pair in zip((width, height), map(int, sides.split(",")), strict=True))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return np.asarray(picture.crop((left, top, left + width, top + height)))


def results(
    pixels: Pixels, ways: dict[str, dict[str, Any]], there: set[tuple[str, ...]], image: str
) -> Iterator[tuple[str, str, str, int, Pixels]]:
    """Codec, realism, quality, bytes and picture of every row that is not there yet."""
    (avif,) = (codec for codec in BASELINES if codec.name == "AVIF")
    for quality in QUALITIES["AVIF"]:
        if (image, "AVIF", "", str(quality)) not in there:
            data = avif.encode(pixels, quality)
            yield "AVIF", "", str(quality), len(data), avif.decode(data)
    for name, way in ways.items():
        for quality in QUALITIES["regrain"]:
            missing = [realism for realism in ("0", "1") if (image, name, realism, str(quality)) not in there]
            if missing:
                data = regrain.encode(pixels, quality=quality, **way)
                for realism in missing:
                    decoded = regrain.decode(data, realism=float(realism), model=way.get("model"))
                    yield name, realism, str(quality), len(data), np.asarray(decoded)


def table(rows: list[dict[str, str]]) -> str:
    """BD-rates in per cent against AVIF and against the general weights, by kind of picture, in Markdown."""
    names = [name for name in dict.fromkeys(row["codec"] for row in rows) if name != "AVIF"]
    lines = [f"| pictures | weights | realism | against | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 4) + "|"]
    for kind in sorted({kind_of(row["image"]) for row in rows}):
        own = [row for row in rows if kind_of(row["image"]) == kind]
        for name in names:
            for realism in ("0", "1"):
                for anchor, at in (("AVIF", ""), (GENERAL, realism)):
                    if name != anchor:
                        cells = [delta(points(own, anchor, at, m), points(own, name, realism, m)) for m in METRICS]
                        lines.append(f"| {kind} | {name} | {realism} | {anchor} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kind_of(image: str) -> str:
    """What the generator draws has a name with a number behind a dash; all others are captures."""
    return "drawn" if "-" in image else "capture"


def delta(anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> str:
    """A BD-rate as text."""
    value = bd.bd_rate(anchor, test).value
    return "-" if value is None else f"{value:+.0f} %"


def points(rows: list[dict[str, str]], codec: str, realism: str, metric: str) -> list[tuple[float, float]]:
    """Mean bpp and mean figure at each quality."""
    chosen = [row for row in rows if (row["codec"], row["realism"]) == (codec, realism)]
    by_quality = {
        quality: [row for row in chosen if row["quality"] == quality] for quality in {r["quality"] for r in chosen}
    }
    return [
        (mean(float(row["bpp"]) for row in at), mean(float(row[metric]) for row in at)) for at in by_quality.values()
    ]


if __name__ == "__main__":
    main()
