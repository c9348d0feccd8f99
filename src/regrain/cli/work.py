"""While the work goes on: the lines that libraries print are kept from the terminal, and a clock is drawn on it.

Invariant: afterwards standard error is what it was, and the line of the clock is gone.
"""

import argparse
import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from time import perf_counter

from regrain.cli.terminal import clean, text_stream

__all__ = ["seconds", "silent_libraries", "working"]

_PATIENCE = 2.0
_PERIOD = 0.5
_ERASED = "\r\x1b[K"


def seconds(options: argparse.Namespace) -> float:
    """How long the user has waited by now, the loading of libraries and weights included."""
    return perf_counter() - float(options.start)


@contextlib.contextmanager
def working(options: argparse.Namespace, what: str) -> Iterator[None]:
    """Keep libraries silent, unless `--verbose`, and say on a terminal what takes longer than two seconds."""
    with silent_libraries(wanted=not options.verbose), _clock(options, what):
        yield


@contextlib.contextmanager
def silent_libraries(*, wanted: bool = True) -> Iterator[None]:
    """Lose what compiled libraries write to descriptor 2, past Python; `sys.stderr` goes where it went.

    libtiff does so, up to 197 lines a broken file, and nothing that Pillow offers turns it off.
    """
    if not wanted or sys.stderr is None:
        yield
        return
    stream, sys_stream_is_2 = sys.stderr, _descriptor(sys.stderr) == 2
    stream.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        if sys_stream_is_2:
            sys.stderr = text_stream(kept, stream)
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        if sys_stream_is_2:
            sys.stderr = stream
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _clock(options: argparse.Namespace, what: str) -> Iterator[None]:
    """Show `what` and the seconds so far in one line of a terminal, from the third second on."""
    stream, done = sys.stderr, threading.Event()
    if stream is None or options.quiet or options.json or not stream.isatty():
        yield
        return

    def _draw() -> None:
        pause = max(0.0, _PATIENCE - seconds(options))
        while not done.wait(pause):
            line = f"{clean(what)}, {seconds(options):.0f} s"
            stream.write(_ERASED + line[-shutil.get_terminal_size().columns + 1 :])
            stream.flush()
            pause = _PERIOD

    drawing = threading.Thread(target=_draw, name="clock", daemon=True)
    drawing.start()
    try:
        yield
    finally:
        done.set()
        drawing.join()
        if seconds(options) >= _PATIENCE:
            stream.write(_ERASED)
            stream.flush()


def _descriptor(stream: object) -> int | None:
    """The number of the file below a stream, None where there is none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return int(stream.fileno())  # type: ignore[attr-defined]
    return None
