"""docs/PROGRESSIVE.md from the tables in this folder and docs/results.csv alone.

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
from regrain_lab.evaluation.table import Row, read

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
PIXELS = 768 * 512
RATES = (0.1, 0.2, 0.4, 0.8, 1.6)
OTHERS = ("JPEG", "WebP", "AVIF", "regrain")
DDPM = "DDPM (Ho et al. 2020, section 4.3; test part, 35.7 M parameters)", 3.75, 1.78, 1.97

Points = list[tuple[float, float]]


def main() -> None:
    """Write the page and its charts."""
    kodak, cifar, written = (_rows(name) for name in ("kodak", "cifar", "written"))
    _chart("figure5", [*_figure_5(cifar, written)])
    _chart("kodak", [_kodak_panel(kodak)])
    (DOCS / "PROGRESSIVE.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    kodak, cifar, written = (_rows(name) for name in ("kodak", "cifar", "written"))
    return "\n".join([*_head(cifar, written), *_steps(kodak), *_rates(kodak), *_finishes(), *_tail()])


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
    """Means over Kodak from docs/results.csv."""
    faithful = ("", 0.0, 1)
    rows = [r for r in _results() if r.codec == codec and (r.codec != "regrain" or _way(r) == faithful)]
    ((_, means),) = curves(rows, "psnr").items()
    return [(mean.bpp, mean.value) for mean in means]


def _way(row: Row) -> tuple[str, float | None, int | None]:
    return row.options, row.realism, row.steps


@cache
def _results() -> list[Row]:
    return read(Row, DOCS / "results.csv")


def _worst_fall(kodak: list[dict[str, str]]) -> tuple[float, str]:
    """The largest fall of PSNR from one prefix to the next, in dB, and whose."""
    falls = [(float(a["psnr"]) - float(b["psnr"]), f"{b['image']}, step {b['steps']}") for a, b in pairwise(kodak)
             if a["image"] == b["image"]]  # fmt: skip
    return max(falls)


def _head(cifar: list[dict[str, str]], written: list[dict[str, str]]) -> list[str]:
    bits = [float(row["bits"]) for row in cifar]
    name, total, rate, distortion = DDPM
    last = [row for row in written if row["codec"] == "progressive"][-1]
    level = float(last["setting"])
    bound = next(float(row["bits"]) for row in cifar if row["log_snr"] and float(row["log_snr"]) >= level)
    return [
        TEXT,
        "## The bound on CIFAR-10, term by term",
        "",
        "1,000 pictures of its training part (its test part is not at hand), none of them trained on; bits a value.",
        "",
        *_table(
            ("", "bound", "L_T", "steps", "L_0"),
            (
                "this prior",
                f"{bits[-1]:.3f}",
                f"{bits[0]:.4f}",
                f"{bits[-2] - bits[0]:.3f}",
                f"{bits[-1] - bits[-2]:.3f}",
            ),
            (name, f"{total:.2f}", "", f"{rate:.2f}", f"{distortion:.2f}"),
        ),
        "",
        f"200 of them sent together to log-SNR {level:g}: {float(last['bits']):.3f} bits a value are written, for a",
        f"divergence of {float(last['divergence']):.3f} (times {float(last['bits']) / float(last['divergence']):.2f}); "
        f"the bound of all 1,000, in {len(cifar) - 1} steps, stands at {bound:.3f} there.",
        "",
        "![Figure 5 of DDPM](../experiments/progressive/figure5.svg)",
        "",
        "![The forward process and the estimates](../experiments/progressive/process.webp)",
        "",
        "![Samples](../experiments/progressive/samples.webp)",
        "",
    ]


def _steps(kodak: list[dict[str, str]]) -> list[str]:
    means = _means(kodak)
    fall, whose = _worst_fall(kodak)
    said = f"The largest fall of PSNR from one prefix to the next is {fall:.3f} dB, at {whose}"
    said = said if fall > 0 else "PSNR rises from every prefix to the next"
    rows = [
        (str(n), f"{bpp:.4f}", f"{psnr:.2f}", f"{over:.2f}") for n, (bpp, psnr, over) in means.items() if n % 3 == 1
    ]
    return [
        "## Kodak, prefix by prefix",
        "",
        "Means over 24 photos: bits a pixel of the file that ends after so many steps, PSNR of its decoding in one",
        "step, bytes over the divergence they carry.",
        "",
        *_table(("steps", "bits a pixel", "PSNR, dB", "over the divergence"), *rows),
        "",
        f"{said} ({len(kodak) - len({row['image'] for row in kodak})} steps of all photos).",
        "",
    ]


def _rates(kodak: list[dict[str, str]]) -> list[str]:
    ours = [(bpp, psnr) for bpp, psnr, _ in list(_means(kodak).values())[1:]]
    lines = {"progressive": ours} | {_title(name): _curve(name) for name in OTHERS}
    rows = [(name, *(_at(points, rate) for rate in RATES)) for name, points in lines.items()]
    return [
        "PSNR in dB at equal bits a pixel, read off curves of means:",
        "",
        *_table(("codec", *(f"{rate:g}" for rate in RATES)), *rows),
        "",
        "![PSNR over rate on Kodak](../experiments/progressive/kodak.svg)",
        "",
    ]


def _at(points: Points, rate: float) -> str:
    value = bd.at_rate(points, rate)
    return "" if value is None else f"{value:.2f}"


def _finishes() -> list[str]:
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
    return [
        "## How a stream ends",
        "",
        f"{len(next(iter(by_way.values())))} photos after 20 of 40 steps, {rate:.3f} bits a pixel:",
        "",
        *_table(
            ("end", "PSNR, dB", "LPIPS-AlexNet"),
            *((names[way], f"{p:.2f}", f"{v:.4f}") for way, (p, v) in means.items()),
        ),
        "",
    ]


def _tail() -> list[str]:
    """What other commands printed, each under its text."""
    lines = []
    for name, text in PRINTED.items():
        lines += [text, (FOLDER / f"{name}.md").read_text(encoding="utf-8")]
    return lines


def _table(head: tuple[str, ...], *rows: tuple[str, ...]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def _chart(name: str, panels: list[Panel]) -> None:
    (FOLDER / f"{name}.svg").write_bytes(draw(panels, {})["svg"])


TEXT = """# The progressive codec

Made by `experiments/progressive/run.sh` from the rows beside it. Its curves beside every other codec, by every metric,
are in [RESULTS.md](RESULTS.md).
"""

PRINTED = {
    "channel": """## Reverse channel coding

`python experiments/progressive/channel.py`: 2^18 values and 8,000 bits of divergence, processor seconds. The codec
uses 10 bits a chunk; `kept` is how much of its shift a sample has where candidates end: what is lacking, the next
step is asked for. `dither.py` beside it measures the alternative, docs/LOG.md says what came of it.
""",
    "time": """## Time

`python benchmarks/progressive.py`, two cores, the demo photo at quality 100 (all 40 steps):
""",
    "parametrisations": """## What the network predicts, and which variance

`python experiments/progressive/parametrisations.py`: a prior of 0.35 million parameters trained 1,500 steps on crops
of 32 pixels in each way, under a cosine schedule and L_simple (the last by the hybrid loss of Improved DDPM); bits a
value of the bound on 200 CIFAR-10 pictures, by the schedule and the number of steps at test. Eps and v are alike; x_0
pays for errors at high log-SNR, which have no weight in L_simple; a learned variance is the best in every column. The
shipped prior predicts v, with fixed variance: a stream's steps tell their own spread.
""",
}
"""Files that commands of run.sh wrote, and what stands above each."""


if __name__ == "__main__":
    main()
