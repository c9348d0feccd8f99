"""Follows every link of Markdown files and of a built site, offline; prints those that lead nowhere.

    python scripts/links.py                 the Markdown files of the tree
    python scripts/links.py site/docs       a folder of HTML: links, anchors, and that nothing is fetched from elsewhere

Links to other hosts are not followed. An anchor of Markdown is what GitHub makes of a heading.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"(?ms)^(```|~~~).*?^\1|`[^`\n]*`")
LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"(?m)^#{1,6} +(.*?) *#*$")
FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""What a browser fetches by itself; links of style sheets and icons too."""
FETCHING = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


def markdown() -> list[Path]:
    """The Markdown files of the tree: those of people, and pages that are generated and kept."""
    folders = ("docs", "results", "experiments", "scripts", "benchmarks", "recipes", "demo", "web", ".github")
    nested = (path for folder in folders for path in (ROOT / folder).rglob("*.md") if "node_modules" not in path.parts)
    return sorted([*ROOT.glob("*.md"), *nested])


def broken_in_markdown(path: Path) -> Iterator[str]:
    """Links of a Markdown file that lead nowhere; a template's (page.md) are those of the page that is made of it."""
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or (path.name == "page.md" and path.parent.parent.name == "experiments"):
            continue
        target = path.parent / unquote(parts.path) if parts.path else path
        if not target.exists():
            yield f"{link}: there is no such file"
        elif parts.fragment and parts.fragment not in _slugs(target):
            yield f"{link}: there is no such heading"


@cache
def _slugs(path: Path) -> set[str]:
    """The anchors of a Markdown file: of headings that are alike the second has -1 at its end."""
    slugs: set[str] = set()
    for heading in HEADING.findall(re.sub(r"(?ms)^(```|~~~).*?^\1", "", path.read_text(encoding="utf-8"))):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        numbered = (f"{plain}-{number}" for number in range(1, 1000))
        slugs.add(plain if plain not in slugs else next(slug for slug in numbered if slug not in slugs))
    return slugs


class _Page(HTMLParser):
    """The anchors of a page, its links, and what a browser fetches for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "top"}
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.fetched.append(values[FETCHED[tag]])
        self.fetched += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]
        if tag == "link" and FETCHING & set(values.get("rel", "").split()):
            self.fetched.append(values.get("href", ""))
        elif values.get("href"):
            self.links.append(values["href"])
        self.fetched += [one or other for one, other in URL.findall(values.get("style", ""))]


def broken_in_site(folder: Path) -> Iterator[str]:
    """Links of a folder of HTML and CSS that lead nowhere, as `page: link: why`."""
    pages = {path: _Page(path) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links + page.fetched:
            if why := _fault(link, path, folder, pages, fetched=link in page.fetched):
                yield f"{path.relative_to(folder)}: {link}: {why}"
    for path in sorted(folder.rglob("*.css")):
        for one, other in URL.findall(path.read_text(encoding="utf-8")):
            if why := _fault(one or other, path, folder, pages, fetched=True):
                yield f"{path.relative_to(folder)}: {one or other}: {why}"


def _fault(link: str, page: Path, folder: Path, pages: dict[Path, _Page], *, fetched: bool) -> str:
    """What is wrong with a link of a page, "" where nothing is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        elsewhere = fetched and parts.scheme not in ("data", "blob")
        return "it is fetched from elsewhere" if elsewhere else ""
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if parts.path.startswith("/"):
        return "" if page.name == "404.html" else "it begins at the root, wherever the site may lie"
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        beyond = not target.is_relative_to(folder)
        return "" if beyond else "there is no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "there is no such anchor"
    return ""


def main(arguments: list[str]) -> int:
    """Print what is broken; 1 where something is."""
    if arguments:
        faults = [fault for name in arguments for fault in broken_in_site(Path(name).resolve())]
    else:
        faults = [f"{path.relative_to(ROOT)}: {fault}" for path in markdown() for fault in broken_in_markdown(path)]
    print("\n".join(faults) or "every link leads somewhere")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
