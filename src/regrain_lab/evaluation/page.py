"""A page of blocks, written twice: as Markdown beside its pictures, and as a single HTML file that holds them.

Invariant: both say the same; text is plain and is escaped where it is written, so that no codec's name or error can
become mark-up.
"""

import base64
import html as escapes
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

__all__ = ["Block", "Heading", "Picture", "Table", "Text", "html", "markdown"]


class Heading(NamedTuple):
    """A heading; level 1 is the page's own."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Table(NamedTuple):
    """A table; the first `left` columns are text, the others are figures and stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


class Picture(NamedTuple):
    """A picture by its address relative to the page, an SVG, PNG or WebP file, with a caption."""

    address: str
    caption: str


Block: TypeAlias = Heading | Text | Table | Picture

_KINDS = {".svg": "svg+xml", ".png": "png", ".webp": "webp"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .6rem; text-align: right; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; }
.text { text-align: left; }
img { max-width: 100%; }
"""


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown."""
    return "\n\n".join(map(_as_markdown, blocks)) + "\n"


def html(blocks: Sequence[Block], pictures: Mapping[str, bytes]) -> str:
    """The page as one HTML file; `pictures` are their files by their addresses."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(_as_html(block, pictures) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escapes.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _as_markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escape(text)}"
        case Text(text):
            return _escape(text)
        case Picture(address, caption):
            return f"![{_escape(caption)}]({address})"
        case Table(head, rows, left):
            rule = ["---"] * left + ["---:"] * (len(head) - left)
            lines = [map(_escape, head), rule, *(map(_escape, row) for row in rows)]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Escape the signs in `text` that Markdown would read as its own."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in text)


def _as_html(block: Block, pictures: Mapping[str, bytes]) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escapes.escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escapes.escape(text)}</p>"
        case Picture(address, caption):
            kind, data = _KINDS[PurePosixPath(address).suffix], base64.b64encode(pictures[address]).decode()
            return f'<p><img alt="{escapes.escape(caption)}" src="data:image/{kind};base64,{data}"></p>'
        case Table(head, rows, left):
            lines = [_html_row("th", head, left), *(_html_row("td", row, left) for row in rows)]
            return "<table>\n" + "\n".join(lines) + "\n</table>"


def _html_row(tag: str, cells: Sequence[str], left: int) -> str:
    sides = [' class="text"'] * left + [""] * (len(cells) - left)
    return (
        "<tr>" + "".join(f"<{tag}{s}>{escapes.escape(c)}</{tag}>" for s, c in zip(sides, cells, strict=True)) + "</tr>"
    )
