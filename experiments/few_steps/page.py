"""results/0.1/FEW_STEPS.md from the tables in this folder alone.

python experiments/few_steps/page.py
"""

import csv
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation.page import Table, fill

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
FIGURES = {"psnr": ".2f", "lpips": ".4f", "gram": ".1f", "kid": ".1f", "spread": ".2f"}
"""Of a way to sample, in the order of a cell."""
Rows = list[dict[str, str]]


def main() -> None:
    """Write the page."""
    (RESULTS / "FEW_STEPS.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    students, predictions = _rows("students"), _rows("predictions")
    return fill((FOLDER / "page.md").read_text(encoding="utf-8"), _taught(students) | _predicted(predictions))


def _rows(name: str) -> Rows:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["weights"] for row in rows))


def _counts(rows: Rows) -> list[int]:
    return sorted({int(row["steps"]) for row in rows})


def _mean(rows: Rows, weights: str, steps: int, metric: str) -> float:
    return fmean(float(row[metric]) for row in rows if row["weights"] == weights and int(row["steps"]) == steps)


def _table(rows: Rows, figures: dict[str, str]) -> Table:
    """A line a network, a column a number of steps, the figures of a cell one after another."""
    counts, lines = _counts(rows), []
    for name in _names(rows):
        cells = (" / ".join(f"{_mean(rows, name, n, k):{form}}" for k, form in figures.items()) for n in counts)
        lines.append([name, *cells])
    return Table(["steps", *map(str, counts)], lines)


def _taught(rows: Rows) -> dict[str, str]:
    """The teacher's steps, and what each student makes of few of them."""
    teacher = [row | {"weights": row["sampler"]} for row in rows if row["weights"] == "teacher"]
    few = _counts([row for row in rows if row["weights"] != "teacher"])
    students = [row for row in rows if row["sampler"] == "ddim" and int(row["steps"]) in few]
    for row in students:
        row["weights"] += f", w = {float(row['guidance']):g}" if row["weights"] == "guided" else ""
    updates = {row["weights"]: int(row["updates"]) for row in rows}
    values = {f"teacher_{name}": str(_table(teacher, {name: form})) for name, form in FIGURES.items()}
    values |= {f"students_{name}": str(_table(students, {name: form})) for name, form in FIGURES.items()}
    return (
        values
        | _named(teacher, students)
        | {
            "crops": rows[0]["pictures"],
            "updates_teacher": f"{updates.pop('teacher'):,}",
            "updates_students": ", ".join(f"{count:,} ({name})" for name, count in updates.items()),
        }
    )


def _named(teacher: Rows, students: Rows) -> dict[str, str]:
    """The figures that the words name."""

    def cell(rows: Rows, weights: str, steps: int, figure: str) -> str:
        return f"{_mean(rows, weights, steps, figure):{FIGURES[figure]}}"

    def least(figure: str) -> str:
        return f"{min(float(row[figure]) for row in teacher):{FIGURES[figure]}}"

    return {
        "progressive_one": cell(students, "progressive", 1, "lpips"),
        "progressive_one_gram": cell(students, "progressive", 1, "gram"),
        "teacher_one": cell(teacher, "ddim", 1, "lpips"),
        "teacher_one_gram": cell(teacher, "ddim", 1, "gram"),
        "teacher_sixteen": cell(teacher, "ddim", 16, "lpips"),
        "teacher_sixteen_gram": cell(teacher, "ddim", 16, "gram"),
        "guided_one": cell(students, "guided, w = 0.5", 1, "lpips"),
        "guided_one_kid": cell(students, "guided, w = 0.5", 1, "kid"),
        "teacher_best": least("lpips"),
        "teacher_best_kid": least("kid"),
        "regression_one": cell(students, "regression", 1, "lpips"),
        "regression_spread_eight": cell(students, "regression", 8, "spread"),
        "teacher_spread_eight": cell(teacher, "ddim", 8, "spread"),
        "distribution_updates": next(row["updates"] for row in students if row["weights"] == "distribution"),
    }


def _predicted(predictions: Rows) -> dict[str, str]:
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
        "predictions": str(_table(rows, {name: FIGURES[name] for name in ("psnr", "lpips")})),
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
