"""Every way that regrain can fail, as one small tree; each leaf carries the exit code of the command line.

    RegrainError
    ├── UsageError             2   an argument out of range
    ├── ImageError             3   an input picture that cannot be read
    ├── BitstreamError         4   a file that cannot be decoded
    │   ├── NotRegrain             wrong magic, or not a file of this format at all
    │   ├── UnsupportedVersion     written by a later format version, or with an unknown method
    │   ├── Truncated              ends before it says it does
    │   └── Corrupt                a checksum or a rule of the format is broken
    ├── ModelError             5   weights missing, or not the ones the file names
    ├── LimitError             6   more pixels or memory than allowed
    └── OutputError            7   the output cannot be written

Whatever else escapes is a fault of this program.
"""

__all__ = [
    "BitstreamError", "Corrupt", "ImageError", "LimitError", "ModelError", "NotRegrain", "OutputError",
    "RegrainError", "Truncated", "UnsupportedVersion", "UsageError",
]  # fmt: skip

_SHOWN_MOST = 80


def quote(value: object, most: int = _SHOWN_MOST) -> str:
    """What a file says, fit for a message: its representation, printable ASCII alone, at most so many characters.

    Text and bytes are cut before they are escaped, and of collections the type is named, so that size costs nothing.
    """
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    text = ascii(value[: most + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


class RegrainError(Exception):
    """Root of the tree. The message is one line, fit to be shown to a user as it is."""

    exit_code = 1


class UsageError(RegrainError, ValueError):
    """An argument out of range; the message names it and what is allowed."""

    exit_code = 2


class ImageError(RegrainError):
    """An input picture that cannot be read."""

    exit_code = 3


class BitstreamError(RegrainError):
    """A file that cannot be decoded."""

    exit_code = 4


class NotRegrain(BitstreamError):  # noqa: N818 - the drawn tree names it so
    """The magic is wrong: this is no .rgn file."""


class UnsupportedVersion(BitstreamError):  # noqa: N818
    """The file needs a later format version, or a method this version does not know."""


class Truncated(BitstreamError):  # noqa: N818
    """The file ends before the header says it does."""


class Corrupt(BitstreamError):  # noqa: N818
    """A checksum or a rule of the format is broken; the message names section and tile."""


class ModelError(RegrainError):
    """The weights are missing or are not the ones the file names; the message says how to get them."""

    exit_code = 5


class LimitError(RegrainError):
    """More pixels or memory than allowed; the message says the figure and the flag that raises it."""

    exit_code = 6


class OutputError(RegrainError, OSError):
    """The output cannot be written; nothing half-written is left."""

    exit_code = 7


def reason(error: BaseException) -> str:
    """What an error says, on one line: the operating system's words when it has them, else its own, else its kind.

    >>> reason(OSError(28, "No space left on device")), reason(ValueError()), reason(ValueError("two\\nlines"))
    ('No space left on device', 'ValueError', 'two lines')
    """
    words = getattr(error, "strerror", None) or str(error)
    return " ".join(words.split()) or type(error).__name__


def escape(text: object, most: int = 200) -> str:
    """Words that may quote a file, fit for a message: what does not print is escaped, and what is long is cut."""
    escaped = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text)[: most + 1])
    return escaped if len(escaped) <= most else f"{escaped[: most - 3]}..."
