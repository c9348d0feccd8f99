"""The table of an evaluation: one row a picture, codec, setting and way of decoding it; on disk a CSV file that grows.

Invariants: a row is on the disk before the next is measured; a file cut off anywhere loses its last line alone; of rows
with the same key the last one counts. A metric's cell is empty where it was not measured, and `nan` where the metric
has no value for such a picture (one too small for its windows).
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from regrain.errors import OutputError, UsageError

__all__ = ["Key", "Row", "Series", "Writer", "metrics_of", "read"]


class Series(NamedTuple):
    """What is the same along one curve: the codec, and how it decodes; None or empty where it has no such thing.

    `options` are the settings that do not vary; `fingerprint` is of the weights, and marks a learned codec.
    """

    codec: str
    version: str
    options: str
    seed: int | None
    steps: int | None
    realism: float | None
    fingerprint: str


class Key(NamedTuple):
    """What tells rows apart."""

    image: str
    series: Series
    setting: str


@dataclass(frozen=True)
class Row:
    """One picture through one codec at one setting.

    `bytes` is the size of the file and bpp 8 bytes / (width height); seconds are of wall-clock time; `peak_mb` is in
    10^6 bytes; `threads` are the codec's own. Where `error` is not empty, what it prevented is None.
    """

    image: str
    codec: str
    version: str
    options: str
    setting: str
    seed: int | None = None
    steps: int | None = None
    realism: float | None = None
    fingerprint: str = ""
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    bpp: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    encode_s: float | None = None
    decode_s: float | None = None
    peak_mb: float | None = None
    machine: str = ""
    threads: int | None = None
    error: str = ""

    @property
    def series(self) -> Series:
        """The curve that it lies on."""
        return Series(*(getattr(self, name) for name in Series._fields))

    @property
    def key(self) -> Key:
        """What it shares with no other row."""
        return Key(self.image, self.series, self.setting)

    def holds(self, metrics: Iterable[str]) -> bool:
        """Whether there is nothing to measure anew: it has an error, or all of `metrics`."""
        return bool(self.error) or set(metrics) <= self.metrics.keys()


_NAMES = [entry.name for entry in fields(Row)]
_HEAD = _NAMES[: _NAMES.index("metrics")]
_TAIL = _NAMES[_NAMES.index("metrics") + 1 :]
_INTEGERS = {"seed", "steps", "width", "height", "bytes", "threads"}
_FLOATS = {"realism", "bpp", "encode_s", "decode_s", "peak_mb"}


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """The metrics that any row has, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def read(path: Path) -> list[Row]:
    """The rows of a CSV file, each key once, as first met but with its last values; none where there is no file.

    A last line without its end is left out. Raises UsageError where the file is no such table, OutputError where it
    cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read {path}: {error}") from error
    return list({row.key: row for row in _parsed(text, path)}.values())


def _parsed(text: str, path: Path) -> Iterable[Row]:
    """The rows of whole lines, in order."""
    header, *lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))) or [[]]
    if not header:
        return
    if header[: len(_HEAD)] != _HEAD or header[-len(_TAIL) :] != _TAIL:
        raise UsageError(f"{path} is no table of an evaluation: its columns are not those; name another folder")
    for number, line in enumerate(lines, start=2):
        try:
            yield _row(dict(zip(header, line, strict=True)))
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}; mend or delete that line") from None


def _row(cells: dict[str, str]) -> Row:
    values: dict[str, Any] = {name: _value(name, cells.pop(name)) for name in _HEAD + _TAIL}
    metrics = {name: None if text == "nan" else float(text) for name, text in cells.items() if text}
    return Row(**values, metrics=metrics)


def _value(name: str, text: str) -> str | int | float | None:
    kind: Callable[[str], int | float] | None = int if name in _INTEGERS else float if name in _FLOATS else None
    return text if kind is None else kind(text) if text else None


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else " ".join(str(value).split())


def _metric_cell(row: Row, name: str) -> str:
    if name not in row.metrics:
        return ""
    value = row.metrics[name]
    return "nan" if value is None or math.isnan(value) else _cell(float(value))


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error


class Writer:
    """The CSV file `path`, open for more rows with the columns of `metrics`; use it as a context.

    Opening mends: a half-written last line goes, rows that were measured twice become one, and columns that the file
    lacks are added. `rows` are those it holds, by key.
    """

    def __init__(self, path: Path, metrics: Iterable[str]) -> None:
        """Read and mend the file, or begin it. Raises UsageError as `read`, and OutputError where it cannot be kept."""
        from regrain.image import write_bytes

        found = read(path)
        self.rows = {row.key: row for row in found}
        self._path = path
        self._metrics = list(dict.fromkeys([*metrics_of(found), *metrics]))
        _make(path.parent)
        text = _line([*_HEAD, *self._metrics, *_TAIL]) + "".join(map(self._text, found))
        if not path.exists() or path.read_bytes() != text.encode():
            write_bytes(text.encode(), path)

    def __enter__(self) -> Self:
        """Open for appending."""
        self._file = self._path.open("a", encoding="utf-8", newline="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; every row is on the disk already."""
        self._file.close()

    def add(self, row: Row) -> None:
        """Append a row and hand it to the system at once. Raises OutputError."""
        try:
            self._file.write(self._text(row))
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        self.rows[row.key] = row

    def _text(self, row: Row) -> str:
        head, tail = ([_cell(getattr(row, name)) for name in names] for names in (_HEAD, _TAIL))
        return _line([*head, *(_metric_cell(row, name) for name in self._metrics), *tail])
