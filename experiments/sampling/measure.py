"""Quality against the number of steps, deterministic and stochastic, and distortion against realism: rows.csv, charts.

    python experiments/sampling/measure.py KODAK WEIGHTS [--model FILE] [--every N] [--steps 1 2 4 ...] [--out FOLDER]

Every picture is encoded once at -q 28 and decoded in each number of steps by DDIM (deterministic, eta 0) and by
ancestral steps (stochastic, eta 1) at realism 1, and by DDIM at realism 0, 0.25, 0.5 and 0.75 in two steps. A row of
rows.csv is the mean over all pictures of one way to decode; KID and Gram are times 1000. WEIGHTS is the folder that
`scripts/yardstick.py` takes. A way that rows.csv holds already is not measured again.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import torch

import regrain
from regrain.conditional.codec import ConditionalModel
from regrain.options import DecodeOptions, Sampler
from regrain.output import write_bytes
from regrain_lab.evaluation import charts
from regrain_lab.evaluation.progress import bar
from regrain_lab.evaluation.sweep import list_pictures, load_pixels
from regrain_lab.evaluation.yardstick import Judges, Reference, read, summary

FOLDER = Path(__file__).resolve().parent
QUALITY = 28.0
SAMPLERS: dict[Sampler, str] = {"ddim": "deterministic", "ancestral": "stochastic"}
BY_NAME: dict[str, Sampler] = {sampler: sampler for sampler in SAMPLERS}
FEW = 2
"""The fewest steps that the sampler takes."""
REALISMS = (0.0, 0.25, 0.5, 0.75)
AXES = {
    "psnr": "PSNR (dB)",
    "ms_ssim": "MS-SSIM",
    "lpips_alex": "LPIPS (AlexNet)",
    "dists": "DISTS",
    "kid": "KID x 1000",
}
THOUSANDTHS = ("kid", "kid_error", "gram", "gram_error")
Row = dict[str, str | float]
Way = tuple[int, str, float]


def main() -> None:
    """Measure what is missing, and draw."""
    options = arguments()
    torch.set_num_threads(options.threads)
    model = regrain.load(options.model)
    if not isinstance(model, ConditionalModel):
        raise SystemExit("these weights are not those of the conditional codec")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.out / "rows.csv")
    ways: list[Way] = [(steps, sampler, 1.0) for steps in options.steps for sampler in SAMPLERS]
    ways += [(FEW, "ddim", realism) for realism in REALISMS]
    missing = [way for way in ways if way not in rows]
    files = list_pictures(options.folder)[0][:: options.every]
    judges = Judges.load(options.weights)
    originals = [Reference(judges, load_pixels(file)) for file in files] if missing else []
    with bar(len(missing) * len(files), "picture", visible=True) as advance:
        for steps, sampler, realism in missing:
            decode_options = replace(DecodeOptions(steps, realism), sampler=BY_NAME[sampler])
            readings = []
            for original in originals:
                readings.append(read(model, original, QUALITY, decode_options, seeds=2 if realism else 1))
                advance()
            figures = summary(readings)
            figures |= {name: 1000 * figures[name] for name in THOUSANDTHS if name in figures}
            rows[steps, sampler, realism] = {
                "steps": steps, "sampler": sampler, "realism": realism, "pictures": len(files), **figures,
            }  # fmt: skip
            write_rows(list(rows.values()), options.out / "rows.csv")
    for name, panels in (("steps", step_panels(rows)), ("plane", [plane(rows)])):
        write_bytes(charts.draw(panels, {})["svg"], options.out / f"{name}.svg")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("--model", help="weights, if not those in the package")
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture alone")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER)
    return parser.parse_args()


def read_rows(path: Path) -> dict[Way, Row]:
    """The rows that are there, by steps, sampler and realism."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {(int(line["steps"]), line["sampler"], float(line["realism"])): dict(line) for line in lines}


def write_rows(rows: list[Row], path: Path) -> None:
    """Write all rows, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)]
    for row in rows:
        cells = (row.get(name, "") for name in names)
        lines.append(",".join(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells))
    write_bytes(("\n".join(lines) + "\n").encode(), path)


def step_panels(rows: dict[Way, Row]) -> list[charts.Panel]:
    """Each figure over the number of steps, a line for each sampler."""
    panels = []
    for column, axis in AXES.items():
        lines = []
        for sampler, label in SAMPLERS.items():
            own = sorted(way for way in rows if way[1:] == (sampler, 1.0))
            points = [(float(way[0]), float(rows[way][column])) for way in own]
            lines.append(charts.Line(label, points, "ours" if sampler == "ancestral" else "other"))
        panels.append(charts.Panel(axis, "steps", axis, lines, log=True))
    return panels


def plane(rows: dict[Way, Row]) -> charts.Panel:
    """Distortion and realism of the same files: over realism in a few steps, and over steps at realism 1."""

    def line(label: str, ways: list[Way], text: str, place: int, kind: charts.Kind) -> charts.Line:
        points = [(float(rows[way]["psnr"]), float(rows[way]["kid"])) for way in ways]
        return charts.Line(label, points, kind, texts=[text.format(way[place]) for way in ways])

    realisms = sorted((way for way in rows if way[:2] == (FEW, "ddim")), key=lambda way: way[2])
    steps = {sampler: sorted(way for way in rows if way[1:] == (sampler, 1.0)) for sampler in SAMPLERS}
    lines = [line(f"realism, {FEW} steps", realisms, "r {:g}", 2, "ours")]
    lines += [line(f"steps, {SAMPLERS[sampler]}", ways, "n {}", 0, "other") for sampler, ways in steps.items()]
    return charts.Panel("One file, many ways to decode it", AXES["psnr"], AXES["kid"], lines)


if __name__ == "__main__":
    main()
