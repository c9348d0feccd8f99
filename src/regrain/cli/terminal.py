"""The last mile: what a terminal, a pipe or a file on the standard streams gets to see of us.

Invariants: a line holds nothing that a terminal obeys, whatever file its words come from; what is written is written
whole, or an error; where a stream is closed nothing goes to the other one in its stead.
"""

import contextlib
import io
import select
import sys
from collections.abc import Iterator
from threading import Event
from typing import BinaryIO, TextIO

from regrain import errors
from regrain.errors import BitstreamError, ImageError, LimitError, ModelError, OutputError, reason

__all__ = [
    "STANDARD", "about", "display_name", "erase", "escape", "one_line", "say", "show", "text_stream", "write_whole",
]  # fmt: skip

STANDARD = "-"
"""The name that stands for stdin or stdout."""
_ERASED = "\r\x1b[K"
_SHOWN = Event()
"""Set while a line of progress stands on the terminal."""
_HEAD, _TAIL = 420, 160


def escape(text: str) -> str:
    r"""`text` with all that is not to be printed escaped, as \n or \x1b: control characters, marks of direction."""
    return errors.escape(text, len(text) * 10)


def one_line(text: str) -> str:
    """`text` as one line that is fit to be read: clean, and without its middle where it is very long."""
    return escape(text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} ... {text[-_TAIL:]}")


def display_name(name: str, stream: str = "stdin") -> str:
    """A path as it was given, but clean, and the `stream` by its name."""
    return stream if name == STANDARD else escape(name)


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Put the name of an input before what is wrong with it, unless it stands there already."""
    try:
        yield
    except (BitstreamError, ImageError, LimitError, ModelError) as error:
        text = str(error)
        if text.startswith((f"{display_name(name)}: ", f"cannot read {name}: ")):
            raise
        raise type(error)(f"{display_name(name)}: {text.removeprefix('picture: ')}") from error


def say(text: str, *, aside: bool = False) -> None:
    """Print clean lines on stdout, or `aside` on stderr (nowhere, if that is closed); raises OutputError.

    Lines aside take the place of what `show` has put on the terminal.
    """
    stream = sys.stderr if aside else sys.stdout
    if stream is None:
        if aside:
            return
        raise OutputError("cannot write stdout: it is closed")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = "".join(f"{escape(line)}\n" for line in text.split("\n"))
    data = (_ERASED * (aside and _SHOWN.is_set()) + lines).encode(encoding, "backslashreplace")
    if aside:
        _SHOWN.clear()
    try:
        stream.flush()
        if hasattr(stream, "buffer"):
            write_whole(stream.buffer, data)
        else:
            stream.write(data.decode(encoding))
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write the report: {reason(error)}") from error


def show(stream: TextIO, line: str) -> None:
    """Put a line of progress on a terminal, in the place of the one before."""
    _SHOWN.set()
    stream.write(_ERASED + line)
    stream.flush()


def erase(stream: TextIO) -> None:
    """Take the line of progress away, if one is there."""
    if _SHOWN.is_set():
        _SHOWN.clear()
        stream.write(_ERASED)
        stream.flush()


def write_whole(stream: BinaryIO, data: bytes) -> None:
    """Write until nothing is left. An unbuffered stream takes a part at a time, one that must not block perhaps none.

    Raises OSError, of which BrokenPipeError says that nobody reads any more.
    """
    rest = memoryview(data)
    while rest:
        try:
            taken: int | None = stream.write(rest)
        except BlockingIOError as error:
            taken = error.characters_written
        if not taken:
            select.select([], [stream], [])
        rest = rest[taken or 0 :]
    while True:
        with contextlib.suppress(BlockingIOError):
            return stream.flush()
        select.select([], [stream], [])


def text_stream(descriptor: int, like: object) -> io.TextIOWrapper:
    """A stream of text on a descriptor, which it does not close, in the encoding of another stream."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    return open(descriptor, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)
