"""A page of results: a Markdown template with marks, filled; and the same page as a single HTML file with its pictures.

`<!-- name -->` stands for a value. A paragraph is left out where a value in it is None, one that begins with
`<!-- with name -->` where that value is, and a heading where nothing is left under it. Data is plain text, and is
escaped where it enters the page, so that no codec's name or error can become mark-up.
"""

import base64
import html as escapes
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

__all__ = ["Table", "escape", "fill", "html", "picture"]

_MARK = re.compile(r"<!-- (with )?(\w+) -->")
_GENERATED = "<!-- Generated"
_KINDS = {".svg": "svg+xml", ".png": "png", ".webp": "webp"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .6rem; text-align: right; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; }
.text { text-align: left; }
img { max-width: 100%; }
"""


class Table(NamedTuple):
    """A table of plain text; the first `left` columns are words, the others are figures and stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def __str__(self) -> str:
        """The table in Markdown."""
        rule = ["---"] * self.left + ["---:"] * (len(self.head) - self.left)
        lines = [map(escape, self.head), rule, *(map(escape, row) for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def picture(address: str, caption: str) -> str:
    """A picture in Markdown: an SVG, PNG or WebP file by its address relative to the page."""
    return f"![{escape(caption)}]({address})"


def escape(text: str) -> str:
    """Escape the signs in `text` that Markdown would read as its own."""
    return re.sub(r"[\\`*_\[\]<>|#]", r"\\\g<0>", text)


def fill(template: str, values: Mapping[str, str | None]) -> str:
    """The page, in Markdown, of a template and the values of its marks, which are Markdown. Raises KeyError.

    >>> fill("For\\n<!-- who -->.\\n\\n## Times\\n\\n<!-- with times -->In seconds.", {"who": "all", "times": None})
    'For all.\\n'
    """
    blocks: list[str] = []
    for paragraph in reversed(template.strip().split("\n\n")):
        if any(values[name] is None for _, name in _MARK.findall(paragraph)):
            continue
        level = _level(paragraph)
        if level and (not blocks or 0 < _level(blocks[-1]) <= level):
            continue
        line = " ".join(paragraph.splitlines())
        blocks.append(_MARK.sub(lambda mark: "" if mark[1] else values[mark[2]] or "", line))
    return "\n\n".join(reversed(blocks)) + "\n"


def _level(block: str) -> int:
    return len(block) - len(block.lstrip("#"))


def html(page: str, pictures: Mapping[str, bytes]) -> str:
    """A page that `fill` made as one HTML file; `pictures` are their files by their addresses."""
    blocks = [block for block in page.strip().split("\n\n") if not block.startswith(_GENERATED)]
    title = next((_text(block.lstrip("# ")) for block in blocks if _level(block)), "")
    body = "\n".join(_element(block, pictures) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _element(block: str, pictures: Mapping[str, bytes]) -> str:
    if level := _level(block):
        return f"<h{level}>{_text(block[level + 1 :])}</h{level}>"
    if block.startswith("| "):
        head, rule, *rows = (line[2:-2].split(" | ") for line in block.splitlines())
        sides = ["" if cell.endswith(":") else ' class="text"' for cell in rule]
        lines = [_html_row("th", head, sides), *(_html_row("td", row, sides) for row in rows)]
        return "<table>\n" + "\n".join(lines) + "\n</table>"
    if image := re.fullmatch(r"!\[(.*)\]\((.*)\)", block):
        kind, data = _KINDS[PurePosixPath(image[2]).suffix], base64.b64encode(pictures[image[2]]).decode()
        return f'<p><img alt="{_text(image[1])}" src="data:image/{kind};base64,{data}"></p>'
    return f"<p>{_text(block)}</p>"


def _html_row(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    elements = (f"<{tag}{side}>{_text(cell)}</{tag}>" for side, cell in zip(sides, cells, strict=True))
    return f"<tr>{''.join(elements)}</tr>"


def _text(markdown: str) -> str:
    """Escaped Markdown as HTML."""
    return escapes.escape(re.sub(r"\\(.)", r"\1", markdown))
