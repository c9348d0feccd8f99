"""Tables of results as CSV files that grow: of pictures (`Row`), of times (`Timing`) and of folders (`Distribution`).

Invariants: a record is on the disk before the next is measured; a file that is cut off anywhere loses its last line
alone; of records with the same key the last one counts. The first columns of a record are its key. A metric's cell is
empty where the metric was not measured, and `nan` where it has no value for such a picture.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from regrain.errors import OutputError, UsageError

__all__ = ["DecodeSetting", "Distribution", "Record", "Row", "Series", "Table", "Timing", "metrics_of", "read"]


class DecodeSetting(NamedTuple):
    """How to decode one file; None where the codec has no such choice."""

    seed: int | None = None
    steps: int | None = None
    realism: float | None = None


class Series(NamedTuple):
    """One curve: the codec and how it decodes; None or empty where it has no such choice.

    `options` are the settings that do not vary; `fingerprint` is of the weights, and marks a learned codec.
    """

    codec: str
    version: str
    options: str
    seed: int | None
    steps: int | None
    realism: float | None
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """A line of a table of `content`; its first `keys` columns tell it from all others."""

    content: ClassVar[str]
    keys: ClassVar[int]

    @property
    def series(self) -> Series:
        """The curve that the record belongs to."""
        return Series(*(getattr(self, name) for name in Series._fields))

    @property
    def decode_setting(self) -> DecodeSetting:
        """The way to decode that the record is of."""
        return DecodeSetting(*(getattr(self, name) for name in DecodeSetting._fields))

    @property
    def key(self) -> tuple[str, ...]:
        """The key columns as their cells in the file."""
        return tuple(_cell(getattr(self, entry.name)) for entry in fields(self)[: self.keys])


@dataclass(frozen=True)
class Row(Record):
    """One picture through one codec at one setting.

    `bytes` is the size of the file and bpp 8 bytes / (width height); seconds are of wall-clock time; `peak_mb` is in
    10^6 bytes; `threads` are the codec's own. Where `error` is not empty, the figures that it prevented are None.
    """

    content = "an evaluation"
    keys = 9

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

    def holds(self, metrics: Iterable[str]) -> bool:
        """Whether there is nothing left to measure: the row has an error, or all of `metrics`."""
        return bool(self.error) or set(metrics) <= self.metrics.keys()


@dataclass(frozen=True)
class Timing(Record):
    """Seconds of wall-clock time of one codec at `setting`; None for what failed or was not measured.

    `encode_s` and `decode_s` are warm: means over `pictures` of medians over rounds, of `pixels` pixels on average.
    Cold ones are those of a fresh process each, from its start to the file or the pixels. Where the codec times its
    stages, encoding is `analyse_s` (the network) and `code_s` (the rest), decoding `symbols_s` (to the latents) and
    `regrow_s` (to the picture). `threads` are the codec's own.
    """

    content = "timings"
    keys = 9

    run: int
    codec: str
    version: str
    options: str
    setting: str
    seed: int | None = None
    steps: int | None = None
    realism: float | None = None
    fingerprint: str = ""
    pictures: int = 0
    pixels: int = 0
    threads: int = 1
    encode_s: float | None = None
    decode_s: float | None = None
    analyse_s: float | None = None
    code_s: float | None = None
    symbols_s: float | None = None
    regrow_s: float | None = None
    cold_encode_s: float | None = None
    cold_decode_s: float | None = None
    machine: str = ""


@dataclass(frozen=True)
class Distribution(Record):
    """One codec at one setting over all `patches` of `side` pixels of a folder; `bpp` is the mean over pictures."""

    content = "distributions"
    keys = 10

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


R = TypeVar("R", bound=Record)


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """The metrics that any row has, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def read(kind: type[R], path: Path) -> list[R]:
    """The records of a CSV file, each key at its first place but with its last values; none where there is no file.

    A last line without its end is left out. Raises UsageError where the file is no such table, OutputError where it
    cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is no table of {kind.content}: {error}; name another folder") from None
    return list({record.key: record for record in _parse(kind, lines, path)}.values())


def _parse(kind: type[R], lines: list[list[str]], path: Path) -> Iterator[R]:
    if not lines:
        return
    header, own = lines[0], _columns(kind)
    if header != _columns(kind, [name for name in header if name not in own]):
        raise UsageError(f"{path} is no table of {kind.content}: its columns are others; name another folder")
    types = get_type_hints(kind)
    for number, line in enumerate(lines[1:], start=2):
        try:
            cells = dict(zip(header, line, strict=True))
            values: dict[str, Any] = {name: _value(types[name], cells.pop(name)) for name in own}
            if "metrics" in types:
                metrics = {name: text for name, text in cells.items() if text}
                values["metrics"] = {n: None if text == "nan" else float(text) for n, text in metrics.items()}
            yield kind(**values)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}; mend or delete that line") from None


def _columns(kind: type[Record], metrics: Iterable[str] = ()) -> list[str]:
    """The columns of the file: the fields, with those of the metrics in the place of the field of that name."""
    names = [entry.name for entry in fields(kind)]
    if "metrics" in names:
        place = names.index("metrics")
        names[place : place + 1] = metrics
    return names


def _value(hint: Any, text: str) -> object:  # noqa: ANN401 - `int | None` and the like
    kind = (get_args(hint) or (hint,))[0]
    return text if kind is str else kind(text) if text else None


def _cells(record: Record) -> dict[str, str]:
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    metrics = values.pop("metrics", {})
    return {name: _cell(value) for name, value in values.items()} | {
        name: "nan" if value is None or math.isnan(value) else _cell(float(value)) for name, value in metrics.items()
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else " ".join(str(value).split())


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


class Table(Generic[R]):
    """The CSV file `path`, which takes more records. `records` are those it holds, by key.

    Opening mends: a half-written last line goes, records that were measured twice become one, and columns of `metrics`
    that the file lacks are added.
    """

    def __init__(self, kind: type[R], path: Path, metrics: Iterable[str] = ()) -> None:
        """Read and mend the file, or begin it. Raises UsageError as `read`, and OutputError where it cannot be kept."""
        from regrain.output import write_bytes

        self.records = {record.key: record for record in read(kind, path)}
        rows = [record for record in self.records.values() if isinstance(record, Row)]
        self._path, self._columns = path, _columns(kind, dict.fromkeys([*metrics_of(rows), *metrics]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
        data = "".join([_line(self._columns), *map(self._text, self.records.values())]).encode()
        if not path.exists() or path.read_bytes() != data:
            write_bytes(data, path)

    def add(self, record: R) -> None:
        """Append a record and hand it to the system at once. Raises OutputError."""
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._text(record))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        self.records[record.key] = record

    def _text(self, record: R) -> str:
        cells = _cells(record)
        return _line(cells.get(name, "") for name in self._columns)
