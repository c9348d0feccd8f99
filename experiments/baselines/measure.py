"""The two hyperpriors on Kodak: rows.csv, a row a photo and quality, and table.md beside what is published.

    python experiments/baselines/measure.py KODAK WEIGHTS

WEIGHTS is the folder of metrics' weights. A rate is the size of the file that is written and read back. Rows that are
there already are not measured again. published.csv has means over Kodak as their sources print them.
"""

import csv
import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from hyperprior import Hyperprior, decode, encode

from regrain_lab.evaluation import bd, curves, table
from regrain_lab.evaluation.codecs import BenchmarkCodec, DecodeSetting, Pixels
from regrain_lab.evaluation.suite import Suite
from regrain_lab.evaluation.sweep import list_pictures, sweep
from regrain_lab.metrics.registry import load_metrics

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "0.1" / "results.csv"
QUALITIES = (0, 50, 100)
METRICS = ("psnr", "ms_ssim", "lpips_alex")
RATES = (0.15, 0.2, 0.4, 0.8)
KINDS = {"scale": "scale hyperprior, trained here", "mean-scale": "mean-scale hyperprior, trained here"}
LIKE = {"scale": "Balle 2018", "mean-scale": "Minnen 2018, no context"}
HOUSE = {"mean-scale hyperprior in regrain's networks (recipes/ms-hyper.toml)": "ms-hyper", "regrain, realism 0": ""}
Points = Sequence[tuple[float, float]]


def main(kodak: Path, weights: Path) -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    files, _ = list_pictures(kodak)
    rows = sweep(files, partial(suite, weights), HERE / "rows.csv")
    if errors := [row.error for row in rows if row.error]:
        raise SystemExit(errors[0])
    (HERE / "table.md").write_text("\n".join([*means(rows), "", *comparison(rows)]) + "\n")


def suite(weights: Path) -> Suite:
    """Both codecs, and three metrics."""
    metrics = load_metrics([weights / "lpips_alex_v0.1.safetensors"])
    return Suite([codec(kind) for kind in KINDS], {name: metrics[name] for name in METRICS})


def codec(kind: str) -> BenchmarkCodec:
    """One of them, as evaluations take it."""
    path = HERE / "weights" / f"{kind}.safetensors"
    model = Hyperprior.load(path)

    def read(data: bytes, setting: DecodeSetting) -> Pixels:
        return decode(model, data)

    return BenchmarkCodec(
        name=KINDS[kind], version=lambda: "1", settings=QUALITIES, encode=partial(encode, model), decode=read,
        options=f"N {model.config.width} M {model.config.latent}",
        fingerprint=hashlib.sha256(path.read_bytes()).hexdigest()[:8],
    )  # fmt: skip


def means(rows: Sequence[table.Row]) -> list[str]:
    """A line a quality."""
    lines = ["| codec | quality | bpp | PSNR | MS-SSIM | LPIPS-AlexNet |", "|---|---|---|---|---|---|"]
    by_metric = [curves.curves(rows, metric) for metric in METRICS]
    for series in by_metric[0]:
        for points in zip(*(curve[series] for curve in by_metric), strict=True):
            psnr, ms_ssim, lpips = (point.value for point in points)
            figures = f"{points[0].bpp:.3f} | {psnr:.2f} | {ms_ssim:.4f} | {lpips:.4f}"
            lines.append(f"| {series.codec} | {points[0].setting} | {figures} |")
    return lines


def comparison(rows: Sequence[table.Row]) -> list[str]:
    """PSNR at equal rates, ours and published, and the bytes that ours take over the published one of their kind."""
    ours = {series.codec: pairs(points) for series, points in curves.curves(rows, "psnr").items()}
    papers = published()
    house = {name: house_points(options) for name, options in HOUSE.items()}
    lines = [f"| PSNR at bpp | {' | '.join(map(str, RATES))} |", "|---|" + "---|" * len(RATES)]
    for name, points in (ours | papers | house).items():
        values = [bd.at_rate(points, rate) for rate in RATES]
        lines.append(f"| {name} | {' | '.join('-' if value is None else f'{value:.2f}' for value in values)} |")
    lines.append("")
    for kind, name in KINDS.items():
        delta = bd.bd_rate(papers[LIKE[kind]], ours[name])
        lines.append(
            f"- The {name}, takes {delta.value or 0:+.0f} % bytes over {LIKE[kind]} as published (BD-rate, PSNR)."
        )
    return lines


def house_points(options: str) -> Points:
    """Of the project's own files, decoded faithfully, as results.csv has them."""
    own = [row for row in table.read(table.Row, RESULTS) if row.codec == "regrain" and row.options == options]
    (points,) = curves.curves([row for row in own if row.realism == 0 and row.steps == 1], "psnr").values()
    return pairs(points)


def pairs(points: Sequence[curves.Mean]) -> list[tuple[float, float]]:
    """(bpp, value) of each."""
    return [(point.bpp, point.value) for point in points]


def published() -> dict[str, Points]:
    """(bpp, PSNR) by system."""
    found: dict[str, list[tuple[float, float]]] = {}
    with (HERE / "published.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            found.setdefault(line["system"], []).append((float(line["bpp"]), float(line["psnr"])))
    return dict(found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
