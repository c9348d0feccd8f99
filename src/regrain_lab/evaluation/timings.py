"""What the timing pass found, as a table that grows: one row a contestant and way to decode, of one run.

Invariants: rows of one run were measured together, in turns, so that a ratio between two of them means something, and a
ratio is never of two runs; of rows of the same series the last counts.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation.rows import Series

__all__ = ["REFERENCE", "Timing", "against", "latest", "of", "read", "write"]

REFERENCE = "WebP"
"""The codec that times are shown as multiples of, where a run has it."""


@dataclass(frozen=True)
class Timing:
    """Seconds of wall-clock time of one contestant at `setting`; None for what failed or does not exist.

    `encode_s` and `decode_s` are warm: means over `pictures` of medians over rounds, of `pixels` pixels on average.
    Of a learned codec encoding is `analyse_s` (the network) and `code_s` (all that follows), decoding `symbols_s` (to
    the latents) and `regrow_s` (to the picture). Cold ones are those of a fresh process each, from its start to the
    file or the pixels. `threads` are the codec's own.
    """

    run: int
    codec: str
    version: str
    options: str
    setting: str
    seed: int | None
    steps: int | None
    realism: float | None
    fingerprint: str
    pictures: int
    pixels: int
    threads: int
    encode_s: float | None
    decode_s: float | None
    analyse_s: float | None
    code_s: float | None
    symbols_s: float | None
    regrow_s: float | None
    cold_encode_s: float | None
    cold_decode_s: float | None
    machine: str

    @property
    def series(self) -> Series:
        """The curve that it lies on."""
        return Series(*(getattr(self, name) for name in Series._fields))


class _Way(NamedTuple):
    """What a time depends on: realism is but a factor, and the seed another number."""

    codec: str
    version: str
    options: str
    steps: int | None
    fingerprint: str


_NAMES = [entry.name for entry in fields(Timing)]
_INTEGERS = {"run", "seed", "steps", "pictures", "pixels", "threads"}
_TEXTS = {"codec", "version", "options", "setting", "fingerprint", "machine"}


def latest(timings: Sequence[Timing]) -> list[Timing]:
    """One of each series, the last."""
    return list({timing.series: timing for timing in timings}.values())


def of(series: Series, timings: Sequence[Timing]) -> Timing | None:
    """The last that holds for a series: of the same way to decode, at whatever realism and seed."""
    return next((timing for timing in reversed(timings) if _way(timing.series) == _way(series)), None)


def against(timing: Timing, timings: Sequence[Timing]) -> Timing | None:
    """The one of the same run to divide by: the reference codec's, else the run's first without weights."""
    others = [other for other in timings if other.run == timing.run and not other.fingerprint]
    return next((other for other in others if other.codec == REFERENCE), others[0] if others else None)


def read(path: Path) -> list[Timing]:
    """The rows of a CSV file; none where there is no file. Raises UsageError for another file, and OutputError."""
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read {path}: {error}") from error
    try:
        if lines[:1] != [_NAMES]:
            raise ValueError("its columns are not those")
        return [_timing(dict(zip(_NAMES, line, strict=True))) for line in lines[1:]]
    except ValueError as error:
        raise UsageError(f"{path} is no table of timings: {error}; move it away") from None


def write(timings: Sequence[Timing], path: Path) -> None:
    """Replace the file. Raises OutputError."""
    from regrain.image import write_bytes

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_NAMES)
    writer.writerows(map(_cells, timings))
    write_bytes(out.getvalue().encode(), path)


def _way(series: Series) -> _Way:
    return _Way(*(getattr(series, name) for name in _Way._fields))


def _timing(cells: dict[str, str]) -> Timing:
    values: dict[str, Any] = {name: _value(name, text) for name, text in cells.items()}
    return Timing(**values)


def _value(name: str, text: str) -> str | int | float | None:
    if name in _TEXTS:
        return text
    kind: Callable[[str], int | float] = int if name in _INTEGERS else float
    return kind(text) if text else None


def _cells(timing: Timing) -> Iterator[str]:
    for name in _NAMES:
        value = getattr(timing, name)
        yield "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
