"""The pictures of the forward process: noise comes, with scaling and without, in steps and in one jump."""

import numpy as np

from regrain.diffusion.schedule import NAMES, STEPS, get
from regrain.progressive.reverse_process import Image
from regrain_lab.evaluation.charts import Panel
from regrain_lab.evaluation.contact_sheet import Column
from regrain_lab.explanation import forward
from regrain_lab.explanation.drawing import chart, curve, sheet
from regrain_lab.explanation.page import Page

__all__ = ["add_forward"]

SHOWN = (0, 50, 250, 500, 1000)
"""Steps that are shown."""
_WIDE = 12.0
"""Of the histograms without scaling."""


def add_forward(page: Page) -> None:
    """Add what the forward process does to the photo, and the schedules."""
    _noise(page)
    _chain(page)
    _schedules(page)


def _noise(page: Page) -> None:
    x_0, strips, panels = page.subject.x_0, {}, []
    for name in ("linear", "cosine"):
        schedule, columns, lines = get(name), [], []
        for n in SHOWN:
            x, (alpha, sigma) = forward.jump(x_0, schedule, n, page.seed), schedule.at(n / STEPS)
            caption = [f"alpha {alpha:.3f}", f"sigma {sigma:.3f}", f"log-SNR {schedule.log_snr_at(n / STEPS):.1f}"]
            columns.append(Column(f"n = {n}", page.subject.to_pixels(x), caption))
            lines.append(curve(f"n = {n}", forward.histogram(x)))
        centres = [centre for centre, _ in lines[0].points]
        bell = [(v, float(np.exp(-v * v / 2) / np.sqrt(2 * np.pi))) for v in centres]
        strips[f"{name} schedule"] = columns
        panels.append(Panel(f"{name} schedule", "value", "density", [*lines, curve("N(0, 1)", bell, formula=True)]))
        page.values[f"{name}_alpha"] = f"{schedule.at(0.25)[0]:.3f}"
    page.add("forward", sheet(strips))
    page.add("histograms", chart(panels))
    last = forward.jump(x_0, get("linear"), STEPS, page.seed)
    page.values |= _moments("", x_0) | _moments("last_", last)


def _moments(prefix: str, x: Image) -> dict[str, str]:
    return {f"{prefix}mean": f"{x.mean(dtype=float):.3f}", f"{prefix}deviation": f"{x.std(dtype=float):.3f}"}


def _chain(page: Page) -> None:
    x_0, schedule = page.subject.x_0, get("linear")
    states = list(forward.chain(x_0, schedule, page.seed))
    scaled = [(one.n, float(one.x.var(dtype=float))) for one in states]
    unscaled = [(one.n, float(one.unscaled.var(dtype=float))) for one in states]
    formula = [(one.n, one.unscaled_variance) for one in states]
    lines = [curve("with scaling", scaled), curve("without", unscaled), curve("by formula", formula, formula=True)]
    few = [one for one in states if one.n in SHOWN]
    wide = [curve(f"n = {one.n}", forward.histogram(one.unscaled, _WIDE), kind="other") for one in few]
    axes = "value", "density"
    page.add(
        "variance",
        chart([Panel("Variance", "step n", "variance of x_n", lines), Panel("Without scaling", *axes, wide)]),
    )
    columns = [Column(f"n = {one.n}", page.subject.to_pixels(one.unscaled), ["without scaling"]) for one in few]
    page.add("unscaled", sheet({"": columns}))
    page.values |= {
        "first_variance": f"{scaled[0][1]:.3f}",
        "scaled_variance": f"{scaled[-1][1]:.3f}",
        "unscaled_variance": f"{unscaled[-1][1]:.2f}",
        "formula_variance": f"{formula[-1][1]:.2f}",
        "clipped": f"{100 * float((np.abs(states[-1].unscaled) > 1).mean()):.0f}",
    }
    _jump(page, states)


def _jump(page: Page, states: list[forward.State]) -> None:
    x_0, schedule = page.subject.x_0, get("linear")
    ways: dict[str, list[tuple[float, float, float]]] = {"chain": [], "jump": []}
    for one in states[1:]:
        jump = forward.jump(x_0, schedule, one.n, page.seed)
        ways["chain"].append((one.n, *one.measure(one.x, x_0)))
        ways["jump"].append((one.n, *one.measure(jump, x_0)))
    panels = []
    titles = ("Weight of the picture", "alpha"), ("Deviation of the noise", "sigma")
    for column, (title, symbol) in enumerate(titles, 1):
        exact = [(one.n, getattr(one, symbol)) for one in states]
        lines = [curve(f"{way}", [(row[0], row[column]) for row in rows]) for way, rows in ways.items()]
        panels.append(Panel(title, "step n", symbol, [*lines, curve("formula", exact, formula=True)]))
        for way, prefix in (("chain", ""), ("jump", "jump_")):
            gap = max(abs(row[column] - value) for row, (_, value) in zip(ways[way], exact[1:], strict=True))
            page.values[f"{prefix}{('weight', 'deviation')[column - 1]}_gap"] = f"{gap:.4f}"
    page.add("jump", chart(panels))
    page.values["states"] = str(len(states) - 1)


def _schedules(page: Page) -> None:
    times = [k / 100 for k in range(101)]
    lines = [curve(name, [(t, get(name).log_snr_at(t)) for t in times]) for name in NAMES]
    page.add("schedules", chart([Panel("Log-SNR of the schedules", "t, 1 is noise", "log-SNR", lines)]))
    page.values |= {f"{name}_middle": f"{get(name).time_of(0.0):.3f}" for name in ("linear", "cosine")}
