"""A task -> an outcome: read, encode or decode, write whole or not at all.

    bytes = read(source);  bytes = coder(bytes);  write(bytes, target);  outcome = sizes, seconds, SHA-256, or an error

Invariant: nothing that a picture or a disk does is an exception here; an outcome says it. Only signals pass.
"""

import errno
import hashlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter

from regrain import Decoder, Encoder, places
from regrain.batch.plan import Task
from regrain.bitstream import EXTENSION
from regrain.errors import ModelError, OutputError, RegrainError, escape
from regrain.output import write_bytes

__all__ = ["WRITING", "Outcome", "Work"]

WRITING = Lock()
"""Held while a target is written: who ends this process waits for it, so that no temporary file stays."""

_HOPELESS = frozenset({errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What the system says of a target that no other picture can be written to either."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: bytes in and out, seconds, the SHA-256 of the target; or an error, one line.

    `hopeless` says that all others will end so, too, and `exit_code` with which code. `again` is true where the target
    was there already. `notes` are lines of the log, `worker` is HOST-PROCESS. `facts`
    are what else is known of the file, such as the value that it was to reach.
    """

    source: str
    target: str
    input_bytes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    sha256: str = ""
    error: str = ""
    exit_code: int = 0
    hopeless: bool = False
    again: bool = False
    notes: tuple[str, ...] = ()
    worker: str = ""
    facts: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What is done with each picture, in whatever process it is sent to; pickled in a kilobyte.

    With `overwrite` a target is replaced; without it a target that is there is whole, and done. `preserve_times` gives
    the target the time of change of its source.
    """

    coder: Encoder | Decoder
    overwrite: bool = False
    preserve_times: bool = False

    def __call__(self, task: Task) -> Outcome:
        """Do one task."""
        start, worker = perf_counter(), f"{socket.gethostname()}-{os.getpid()}"
        facts: dict[str, object] = {}
        with _heard() as notes:
            try:
                facts = self._do(task)
            except Exception as error:
                facts = _failure(task, error)
        facts |= {"seconds": round(perf_counter() - start, 4), "notes": tuple(notes), "worker": worker}
        return Outcome(task.source, task.target, **facts)  # type: ignore[arg-type]

    def _do(self, task: Task) -> dict[str, object]:
        """The sizes and the checksum of a target that is written now, or was before this process began."""
        if not self.overwrite and (data := _present(task.target)):
            return _facts(places.size(task.source), data) | {"again": True}
        if places.is_url(task.source):
            with places.open_binary(task.source) as file:
                source: str | bytes = file.read()
        else:
            source = task.source
        length = len(source) if isinstance(source, bytes) else places.size(source)
        facts: dict[str, float | None] = {}
        if isinstance(self.coder, Encoder):
            data, facts = self.coder.encode_with_facts(source)
        else:
            decoded = self.coder.decode(source)
            assert isinstance(decoded, bytes), "output is a format"
            data = decoded
        self._write(data, task)
        return _facts(length, data) | {"facts": facts}

    def _write(self, data: bytes, task: Task) -> None:
        """Put the target in its place, and its folder where there is none."""
        modified = places.modified(task.source) if self.preserve_times else None
        if not places.is_url(task.target):
            try:
                os.makedirs(os.path.dirname(task.target) or ".", exist_ok=True)
            except OSError as error:
                raise OutputError(f"{task.target}: its folder cannot be made: {error.strerror}") from error
            if os.path.exists(task.target) and not os.path.isfile(task.target):
                raise OutputError(f"{task.target}: cannot be written: what has this name is no file")
        with WRITING:
            write_bytes(data, task.target, modified=modified)


def _present(target: str) -> bytes:
    """A target that is there, b"" where there is none: another worker wrote it and died before it could say so."""
    there = places.exists(target) if places.is_url(target) else os.path.isfile(target)
    if not there:
        return b""
    with places.open_binary(target) as file:
        return file.read()


def _facts(length: int, data: bytes) -> dict[str, object]:
    return {"input_bytes": length, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _failure(task: Task, error: Exception) -> dict[str, object]:
    """What an exception says, without the name of the source, and whether others will end so, too."""
    if isinstance(error, RegrainError):
        text, code = str(error), error.exit_code
    elif isinstance(error, MemoryError):
        text, code = "out of memory: try fewer --jobs", 6
    elif isinstance(error, OSError):
        text, code = f"cannot be read: {error.strerror or error}", 3
    else:
        text, code = f"internal error, please report it: {type(error).__name__}: {error}", 1
    for start in (f"{task.source}: ", f"{escape(task.source)}: ", f"cannot read {task.source}: ", "picture: "):
        text = text.removeprefix(start)
    without_weights = isinstance(error, ModelError) and task.target.endswith(EXTENSION)  # each file names its own
    hopeless = without_weights or (isinstance(error, OutputError) and _is_hopeless(error, task.target))
    return {"error": " ".join(text.split()), "exit_code": code, "hopeless": hopeless}


def _is_hopeless(error: BaseException, target: str) -> bool:
    """Whether a disk is full, or read only, or a bucket refuses: what the system said lies below our own error."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.errno in _HOPELESS:
            return True
        if places.is_url(target) and isinstance(below, OSError) and not isinstance(below, OutputError):
            return True
        below = below.__cause__ or below.__context__
    return False


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What regrain logs of a picture, as a list: the process that draws the progress says it."""
    notes: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: notes.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("regrain")
    log.addHandler(handler)
    spread, log.propagate = log.propagate, False
    try:
        yield notes
    finally:
        log.removeHandler(handler)
        log.propagate = spread
