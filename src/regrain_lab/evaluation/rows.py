"""A CSV that grows by a row at a time and is text throughout: what small experiments keep, to go on where they were."""

import csv
from collections.abc import Mapping
from pathlib import Path

from regrain.errors import UsageError

__all__ = ["append", "read"]


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
