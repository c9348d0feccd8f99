"""docs/FEW_STEPS.md from the tables in this folder alone.

python experiments/few_steps/page.py
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from textwrap import fill

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
TEACHER, STUDENT = "teacher", "shipped"
WIDTH = 118
TEXT = """# Few steps

What `--steps` buys, and what distillation adds to that. Made by `experiments/few_steps/run.sh` from the rows beside
it: Kodak, 24 photos, `-q 28`, realism 1, seed 0; PSNR in dB / LPIPS-AlexNet, means. Files are the same for all: a
student is another denoiser behind the same latents.

The teacher is what `recipes/gpu.toml` left: a decoder that was trained at t = 1 with the perceptual loss itself, and
with a tenth of the pictures over all t. It is a one-pass decoder that may take more steps, not one that needs them. The
student, which ships, is that decoder after `recipes/gpu-distill.toml`: direct, half of the pictures standing where 1 to
15 steps of its own have led them.

**Neither of the two reads x_t, at any t.** Handed the true picture with a little noise, which by itself has 30 dB, they
return what they return of noise alone; two seeds agree to a fifth of a level, and 16 steps equal one to 55 dB. All that
the tables of the first two sections compare is therefore ways to go on training a decoder of one step: they say nothing
of distillation. `tests/test_fences.py` holds this fault until a decoder without it ships.
"""
COMPARED = """## Five ways to train on

Another teacher, the weights of the latents before (b52d4b2a), trained on for the same time of one core, about 450
processor seconds: 600 steps of 8 crops of 192 pixels as before ("none"), 435 progressive, 485 consistency and 620
direct ones (`regrain distill recipes/distill-NAME.toml`).
"""
GUIDED = """## Guidance

`regrain distill recipes/distill-guided.toml`, then `python experiments/few_steps/guidance.py LPIPS OUT.csv`: the
decoder that ships, trained on for 500 steps with a tenth of the pictures without latents, then 300 to say (1 + w) times
what it makes of the latents less w times what it makes of none, w told, then from 8 steps to 1 in three halvings of 150
(Meng et al. 2023, both stages). Held-out crops, not Kodak.
"""
BLIND = """Guidance does not pay here. More of it costs PSNR at once; LPIPS is least at w = 0.25, and is there and at
w = 0 far from that of the decoder it came from, which one network for all w and all steps has to pay for in 1,250 steps
of 8 crops. What it says without latents is grey, at t = 1, where a one-pass decoder lives, and still at 0.7 (a standard
deviation of 0.01 of [-1, 1]), and to go away from grey is to stretch the contrast.
"""
PREDICTED = """## What the network predicts

`python experiments/few_steps/predictions.py LPIPS OUT.csv`: small
denoisers behind the latents b52d4b2a, trained from one seed on the same crops, times and noise, on the min-SNR
weighted squared error alone, without LPIPS and without the weight that the codec's training gives to t = 1. Sampled are
held-out crops, not Kodak: `-q 28`, realism 1, DDIM from the same noise, each estimate of x_0 clamped to [-1, 1]; not
clamped, the last one alone. In the codec an x_0-prediction is the sketch, what the latents say without a network, and
what the network adds to it; "x0 alone", v and eps have the sketch as an input only.
"""


def main() -> None:
    """Write the page."""
    (DOCS / "FEW_STEPS.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    steps, methods = _rows("steps"), _rows("methods")
    first = [TEXT, *([*_table(steps), "", _verdict(steps), ""] if steps else [])]
    compared = [COMPARED, *_table(methods), "", _best(methods), ""]
    guided = [GUIDED, *_table(_rows("guidance")), "", BLIND]
    return "\n".join([*first, *compared, *guided, *_predicted(_rows("predictions"))])


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
    teacher, student = ({n: _mean(rows, name, n, "lpips") for n in _counts(rows)} for name in (TEACHER, STUDENT))
    best = min(teacher, key=teacher.__getitem__)
    over = {n: f"{100 * (student[n] / teacher[best] - 1):+.1f} %" for n in (1, 4)}
    own = {n: f"{100 * (student[n] / min(student.values()) - 1):+.1f} %" for n in (1, 4)}
    said = (
        f"The teacher's LPIPS is best in {best} steps. Beside that the student has {over[1]} in one step (bar: +5 %) "
        f"and {over[4]} in four (bar: +2 %); beside its own best, {own[1]} and {own[4]}."
    )
    return fill(said, WIDTH)


def _best(rows: list[dict[str, str]]) -> str:
    wins = [f"{n} by {min(_names(rows), key=lambda name: _mean(rows, name, n, 'lpips'))}" for n in _counts(rows)]
    return f"The least LPIPS in as many steps: {', '.join(wins)}."


def _predicted(rows: list[dict[str, str]]) -> list[str]:
    """The section of the predictions; none where they have not been measured."""
    if not rows:
        return []
    sketch, *sampled = (row | {"weights": row["prediction"]} for row in rows)
    last = sampled[-1]
    trained = (
        f"{int(last['parameters']) / 1e6:.2f} million parameters each, {int(last['updates']):,} steps of "
        f"{last['batch']} crops of {last['crop']} pixels; {last['pictures']} crops held out, on which the sketch by "
        f"itself has {float(sketch['psnr']):.2f} / {float(sketch['lpips']):.4f}."
    )
    return [PREDICTED, fill(trained, WIDTH), "", *_table(sampled), "", *_shown(sampled)]


def _shown(rows: list[dict[str, str]]) -> list[str]:
    """What the table of the predictions shows, in three paragraphs."""
    last, psnr = _counts(rows)[-1], {(row["weights"], int(row["steps"])): float(row["psnr"]) for row in rows}
    losses = {row["weights"].removesuffix(", not clamped"): float(row["loss"]) for row in rows}
    top = max(value for (name, _), value in psnr.items() if name == "eps, not clamped")
    one, two = (f"{psnr['x0 alone', steps]:.2f} and {psnr['v', steps]:.2f}" for steps in (1, 2))
    least = min(_counts(rows), key=lambda steps: _mean(rows, "x0", steps, "lpips"))
    said = (
        f"The loss on those crops is {', '.join(f'{loss:.4f} ({name})' for name, loss in losses.items())}: alike, "
        "and the same number for a given estimate of x_0 whatever is predicted. In sampling they differ, and "
        "at the noisy end, which the loss hardly counts.",
        f"x_0 has {psnr['x0', 1]:.2f} dB in one step, its least LPIPS in {least}; eps has {psnr['eps', 1]:.2f} dB in "
        f"one and {psnr['eps', last]:.2f} in {last}. That x_0 is good in few steps and eps needs many is what Yang & "
        "Mandt say (2023, sec. 3); here many do not mend it. At t = 1 alpha is 4.5e-5, and x_0 = (x_t - sigma eps) / "
        "alpha the network's error times 22,000, which says nothing of the picture. Clamped, it is noise that "
        f"the steps after it carry along; not clamped, no number of steps has more than {top:.2f} dB. This is where "
        "this cosine schedule starts, and no property of eps: under DDPM's linear betas, whose alpha at t = 1 is "
        "6.4e-3, a like network with ancestral sampling has 23.7 dB (a trial whose script was not kept).",
        f"One step also shows that min-SNR gives t = 1 no weight: x0 alone and v have {one} dB there, {two} in two. "
        "x_0 has the sketch to stand on, and the codec's training weighs t = 1 by itself.",
    )
    return [line for paragraph in said for line in (fill(paragraph, WIDTH), "")]


if __name__ == "__main__":
    main()
