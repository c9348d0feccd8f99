"""docs/SECOND_SET.md from the rows of the second test set: what Kodak's figures are worth elsewhere.

    python experiments/second_set/page.py

BD-rates of regrain's default decode and of realism 0, photos and screen captures apart, beside Kodak's, of each set's
curves of means; then, of the photos, each one's own BD-rate in LPIPS.
"""

from pathlib import Path
from statistics import fmean, median

from regrain_lab.evaluation import bd
from regrain_lab.evaluation.curves import compare
from regrain_lab.evaluation.table import Row, read
from regrain_lab.metrics.registry import SCALES

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
SETS = {"photos": FOLDER / "photos.csv", "screens": FOLDER / "screens.csv", "Kodak": DOCS / "results.csv"}
METRICS = ("psnr", "ms_ssim", "fsim", "lpips_alex")
ANCHORS = ("WebP", "AVIF")
TEXT = """# The second set

The 23 photos of `../shared/data/test` (20 of CID22's validation set, 512x512; 3 of CLIC 2025's, of 2 to 4 megapixels)
and its five screen captures (one, of a web page, stands among CLIC's photos); nothing was tuned on them.
Made by `experiments/second_set/run.sh`, from the rows beside it.
Bytes that regrain's files take more (+) or less (-) at equal quality: BD-rate of the curves of means, one step, seed 0.
"""


def page() -> str:
    """The whole page."""
    rows = {name: read(Row, path) for name, path in SETS.items()}
    head = _head("bytes against", *(SCALES[metric].title for metric in METRICS))
    lines = [_line(f"{anchor}, realism {realism:g}, {name}", *_saved(found, anchor, realism))
             for anchor in ANCHORS for realism in (1.0, 0.0) for name, found in rows.items()]  # fmt: skip
    return "\n".join([TEXT, *head, *lines, "", *_each(rows["photos"]), ""])


def _saved(rows: list[Row], anchor: str, realism: float) -> list[str]:
    series = {row.series for row in rows}
    (ours,) = {row.series for row in rows if _ours(row, realism)}
    (other,) = (one for one in series if one.codec == anchor)
    values = (compare(rows, metric, other, ours).delta.value for metric in METRICS)
    return ["none" if value is None else f"{value:+.0f} %" for value in values]


def _ours(row: Row, realism: float) -> bool:
    return row.codec == "regrain" and not row.options and (row.realism, row.steps) == (realism, 1)


def _each(rows: list[Row]) -> list[str]:
    """Photo by photo against AVIF, in LPIPS."""
    found = {image: _own(rows, image) for image in sorted({row.image for row in rows})}
    values = {image: value for image, value in found.items() if value is not None}
    order = sorted(values, key=values.__getitem__)
    middle = f"mean {fmean(values.values()):+.0f} %, median {median(values.values()):+.0f} %"
    text = f"Photo by photo against AVIF in LPIPS: {middle}."
    return [text, "", *_head("photo", "BD-rate"), *(_line(image, f"{values[image]:+.0f} %") for image in order)]


def _own(rows: list[Row], image: str) -> float | None:
    own = [row for row in rows if row.image == image and row.bpp is not None]
    theirs = [(row.bpp, row.metrics["lpips_alex"]) for row in own if row.codec == "AVIF"]
    ours = [(row.bpp, row.metrics["lpips_alex"]) for row in own if _ours(row, 1.0)]
    return bd.bd_rate(theirs, ours, higher=False).value


def _head(*cells: str) -> list[str]:
    return [_line(*cells), _line(*(["---"] * len(cells)))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    (DOCS / "SECOND_SET.md").write_text(page(), encoding="utf-8")
