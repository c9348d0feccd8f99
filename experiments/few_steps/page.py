"""results/0.1/FEW_STEPS.md from the tables in this folder alone.

python experiments/few_steps/page.py
"""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from regrain_lab.evaluation.page import Table, fill

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results" / "0.1"
FIGURES = {"psnr": ".2f", "lpips": ".4f", "gram": ".1f", "kid": ".1f", "spread": ".2f"}
"""Of a way to sample, in the order of a cell."""
NAMES = ("none", "x0", "v", "eps")
PREDICTED = {"psnr": ".2f", "lpips": ".3f", "gram": ".0f", "kid": ".0f"}
"""Predictions, and their figures."""
Rows = list[dict[str, str]]


def main() -> None:
    """Write the page."""
    (RESULTS / "FEW_STEPS.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    values = _taught(_rows("students")) | _guided(_rows("guidance")) | _predicted(_rows("predictions"))
    return fill((FOLDER / "page.md").read_text(encoding="utf-8"), values)


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


def _guided(rows: Rows) -> dict[str, str]:
    """Guidance on the sampler that ships: a line a network and weight, a column a number of passes."""
    guide, *rows = rows
    counts = sorted({int(row["passes"]) for row in rows})
    lines: dict[str, dict[int, dict[str, str]]] = {}
    for row in rows:
        halved = row["weights"].startswith("halved")
        name = "halved" if halved else row["weights"]
        weight = "" if name in ("shipped", "hidden") else f", w = {float(row['w']):g}"
        lines.setdefault(name + weight, {})[int(row["passes"])] = row
    values = {"guide_" + name: f"{float(guide[name]):{form}}" for name, form in FIGURES.items()}
    for figure, form in FIGURES.items():
        cells = [
            [name, *(f"{float(own[n][figure]):{form}}" if n in own else "" for n in counts)]
            for name, own in lines.items()
        ]
        values[f"guidance_{figure}"] = str(Table(["passes", *map(str, counts)], cells))
    updates = {row["weights"]: row["updates"] for row in rows}
    return values | {
        "updates_hidden": updates["hidden"],
        "updates_guided": updates["guided"],
        "updates_halved": ", ".join(count for name, count in updates.items() if name.startswith("halved")),
        "guidance_crops": guide["pictures"],
    }


def _predicted(predictions: Rows) -> dict[str, str]:
    """What the network predicts, as tables and in the figures that the words around them name."""
    none, *rows = sorted(predictions, key=lambda row: NAMES.index(row["prediction"]))
    rows = [row | {"weights": f"{row['prediction']}, {row['sampler']}"} for row in rows]
    losses = {row["prediction"]: float(row["loss"]) for row in rows}
    values = {f"predictions_{name}": str(_table(rows, {name: form})) for name, form in PREDICTED.items()}

    def best(prediction: str, figure: str, choose: Callable[..., dict[str, str]]) -> str:
        """A prediction's best row by a figure, in words."""
        own = [row for row in rows if row["prediction"] == prediction]
        row = choose(own, key=lambda row: float(row[figure]))
        steps = "one step" if row["steps"] == "1" else f"{row['steps']} steps"
        return f"{float(row[figure]):{PREDICTED[figure]}} in {steps} ({row['sampler']})"

    for name in losses:
        values[f"{name}_psnr"], values[f"{name}_lpips"] = best(name, "psnr", max), best(name, "lpips", min)
        values[f"{name}_gram"] = best(name, "gram", min)
        values[f"{name}_one"] = f"{_mean(rows, f'{name}, ddim', 1, 'psnr'):.2f}"
    return values | {
        "parameters": f"{int(rows[0]['parameters']) / 1e6:.2f}",
        "updates": f"{int(rows[0]['updates']):,}",
        "batch": rows[0]["batch"],
        "crop": rows[0]["crop"],
        "held_out": rows[0]["pictures"],
        "upsampled": f"{float(none['psnr']):.2f} dB and LPIPS {float(none['lpips']):.4f}",
        "losses": ", ".join(f"{loss:.4f} ({name})" for name, loss in losses.items()),
    }


if __name__ == "__main__":
    main()
