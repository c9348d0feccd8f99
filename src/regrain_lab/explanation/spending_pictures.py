"""The pictures of the photo's file: which coding step takes how many bytes, and which place how many bits."""

from typing import Any

import numpy as np

from regrain import image
from regrain_lab.evaluation.charts import Line, Panel
from regrain_lab.evaluation.page import Table
from regrain_lab.explanation.drawing import chart
from regrain_lab.explanation.page import Page
from regrain_lab.explanation.spending import Spending, spend

__all__ = ["add_spending"]

_COARSE = 16
"""Channels, at least, that count as coarse."""
_WIDTH = 768
"""Pixels of the map's longer side, at most, where a square of 16 has one pixel or more."""


def add_spending(page: Page, **rate: Any) -> None:  # noqa: ANN401 - whatever `regrain.encode` takes
    """Encode the photo, and add where its bytes go."""
    spending = spend(page.subject.photo, **rate)
    points = {
        "bytes": [(float(n), one.bits / 8) for n, one in enumerate(spending.groups)],
        "bits a symbol": [(float(n), one.bits / max(1, one.symbols)) for n, one in enumerate(spending.groups)],
    }
    panels = [
        Panel(f"{name.capitalize()} by coding step", "coding step, 0 is z", name, [Line("latents", own, "ours")])
        for name, own in points.items()
    ]
    page.add("groups", chart(panels))
    _add_places(page, spending)
    info, steps = spending.info, spending.groups[1:]
    coarse = next(n for n, one in enumerate(steps) if one.last >= min(_COARSE, steps[-1].last))
    total, symbols = sum(one.bits for one in steps), sum(one.symbols for one in spending.groups)
    sections = [[section["name"], f"{section['length']:,}"] for section in info.sections if section["tile"] is None]
    latents = sum(section["length"] for section in info.sections if section["tile"] is not None)
    page.values |= {
        "quality": f"{info.quality:g}",
        "bytes": f"{info.size:,}",
        "bpp": f"{info.bpp:.3f}",
        "coarse_channels": str(steps[coarse].last),
        "channels": str(steps[-1].last),
        "coarse_share": _percent(sum(one.bits for one in steps[: coarse + 1]), total),
        "zeros": _percent(sum(one.symbols - one.nonzero for one in spending.groups), symbols),
        "sections": str(Table(["section", "bytes"], [*sections, ["latents", f"{latents:,}"]])),
        "steps_table": str(
            Table(
                ["latents", "symbols", "not 0", "bits a symbol", "bytes"],
                [
                    [one.name, f"{one.symbols:,}", f"{one.nonzero:,}", f"{one.bits / max(1, one.symbols):.3f}",
                     f"{one.bits / 8:,.0f}"]
                    for one in spending.groups
                ],
            )
        ),
    }  # fmt: skip


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(1e-9, whole):.0f}"


def _add_places(page: Page, spending: Spending) -> None:
    places = spending.places
    zoom = max(1, min(16, _WIDTH // max(places.shape)))
    page.add("places", image.to_file(image.draw_map(places.repeat(zoom, 0).repeat(zoom, 1), "bits"), "PNG", "map"))
    ordered = np.sort(places, None)
    page.values |= {
        "least": f"{ordered[0]:.0f} bits",
        "median": f"{np.median(ordered):.0f}",
        "most": f"{ordered[-1]:.0f}",
        "tenth": _percent(float(ordered[-max(1, len(ordered) // 10) :].sum()), float(ordered.sum())),
    }
