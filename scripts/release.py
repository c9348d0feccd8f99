"""All that names the version of a release names the same one.

    python scripts/release.py            # the names agree
    python scripts/release.py v0.1.0     # they are those of the tag, and the release has a date

It needs no installed package, so that a release is refused before anything is built.
"""

import re
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = {
    "src/regrain/__init__.py": r'__version__ = "(.+?)"',
    "CHANGELOG.md": r"## \[(.+?)\]",
    "CITATION.cff": r"version: (.+)",
    "share/man/man1/regrain.1": r'\.TH REGRAIN 1 "" "regrain (.+?)"',
}
DATES = {"CHANGELOG.md": r"## \[.+?\] - (.+)", "CITATION.cff": r"date-released: (.+)"}


def first(pattern: str, name: str) -> str:
    """What the first line of a file that begins with a pattern has in its group; "" where there is none."""
    match = re.search(rf"^{pattern}", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    return match[1].strip() if match else ""


def faults(tag: str | None = None) -> list[str]:
    """What does not agree, a line each; a `tag` is v and the version, and asks for dates, too."""
    versions = {name: first(pattern, name) for name, pattern in PLACES.items()}
    wanted = versions["src/regrain/__init__.py"] if tag is None else tag.removeprefix("v")
    wrong = [f"{name} has version {found!r}, not {wanted}" for name, found in versions.items() if found != wanted]
    if tag is None:
        return wrong
    dates = {name: first(pattern, name).strip("\"'") for name, pattern in DATES.items()}
    wrong += [f"{name} has {found!r} for the date" for name, found in dates.items() if not _is_date(found)]
    return wrong + (["the dates differ"] if len(set(dates.values())) > 1 else [])


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit("\n".join(faults(*sys.argv[1:2])) or 0)
