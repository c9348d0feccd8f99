"""results/0.1/FEW_STEPS.md from the tables in this folder alone.

python experiments/few_steps/page.py
"""

import csv
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation.page import Table, fill

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
TEACHER, STUDENT = "teacher", "shipped"


def main() -> None:
    """Write the page."""
    (RESULTS / "FEW_STEPS.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    tables = {name: _rows(name) for name in ("steps", "methods", "guidance")}
    values = {name: str(_table(rows)) for name, rows in tables.items()} | _verdict(tables["steps"])
    values |= {"least_lpips": _best(tables["methods"])} | _predicted(_rows("predictions"))
    return fill((FOLDER / "page.md").read_text(encoding="utf-8"), values)


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _names(rows: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(row["weights"] for row in rows))


def _counts(rows: list[dict[str, str]]) -> list[int]:
    return sorted({int(row["steps"]) for row in rows})


def _mean(rows: list[dict[str, str]], weights: str, steps: int, metric: str) -> float:
    return fmean(float(row[metric]) for row in rows if row["weights"] == weights and int(row["steps"]) == steps)


def _table(rows: list[dict[str, str]]) -> Table:
    counts, lines = _counts(rows), []
    for name in _names(rows):
        pairs = [(_mean(rows, name, n, "psnr"), _mean(rows, name, n, "lpips")) for n in counts]
        lines.append([name, *(f"{psnr:.2f} / {lpips:.4f}" for psnr, lpips in pairs)])
    return Table(["steps", *map(str, counts)], lines)


def _verdict(rows: list[dict[str, str]]) -> dict[str, str]:
    teacher, student = ({n: _mean(rows, name, n, "lpips") for n in _counts(rows)} for name in (TEACHER, STUDENT))
    best = min(teacher, key=teacher.__getitem__)
    values = {"teacher_best": str(best)}
    for name, least in (("over", teacher[best]), ("own", min(student.values()))):
        values |= {f"{name}_{n}": f"{100 * (student[n] / least - 1):+.1f} %" for n in (1, 4)}
    return values


def _best(rows: list[dict[str, str]]) -> str:
    wins = [f"{n} by {min(_names(rows), key=lambda name: _mean(rows, name, n, 'lpips'))}" for n in _counts(rows)]
    return ", ".join(wins)


def _predicted(predictions: list[dict[str, str]]) -> dict[str, str]:
    """What the network predicts, as a table and in the figures that the words around it name."""
    sketch, *rows = (row | {"weights": row["prediction"]} for row in predictions)
    end, last = rows[-1], _counts(rows)[-1]
    psnr = {(row["weights"], int(row["steps"])): float(row["psnr"]) for row in rows}
    losses = {row["weights"].removesuffix(", not clamped"): float(row["loss"]) for row in rows}
    return {
        "parameters": f"{int(end['parameters']) / 1e6:.2f}",
        "updates": f"{int(end['updates']):,}",
        "batch": end["batch"],
        "crop": end["crop"],
        "held_out": end["pictures"],
        "sketch": f"{float(sketch['psnr']):.2f} / {float(sketch['lpips']):.4f}",
        "predictions": str(_table(rows)),
        "losses": ", ".join(f"{loss:.4f} ({name})" for name, loss in losses.items()),
        "x0_one": f"{psnr['x0', 1]:.2f}",
        "x0_least": str(min(_counts(rows), key=lambda steps: _mean(rows, "x0", steps, "lpips"))),
        "eps_one": f"{psnr['eps', 1]:.2f}",
        "eps_last": f"{psnr['eps', last]:.2f}",
        "last": str(last),
        "eps_top": f"{max(value for (name, _), value in psnr.items() if name == 'eps, not clamped'):.2f}",
        "alone_one": f"{psnr['x0 alone', 1]:.2f} and {psnr['v', 1]:.2f}",
        "alone_two": f"{psnr['x0 alone', 2]:.2f} and {psnr['v', 2]:.2f}",
    }


if __name__ == "__main__":
    main()
