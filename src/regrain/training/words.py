"""Text of others in messages of ours: what a terminal would obey is escaped, what is long is cut."""

from typing import Final

__all__ = ["escaped"]

SHOWN_MAX: Final = 200


def escaped(text: object) -> str:
    """`text` as one short line: line breaks, control characters and lone surrogates as Python writes them."""
    plain = str(text)
    cut = plain if len(plain) <= SHOWN_MAX else f"{plain[: SHOWN_MAX // 2]}...{plain[-SHOWN_MAX // 4 :]}"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
