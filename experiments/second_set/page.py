"""results/0.1/SECOND_SET.md from the rows of the second test set: what Kodak's figures are worth elsewhere.

    python experiments/second_set/page.py

BD-rates of regrain's default decode and of realism 0, photos and screen captures apart, beside Kodak's, of each set's
curves of means; then, of the photos, each one's own BD-rate in LPIPS.
"""

from pathlib import Path
from statistics import fmean, median

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.curves import compare
from regrain_lab.evaluation.page import Table, fill
from regrain_lab.evaluation.table import Row, read
from regrain_lab.metrics.registry import SCALES

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
SETS = {"photos": FOLDER / "photos.csv", "screens": FOLDER / "screens.csv", "Kodak": RESULTS / "results.csv"}
METRICS = ("psnr", "ms_ssim", "fsim", "lpips_alex")
ANCHORS = ("WebP", "AVIF")


def page() -> str:
    """The whole page."""
    rows = {name: read(Row, path) for name, path in SETS.items()}
    lines = [
        [f"{anchor}, realism {realism:g}, {name}", *_saved(own, anchor, realism)]
        for anchor in ANCHORS
        for realism in (1.0, 0.0)
        for name, own in rows.items()
    ]
    each = {image: _own(rows["photos"], image) for image in sorted({row.image for row in rows["photos"]})}
    values = {image: value for image, value in each.items() if value is not None}
    photos = [[image, _percent(values[image])] for image in sorted(values, key=values.__getitem__)]
    return fill(
        (FOLDER / "page.md").read_text(encoding="utf-8"),
        {
            "bd_rates": str(Table(["bytes against", *(SCALES[metric].title for metric in METRICS)], lines)),
            "mean": _percent(fmean(values.values())),
            "median": _percent(median(values.values())),
            "photos": str(Table(["photo", "BD-rate"], photos)),
        },
    )


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:+.0f} %"


def _saved(rows: list[Row], anchor: str, realism: float) -> list[str]:
    series = {row.series for row in rows}
    (ours,) = {row.series for row in rows if _ours(row, realism)}
    (other,) = (one for one in series if one.codec == anchor)
    return [_percent(compare(rows, metric, other, ours).delta.value) for metric in METRICS]


def _ours(row: Row, realism: float) -> bool:
    return row.codec == "regrain" and not row.options and (row.realism, row.steps) == (realism, 1)


def _own(rows: list[Row], image: str) -> float | None:
    own = [row for row in rows if row.image == image and row.bpp is not None]
    theirs = [(row.bpp, row.metrics["lpips_alex"]) for row in own if row.codec == "AVIF"]
    ours = [(row.bpp, row.metrics["lpips_alex"]) for row in own if _ours(row, 1.0)]
    return bd.bd_rate(theirs, ours, higher=False).value


if __name__ == "__main__":
    (RESULTS / "SECOND_SET.md").write_text(page(), encoding="utf-8")
