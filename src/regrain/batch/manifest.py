"""Outcomes -> a file of JSON lines, one a picture, which a run that starts again goes on with.

Invariant: every line is whole but perhaps the last, which is cut off when the file is opened again. A file that is no
manifest stays as it is.
"""

import json
import os
from types import TracebackType
from typing import BinaryIO

from regrain.batch.work import Outcome
from regrain.errors import OutputError, UsageError, escape

__all__ = ["Manifest"]

_START = b'{"source": '
"""How every line begins."""
_LONGEST = 2**20
"""Bytes that no line has: two paths and an error are far shorter. A device may give bytes without an end."""
_KEYS = ("source", "target", "input_bytes", "bytes", "seconds", "sha256", "error", "worker")


class Manifest:
    """A manifest, open for more lines; `targets` are those that it says to be whole.

    Of several lines with one target the last holds. A line has source, target, input_bytes, bytes, seconds, sha256 (of
    the target, in hex), error ("" for none) and worker (HOST-PROCESS), and for a target of a metric psnr or
    ssimulacra2.
    """

    def __init__(self, path: str) -> None:
        """Open the file, or make it. Raises OutputError, also for a file that is something else."""
        self._path = path
        try:
            self._file: BinaryIO = open(path, "a+b")  # noqa: SIM115 - closed by `__exit__`
        except OSError as error:
            raise OutputError(f"cannot write the manifest {escape(path)}: {error.strerror or error}") from error
        try:
            self.targets = self._read()
        except BaseException:
            self._file.close()
            raise

    def add(self, outcome: Outcome) -> None:
        """Write a line, which is in the system's hands afterwards. Raises OutputError."""
        line = json.dumps({key: getattr(outcome, key) for key in _KEYS} | dict(outcome.facts))
        try:
            self._file.write(line.encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write the manifest {escape(self._path)}: {error.strerror or error}") from error

    def __enter__(self) -> "Manifest":
        """The same, to be closed in the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> set[str]:
        """The targets of the lines that are there; what a run that was killed left of its last line is cut off.

        Raises UsageError for any other line that is none of a manifest's, and the file stays as it is.
        """
        targets: set[str] = set()
        self._file.seek(0)
        end = 0
        for number, line in enumerate(iter(lambda: self._file.readline(_LONGEST), b""), 1):
            if line[-1:] != b"\n" and len(line) < _LONGEST and (line.startswith(_START) or _START.startswith(line)):
                self._file.truncate(end)
                break
            end += len(line)
            try:
                facts = json.loads(line) if line.endswith(b"\n") else {}
                target, error = str(facts["target"]), str(facts["error"])
            except (ValueError, LookupError, TypeError, RecursionError):
                raise UsageError(f"{escape(self._path)} exists and is no manifest (line {number})") from None
            (targets.discard if error else targets.add)(target)
        self._file.seek(0, os.SEEK_END)
        return targets
