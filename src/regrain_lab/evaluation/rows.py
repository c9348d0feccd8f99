"""A CSV that grows by a row at a time and is text throughout: what small experiments keep, to go on where they were."""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

from regrain.errors import UsageError

__all__ = ["append", "arguments", "read"]


def arguments(about: str, rows: Path) -> argparse.Namespace:
    """What such an experiment takes on the command line; `rows` is the file that it adds to by default."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=rows)
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def append(path: Path, row: Mapping[str, object]) -> None:
    """Add a row, after a head of its names where the file is new. Raises UsageError where the file has other names.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append(path := Path(folder) / "rows.csv", {"image": "a.png", "bpp": 0.5})
    ...     read(path)
    [{'image': 'a.png', 'bpp': '0.5'}]
    """
    head = None
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            head = next(csv.reader(file), None)
    if head not in (None, [*row]):
        raise UsageError(f"{path}: its columns are {', '.join(head or ())}; {', '.join(row)} are allowed")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([[*row]] * (head is None) + [[*row.values()]])


def read(path: Path) -> list[dict[str, str]]:
    """All rows; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
