"""The log of a run: TensorBoard's events, `log.csv` with a row a step, and lines where no bar can be drawn.

Invariants: a run that resumes purges the figures after its checkpoint from both files; the figures before a checkpoint
are handed to the disk before it; a log that cannot be written gives one warning and stops no run.
"""

import csv
import io
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from torch.utils.tensorboard import SummaryWriter

from regrain.errors import OutputError

__all__ = ["CSV", "Journal", "Lines"]

log = logging.getLogger(__name__)

CSV: Final = "log.csv"
_STEP: Final = re.compile(r"[0-9]{1,12}")


class Journal:
    """The files with a run's figures."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open them, without the steps after `step`; half-written files of a killed run go too. Raises OutputError."""
        self.path, self.step = folder / CSV, step
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for stale in (*folder.glob(".regrain-*.tmp"), *folder.glob(".log.csv.*.tmp")):
                stale.unlink()
            self.events = SummaryWriter(str(folder / "log"), purge_step=step + 1)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
        self.file: IO[str] | None = None
        self.columns: list[str] = []
        self.tried = False

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step of training: events, and a row of the table."""
        self._scalars("train", step, values)
        with self._warns():
            if self.file and not values.keys() <= set(self.columns):  # a stage whose loss has more scalars
                self.file.close()
                self.file, self.tried, self.step = None, False, step - 1
            if not self.file and not self.tried:
                self.tried = True  # once is enough: a table that is not a run's stays as it is
                self.columns = list(dict.fromkeys(["step", *self.columns, *values]))
                _purge(self.path, self.columns, self.step)
                self.file = self.path.open("a", newline="", encoding="utf-8", buffering=1)
            if self.file:
                row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
                csv.DictWriter(self.file, self.columns, extrasaction="ignore").writerow(row)

    def held_out(self, step: int, values: Mapping[str, float]) -> None:
        """Log a row of held-out figures: events alone."""
        self._scalars("holdout", step, values)

    def flush(self) -> None:
        """Hand everything to the system."""
        with self._warns():
            self.events.flush()

    def close(self) -> None:
        """Write the rest and close the files."""
        with self._warns():
            self.events.close()
        with self._warns():
            if self.file:
                self.file.close()

    def _scalars(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        with self._warns():
            for name, value in values.items():
                self.events.add_scalar(f"{kind}/{name}", value, step)

    @contextmanager
    def _warns(self) -> Iterator[None]:
        """A full disk costs figures, not the run."""
        try:
            yield
        except (OSError, csv.Error) as error:
            log.warning("%s: figures cannot be noted: %s", self.path, getattr(error, "strerror", None) or error)


def _purge(path: Path, columns: list[str], step: int) -> None:
    """Make `path` a table of these columns, with its rows up to `step`. Raises OSError and csv.Error.

    A table with another first column is not a run's and stays as it is: csv.Error. Columns that are gone are dropped.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    before: IO[str] = path.open(newline="", encoding="utf-8", errors="replace") if path.exists() else io.StringIO()
    try:
        with before, temporary.open("w", newline="", encoding="utf-8") as file:
            rows: csv.DictReader[Any] = csv.DictReader(before)
            if rows.fieldnames and rows.fieldnames[0] != columns[0]:
                raise csv.Error("a table that is not a run's is there")
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row for row in rows if _STEP.fullmatch(row["step"]) and int(row["step"]) <= step)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class Lines:
    """A line of means every few steps, for logs and pipes."""

    def __init__(self, steps: int, every: int) -> None:
        """`steps` is the number of steps of the run, `every` that between two lines."""
        self.steps, self.every = steps, every
        self.values: dict[str, list[float]] = defaultdict(list)

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Add a step, and log the means since the last line when one is due."""
        for name, value in values.items():
            self.values[name].append(value)
        if step % self.every == 0:
            means = (f"{name} {sum(past) / len(past):.4g}" for name, past in self.values.items())
            log.info("step %d of %d: %s", step, self.steps, "  ".join(means))
            self.values.clear()
