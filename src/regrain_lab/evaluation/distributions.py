"""The table of what a whole folder has and no single picture: FID and KID, for each codec, setting and way to decode.

Invariants: a row is over all patches (see `realism`) of all pictures, or has an error instead; the file is replaced as
a whole, so that at every moment it holds all rows up to one.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation.curves import labels
from regrain_lab.evaluation.page import Block, Heading, Table, Text
from regrain_lab.evaluation.rows import Series

__all__ = ["Distribution", "blocks", "read", "write"]

_ABOUT = (
    "Between the {} of the originals and the same patches of what was decoded: KID on VGG16's features and the "
    "distance of AlexNet's Gram matrices, unbiased, with standard errors of a bootstrap over pictures; lower is better."
)


class Distribution(NamedTuple):
    """One codec at one setting, decoded in one way: the columns of the table. `bpp` is the mean over pictures."""

    codec: str
    version: str
    options: str
    setting: str
    seed: int | None
    steps: int | None
    realism: float | None
    fingerprint: str
    patches: int
    side: int
    bpp: float | None = None
    kid: float | None = None
    kid_error: float | None = None
    gram: float | None = None
    gram_error: float | None = None
    error: str = ""

    @property
    def series(self) -> Series:
        """The curve that it lies on."""
        return Series(*(getattr(self, name) for name in Series._fields))

    @property
    def key(self) -> tuple[str, ...]:
        """What it shares with no other row: all up to the side of a patch, as in the file."""
        return tuple(map(_text, self[:10]))


_KINDS = dict.fromkeys(("seed", "steps", "patches", "side"), int) | dict.fromkeys(
    ("realism", "bpp", "kid", "kid_error", "gram", "gram_error"), float
)


def read(path: Path) -> list[Distribution]:
    """The rows of the table; none where there is no file. Raises UsageError where it is no such table, OutputError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except (TypeError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} is no table of distributions: {error}; delete it, or name another folder") from None


def _row(cells: dict[str, str]) -> Distribution:
    values: dict[str, Any] = {
        name: _KINDS[name](text) if text else None for name, text in cells.items() if name in _KINDS
    }
    return Distribution(**(cells | values))


def write(path: Path, rows: Iterable[Distribution]) -> None:
    """Put the table at `path`, whole, in place of what is there. Raises OutputError."""
    from regrain.image import write_bytes

    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(Distribution._fields)
    table.writerows(map(_text, row) for row in rows)
    write_bytes(out.getvalue().encode(), path)


def _text(cell: object) -> str:
    return "" if cell is None else f"{cell:.7g}" if isinstance(cell, float) else str(cell)


def blocks(rows: Sequence[Distribution]) -> list[Block]:
    """What a report says of them; nothing where there are none."""
    if not rows:
        return []
    names = labels(row.series for row in rows)
    cells = [
        [
            names[row.series],
            row.setting,
            _cell(row.bpp, 3),
            str(row.patches),
            _measured(row.kid, row.kid_error),
            _measured(row.gram, row.gram_error),
        ]
        for row in rows
    ]
    over = _ABOUT.format(" or ".join(sorted({f"{row.patches:,} patches of {row.side} x {row.side}" for row in rows})))
    head = ["codec", "setting", "bpp", "patches", "1000 KID", "1000 Gram"]
    return [Heading("Distributions"), Text(over), Table(head, cells)]


def _measured(value: float | None, error: float | None) -> str:
    """A thousand times a distance, and its error."""
    return "" if value is None else f"{1000 * value:.3f}" + ("" if error is None else f" ± {1000 * error:.3f}")


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
