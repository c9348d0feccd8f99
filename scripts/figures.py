"""The README's tables of figures, from the tables of results alone.

    python scripts/figures.py

At one rate: regrain's rows are means over the photos; the other codecs are read off their curves of means in
results/0.1/results.csv (PCHIP over log-rate, as everywhere in results/0.1/RESULTS.md) at the rate of regrain's files at
-q 28. Over all rates: BD-rates of the default decode. Times: warm medians of results/0.1/timings.csv.
"""

from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.curves import compare, curves
from regrain_lab.evaluation.table import Row, Series, Timing, read
from regrain_lab.evaluation.timing import latest
from regrain_lab.metrics.registry import SCALES

RESULTS = Path(__file__).resolve().parents[1] / "results" / "0.1"
METRICS = ("psnr", "ms_ssim", "fsim", "lpips_alex")
AT = "28"
WAYS = [
    ("0", 1.0, 1), ("15", 1.0, 1), (AT, 1.0, 1), (AT, 1.0, 4), (AT, 0.0, 1), ("45", 1.0, 1), ("60", 1.0, 1),
    ("100", 1.0, 1),
]  # fmt: skip
"""Quality, realism and steps of regrain's rows."""
TITLES = [SCALES[metric].title.replace("LPIPS (AlexNet)", "LPIPS") for metric in METRICS]
OTHERS = ("JPEG", "WebP", "JPEG XL", "AVIF", "HEVC")


def tables() -> list[str]:
    """The three tables, in Markdown."""
    rows = read(Row, RESULTS / "results.csv")
    return ["\n".join(lines) for lines in (at_one_rate(rows), bd_rates(rows), times(rows))]


def at_one_rate(rows: list[Row]) -> list[str]:
    """Metrics of regrain's settings, and of the others at the rate of one of them."""
    ours = {way: [row for row in rows if _way(row) == way] for way in WAYS}
    lines = [_figures(_name(*way), _mean_rate(own), _means(own)) for way, own in ours.items()]
    rate = _mean_rate(ours[AT, 1.0, 1])
    lines += [_figures(codec, rate, _read_off(rows, codec, rate)) for codec in OTHERS]
    return [*_head("codec", "bpp", *TITLES), *lines]


def bd_rates(rows: list[Row]) -> list[str]:
    """BD-rates in percent of the default decode, and of realism 0, against each of the others."""
    series = {row.series for row in rows}
    lines = []
    for realism in (1.0, 0.0):
        (ours,) = {row.series for row in rows if _way(row) == (AT, realism, 1)}
        for codec in OTHERS:
            (other,) = (anchor for anchor in series if anchor.codec == codec)
            lines.append(_line(f"{codec}, realism {realism:g}", *(_saved(rows, name, other, ours) for name in METRICS)))
    return [*_head("bytes against", *TITLES), *lines]


def _saved(rows: list[Row], metric: str, other: Series, ours: Series) -> str:
    value = compare(rows, metric, other, ours).delta.value
    return "none" if value is None else f"{value:+.0f} %"


def times(rows: list[Row]) -> list[str]:
    """Seconds of regrain and the others, warm."""
    timings = latest(read(Timing, RESULTS / "timings.csv"))
    series = {row.series for row in rows}
    default = [t for t in timings if t.series in series and t.steps in (None, 1) and not _is_other_weights(t)]
    own = [t for name in ("regrain", *OTHERS) for t in default if t.codec == name]
    lines = [_line(t.codec, f"{t.encode_s:.3f}", f"{t.decode_s:.3f}") for t in own]
    return [*_head("seconds", "encode", "decode"), *lines]


def _is_other_weights(timing: Timing) -> bool:
    return timing.codec == "regrain" and bool(timing.options)


def _way(row: Row) -> tuple[str, float | None, int | None] | None:
    return (row.setting, row.realism, row.steps) if row.codec == "regrain" and not row.options else None


def _name(quality: str, realism: float, steps: int) -> str:
    flags = [f"--realism {realism:g}"] * (realism != 1) + [f"--steps {steps}"] * (steps != 1)
    return " ".join([f"regrain -q {quality}", *flags])


def _mean_rate(rows: list[Row]) -> float:
    return fmean(row.bpp or 0.0 for row in rows)


def _means(rows: list[Row]) -> list[float]:
    return [fmean(row.metrics[metric] or 0.0 for row in rows) for metric in METRICS]


def _read_off(rows: list[Row], codec: str, rate: float) -> list[float]:
    """A codec's metrics at a rate."""
    values = []
    for metric in METRICS:
        ((_, means),) = curves([row for row in rows if row.codec == codec], metric).items()
        value = bd.at_rate([(mean.bpp, mean.value) for mean in means], rate, higher=SCALES[metric].higher)
        assert value is not None, f"{codec} has no file of {rate:.3f} bits a pixel"
        values.append(value)
    return values


def _figures(name: str, rate: float, values: list[float]) -> str:
    digits = [f"{value:.{SCALES[metric].digits}f}" for metric, value in zip(METRICS, values, strict=True)]
    return _line(name, f"{rate:.3f}", *digits)


def _head(*cells: str) -> list[str]:
    return [_line(*cells), "|---" * len(cells) + "|"]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n\n".join(tables()))
