"""One photo explained: a dozen PNG files, and a page that holds them all with two sentences each.

The words are those of `explanation.md`, whose marks are filled here with figures of this photo.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from regrain_lab.evaluation.page import escape, fill, html
from regrain_lab.explanation.forward_pictures import add_forward
from regrain_lab.explanation.page import PICTURES, Page
from regrain_lab.explanation.reverse_pictures import add_reverse
from regrain_lab.explanation.spending_pictures import add_spending
from regrain_lab.explanation.subject import Subject

__all__ = ["FILES", "HTML", "explain"]

HTML = "explanation.html"
FILES = (*(f"{name}.png" for name in PICTURES), HTML)
"""Names of all files."""


def explain(
    subject: Subject,
    *,
    steps: int = 40,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
    **rate: Any,  # noqa: ANN401 - whatever `regrain.encode` takes
) -> dict[str, bytes]:
    """The files by their names: PNG pictures, and the page that holds them.

    `steps` are those of the bound, `seed` names all noise, `rate` is that of `regrain.encode`, and `progress` is told
    what goes on. Raises what `regrain.encode` raises.
    """
    page = Page(subject, steps, seed, progress)
    progress("encoding the photo")
    add_spending(page, **rate)
    progress("adding noise")
    add_forward(page)
    add_reverse(page)
    size = subject.copy.shape
    page.values |= {
        "name": escape(subject.name),
        "width": str(subject.photo.width),
        "height": str(subject.photo.height),
        "copy_width": str(size[1]),
        "copy_height": str(size[0]),
    }
    text = fill(Path(__file__).with_name("explanation.md").read_text(encoding="utf-8"), page.values)
    return page.files | {HTML: html(text, page.files).encode()}
