"""While the work goes on: what libraries print is kept from the standard streams, and a clock is drawn on a terminal.

Invariant: afterwards both streams are what they were, nothing was added to stdout, and the line of the clock is gone.
"""

import argparse
import contextlib
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from regrain.cli.terminal import erase, escape, show, text_stream

__all__ = ["seconds", "silent_libraries", "working"]

_PATIENCE = 2.0
_PERIOD = 0.5


def seconds(options: argparse.Namespace) -> float:
    """How long the user has waited by now, the loading of libraries and weights included."""
    return perf_counter() - float(options.start)


@contextlib.contextmanager
def working(options: argparse.Namespace, what: str) -> Iterator[Callable[[str], None]]:
    """Keep libraries silent, unless `--verbose`, and say on a terminal what takes longer than two seconds.

    Gives a function that says from then on something else.
    """
    messages = deque([what], maxlen=1)
    with silent_libraries(wanted=not options.verbose), _clock(options, messages):
        yield messages.append


@contextlib.contextmanager
def silent_libraries(*, wanted: bool = True) -> Iterator[None]:
    """Lose what libraries print to stdout, where a picture may go, and compiled ones to stderr; `sys.stderr` works.

    libtiff writes to descriptor 2, past Python, up to 197 lines a broken file, and nothing that Pillow offers turns it
    off. Where this is not `wanted` all of it is on stderr.
    """
    streams, kept, nowhere = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    ours = [text_stream(kept[1], streams[1]), text_stream(nowhere, streams[0])]
    try:
        if _descriptor(sys.stderr) == 2:
            sys.stderr.flush()
            sys.stderr = ours[0]
        sys.stdout = ours[1] if wanted else sys.stderr
        os.dup2(nowhere if wanted else 2, 1)
        os.dup2(nowhere if wanted else 2, 2)
        yield
    finally:
        for stream in ours:
            stream.close()  # before another file has the number of its descriptor
        sys.stdout, sys.stderr = streams
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)


@contextlib.contextmanager
def _clock(options: argparse.Namespace, messages: Sequence[str]) -> Iterator[None]:
    """Show the last message and the seconds so far in one line of a terminal, from the third second on."""
    stream, done = sys.stderr, threading.Event()
    if stream is None or options.quiet or options.json or not stream.isatty():
        yield
        return

    def _draw() -> None:
        pause = max(0.0, _PATIENCE - seconds(options))
        while not done.wait(pause):
            line = f"{escape(messages[-1])}, {seconds(options):.0f} s"
            show(stream, line[-shutil.get_terminal_size().columns + 1 :])
            pause = _PERIOD

    drawing = threading.Thread(target=_draw, name="clock", daemon=True)
    drawing.start()
    try:
        yield
    finally:
        done.set()
        drawing.join()
        erase(stream)


def _descriptor(stream: object) -> int | None:
    """The number of the file below a stream, None where there is none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return int(stream.fileno())  # type: ignore[attr-defined]
    return None
