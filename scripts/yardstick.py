"""The whole yardstick of a decoder over a folder: a table on the terminal, and a row a picture as CSV.

    python scripts/yardstick.py KODAK WEIGHTS [--model FILE...] [--qualities 28 15] [--steps N] [--every N] [--out CSV]

WEIGHTS is a folder that holds those of LPIPS (AlexNet, SqueezeNet 1.1, VGG16's heads), VGG16 and DISTS. Rows whose
picture is `all` are over all pictures; KID and Gram are times 1000, with their bootstrap errors (see
`regrain_lab.evaluation.yardstick` for every column). Without --model the weights of the package are judged. About 20
seconds a picture, quality and set of weights on one core at one step; `--seeds 1` leaves the spread out, and a third
of that time.
"""

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import regrain
from regrain.conditional.codec import ConditionalModel
from regrain.options import DecodeOptions
from regrain.output import write_bytes
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.sweep import list_pictures, load_pixels
from regrain_lab.evaluation.yardstick import Judges, Reading, Reference, read, seeds_apart, summary

Row = dict[str, str | float]
THOUSANDTHS = ("kid", "kid_error", "gram", "gram_error")


def main() -> None:
    """Measure, write, print."""
    options = arguments()
    torch.set_num_threads(options.threads)
    judges = Judges.load(options.weights)
    models = {name or "package": load(name, options.device) for name in options.model}
    files = list_pictures(options.folder)[0][:: options.every]
    decode_options = DecodeOptions(options.steps, options.realism, options.eta, options.seed)
    rows: list[Row] = []
    readings: dict[tuple[str, float], list[Reading]] = {}
    with bar(len(files) * len(models) * len(options.qualities), "picture", visible=True) as advance:
        for file in files:
            original = Reference(judges, load_pixels(file))
            for name, model in models.items():
                apart = seeds_apart(model, original.pixels, decode_options)
                for quality in options.qualities:
                    reading = read(model, original, quality, decode_options, options.seeds)
                    reading = replace(reading, figures={**reading.figures, "seeds_apart": apart})
                    readings.setdefault((name, quality), []).append(reading)
                    rows.append(row(name, quality, file.name, [reading]))
                    write_bytes(table(rows).encode(), options.out)
                    advance()
    totals = [row(*key, "all", own) for key, own in readings.items()]
    write_bytes(table([*rows, *totals]).encode(), options.out)
    print_table(totals)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures, no side under 161 pixels")
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("--model", nargs="+", default=[None], help="weights of the conditional codec")
    parser.add_argument("--qualities", nargs="+", type=float, default=[28.0, 15.0])
    parser.add_argument("--realism", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=8, help="how many the spread is over")
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture alone")
    parser.add_argument("--device", help="as regrain decode takes it (default: onnx)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("yardstick.csv"))
    return parser.parse_args()


def load(name: str | None, device: str | None) -> ConditionalModel:
    """Weights from a file, or those of the package."""
    model = regrain.load(name, device)
    if not isinstance(model, ConditionalModel):
        raise SystemExit(f"{name} holds no weights of the conditional codec")
    return model


def row(model: str, quality: float, picture: str, readings: Sequence[Reading]) -> Row:
    """The line of these pictures."""
    figures = summary(readings)
    figures |= {name: 1000 * figures[name] for name in THOUSANDTHS if name in figures}
    return {"model": Path(model).name, "quality": quality, "picture": picture, **figures}


def table(rows: Sequence[Row]) -> str:
    """The rows as CSV."""
    out = io.StringIO()
    lines = csv.DictWriter(out, list(dict.fromkeys(name for line in rows for name in line)), lineterminator="\n")
    lines.writeheader()
    lines.writerows(
        {key: f"{cell:.7g}" if isinstance(cell, float) else cell for key, cell in line.items()} for line in rows
    )
    return out.getvalue()


def print_table(rows: Sequence[Row]) -> None:
    """Print a column for each row."""
    for name in rows[0]:
        cells = (line.get(name, "") for line in rows)
        print(f"{name:16}", *(f"{cell:>18.4f}" if isinstance(cell, float) else f"{cell!s:>18.18}" for cell in cells))


if __name__ == "__main__":
    main()
