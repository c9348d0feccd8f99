"""results/0.1/PROGRESSIVE.md from the tables in this folder and results/0.1/results.csv alone.

python experiments/progressive/page.py
"""

import csv
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.charts import Line, Panel, draw
from regrain_lab.evaluation.curves import curves
from regrain_lab.evaluation.page import Table, fill
from regrain_lab.evaluation.table import Row, read

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
PIXELS = 768 * 512
RATES = (0.1, 0.2, 0.4, 0.8, 1.6)
OTHERS = ("JPEG", "WebP", "AVIF", "regrain")
DDPM = "DDPM (Ho et al. 2020, section 4.3; test part, 35.7 M parameters)", 3.75, 1.78, 1.97
PRINTED = ("channel", "time", "parametrisations")
"""Tables that commands of run.sh wrote."""

Points = list[tuple[float, float]]


def main() -> None:
    """Write the page and its charts."""
    kodak, cifar, written = (_rows(name) for name in ("kodak", "cifar", "written"))
    _chart("figure5", [*_figure_5(cifar, written)])
    _chart("kodak", [_kodak_panel(kodak)])
    (RESULTS / "PROGRESSIVE.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    kodak, cifar, written = (_rows(name) for name in ("kodak", "cifar", "written"))
    printed = {name: (FOLDER / f"{name}.md").read_text(encoding="utf-8").strip() for name in PRINTED}
    values = _bound(cifar, written) | _prefixes(kodak) | _finishes() | printed
    return fill((FOLDER / "page.md").read_text(encoding="utf-8"), values)


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _points(rows: list[dict[str, str]], x: str, y: str) -> Points:
    return [(float(row[x]), float(row[y])) for row in rows if row[x] and row[y]]


def _figure_5(cifar: list[dict[str, str]], written: list[dict[str, str]]) -> list[Panel]:
    bound = Line("progressive, by the bound", _points(cifar, "bits", "rmse"), "ours")
    codecs = [Line(name, _points([row for row in written if row["codec"] == name], "bits", "rmse"),
                   "ours" if name == "progressive" else "other", dashed=name == "progressive")
              for name in dict.fromkeys(row["codec"] for row in written)]  # fmt: skip
    time = Line("progressive, by the bound", _points(cifar, "reverse_time", "rmse"), "ours")
    spent = Line("progressive, by the bound", _points(cifar, "reverse_time", "bits"), "ours")
    error = "root of the mean squared error on [0, 255]"
    return [
        Panel("Distortion over rate", "bits a value", error, [bound, *codecs]),
        Panel("Distortion over time", "reverse time, 0 is noise", error, [time]),
        Panel("Rate over time", "reverse time, 0 is noise", "bits a value", [spent]),
    ]


def _means(kodak: list[dict[str, str]]) -> dict[int, tuple[float, float, float]]:
    """By steps: bits a pixel, PSNR, and bits written over the divergence."""
    by_steps = defaultdict(list)
    for row in kodak:
        by_steps[int(row["steps"])].append(row)
    return {
        steps: (
            fmean(8 * int(row["bytes"]) / PIXELS for row in rows),
            fmean(float(row["psnr"]) for row in rows),
            sum(8 * int(row["bytes"]) for row in rows) / max(1.0, sum(float(row["divergence"]) for row in rows)),
        )
        for steps, rows in sorted(by_steps.items())
    }


def _kodak_panel(kodak: list[dict[str, str]]) -> Panel:
    ours = [(bpp, psnr) for bpp, psnr, _ in list(_means(kodak).values())[1:]]
    others = [Line(_title(name), [(p, v) for p, v in _curve(name) if p < 2.5]) for name in OTHERS]
    return Panel("Kodak", "bits a pixel", "PSNR, dB", [Line("progressive", ours, "ours"), *others], log=True)


def _title(name: str) -> str:
    return "conditional, realism 0" if name == "regrain" else name


def _curve(codec: str) -> Points:
    """Means over Kodak from results/0.1/results.csv."""
    faithful = ("", 0.0, 1)
    rows = [r for r in _results() if r.codec == codec and (r.codec != "regrain" or _way(r) == faithful)]
    ((_, means),) = curves(rows, "psnr").items()
    return [(mean.bpp, mean.value) for mean in means]


def _way(row: Row) -> tuple[str, float | None, int | None]:
    return row.options, row.realism, row.steps


@cache
def _results() -> list[Row]:
    return read(Row, RESULTS / "results.csv")


def _worst_fall(kodak: list[dict[str, str]]) -> tuple[float, str]:
    """The largest fall of PSNR from one prefix to the next, in dB, and whose."""
    falls = [(float(a["psnr"]) - float(b["psnr"]), f"{b['image']}, step {b['steps']}") for a, b in pairwise(kodak)
             if a["image"] == b["image"]]  # fmt: skip
    return max(falls)


def _bound(cifar: list[dict[str, str]], written: list[dict[str, str]]) -> dict[str, str]:
    bits = [float(row["bits"]) for row in cifar]
    name, total, rate, distortion = DDPM
    last = [row for row in written if row["codec"] == "progressive"][-1]
    level = float(last["setting"])
    bound = next(float(row["bits"]) for row in cifar if row["log_snr"] and float(row["log_snr"]) >= level)
    terms = bits[-1], bits[0], bits[-2] - bits[0], bits[-1] - bits[-2]
    lines = [
        ["this prior", f"{terms[0]:.3f}", f"{terms[1]:.4f}", f"{terms[2]:.3f}", f"{terms[3]:.3f}"],
        [name, f"{total:.2f}", "", f"{rate:.2f}", f"{distortion:.2f}"],
    ]
    return {
        "bound": str(Table(["", "bound", "L_T", "steps", "L_0"], lines)),
        "log_snr": f"{level:g}",
        "written": f"{float(last['bits']):.3f}",
        "divergence": f"{float(last['divergence']):.3f}",
        "over": f"{float(last['bits']) / float(last['divergence']):.2f}",
        "bound_steps": str(len(cifar) - 1),
        "bound_there": f"{bound:.3f}",
    }


def _prefixes(kodak: list[dict[str, str]]) -> dict[str, str]:
    means = _means(kodak)
    fall, whose = _worst_fall(kodak)
    words = f"The largest fall of PSNR from one prefix to the next is {fall:.3f} dB, at {whose}"
    prefixes = [
        [str(n), f"{bpp:.4f}", f"{psnr:.2f}", f"{over:.2f}"] for n, (bpp, psnr, over) in means.items() if n % 3 == 1
    ]
    curves = {"progressive": [(bpp, psnr) for bpp, psnr, _ in list(means.values())[1:]]}
    curves |= {_title(name): _curve(name) for name in OTHERS}
    rates = [[name, *(_at(points, rate) for rate in RATES)] for name, points in curves.items()]
    return {
        "prefixes": str(Table(["steps", "bits a pixel", "PSNR, dB", "over the divergence"], prefixes)),
        "fall": words if fall > 0 else "PSNR rises from every prefix to the next",
        "all_steps": str(len(kodak) - len({row["image"] for row in kodak})),
        "equal_rates": str(Table(["codec", *(f"{rate:g}" for rate in RATES)], rates)),
    }


def _at(points: Points, rate: float) -> str:
    value = bd.at_rate(points, rate)
    return "" if value is None else f"{value:.2f}"


def _finishes() -> dict[str, str]:
    by_way = defaultdict(list)
    for row in _rows("finishes"):
        by_way[int(row["steps"]), float(row["eta"])].append(row)
    names = {(1, 0.0): "the estimate"} | {
        (n, e): f"{'DiffC-A' if e else 'DiffC-F'}, {n} steps" for n, e in by_way if n > 1
    }
    means = {
        way: [fmean(float(row[name]) for row in rows) for name in ("psnr", "lpips_alex")]
        for way, rows in by_way.items()
    }
    rate = fmean(float(row["bpp"]) for rows in by_way.values() for row in rows)
    lines = [[names[way], f"{p:.2f}", f"{v:.4f}"] for way, (p, v) in means.items()]
    return {
        "finished": str(len(next(iter(by_way.values())))),
        "finished_rate": f"{rate:.3f}",
        "finishes": str(Table(["end", "PSNR, dB", "LPIPS-AlexNet"], lines)),
    }


def _chart(name: str, panels: list[Panel]) -> None:
    (FOLDER / f"{name}.svg").write_bytes(draw(panels, {})["svg"])


if __name__ == "__main__":
    main()
