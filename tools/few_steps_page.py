"""docs/FEW_STEPS.md from docs/few-steps/*.csv alone.

python tools/few_steps_page.py
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

DOCS = Path(__file__).resolve().parents[1] / "docs"
FOLDER = DOCS / "few-steps"
TEACHER = "shipped"
TEXT = """# Few steps

What `--steps` buys, and what distillation adds to that. Made by `make few-steps` from the rows in `docs/few-steps/`:
Kodak, 24 photos, `-q 28`, realism 1, seed 0; PSNR in dB / LPIPS-AlexNet, means. Files are the same for all: a student
is another denoiser behind the same latents.

The decoder that ships was trained at t = 1 with the perceptual loss itself (the stages "texture" and "denoiser, once
more" of `recipes/default.toml`), and over all t: it is a one-pass decoder that may take more steps, not one that needs
them.
"""
COMPARED = """## Five ways to train on

The same teacher, the weights that ship, trained on for the same time of one core, about 450 processor seconds: 600
steps of 8 crops of 192 pixels as before ("none"), 435 progressive, 485 consistency and 620 direct ones
(`regrain distill recipes/distill-NAME.toml`).
"""


def main() -> None:
    """Write the page."""
    (DOCS / "FEW_STEPS.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    steps, methods = _rows("steps"), _rows("methods")
    first = [TEXT, *([*_table(steps), "", _verdict(steps), ""] if steps else [])]
    return "\n".join([*first, COMPARED, *_table(methods), "", _best(methods), ""])


def _rows(name: str) -> list[dict[str, str]]:
    """The rows of a table; none where it has not been measured."""
    if not (FOLDER / f"{name}.csv").exists():
        return []
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _names(rows: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(row["weights"] for row in rows))


def _counts(rows: list[dict[str, str]]) -> list[int]:
    return sorted({int(row["steps"]) for row in rows})


def _mean(rows: list[dict[str, str]], weights: str, steps: int, metric: str) -> float:
    return fmean(float(row[metric]) for row in rows if row["weights"] == weights and int(row["steps"]) == steps)


def _table(rows: list[dict[str, str]]) -> list[str]:
    counts = _counts(rows)
    cells: list[Iterable[str]] = [["steps", *map(str, counts)], ["---"] * (len(counts) + 1)]
    for name in _names(rows):
        pairs = [(_mean(rows, name, n, "psnr"), _mean(rows, name, n, "lpips")) for n in counts]
        cells.append([name, *(f"{psnr:.2f} / {lpips:.4f}" for psnr, lpips in pairs)])
    return [f"| {' | '.join(row)} |" for row in cells]


def _verdict(rows: list[dict[str, str]]) -> str:
    found = {n: _mean(rows, TEACHER, n, "lpips") for n in _counts(rows)}
    best = min(found, key=found.__getitem__)
    over = {n: 100 * (found[n] / found[best] - 1) for n in (1, 4)}
    bars = f"one step is {over[1]:.1f} % above that (bar: 5 %), four are {over[4]:.1f} % (bar: 2 %)"
    return f"LPIPS of the weights that ship is best in {best} steps; {bars}."


def _best(rows: list[dict[str, str]]) -> str:
    wins = [f"{n} by {min(_names(rows), key=lambda name: _mean(rows, name, n, 'lpips'))}" for n in _counts(rows)]
    return f"The least LPIPS in as many steps: {', '.join(wins)}."


if __name__ == "__main__":
    main()
