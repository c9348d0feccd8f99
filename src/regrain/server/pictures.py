"""The query of a request -> how a .rgn file is decoded; and its decoding, which ends when its time is over.

Invariant: no more are decoded at once than is allowed, each in a process of its own, which is killed when it takes too
long; one that dies costs its own request.
"""

import hashlib
import os
from asyncio import Semaphore
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import regrain
from regrain import memory
from regrain.errors import LimitError, UsageError
from regrain.workers import Decoder

__all__ = ["FORMATS", "Busy", "Decoding", "Limits", "decoder_for", "tag"]

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}
"""The values of `format`, and their types."""
_KNOBS = {"max-size": int, "realism": float, "seed": int, "steps": int}


@dataclass(frozen=True)
class Limits:
    """What a request may take: decodes at once and their threads, seconds, pixels, and bytes of memory of all decodes.

    `max_memory` None is half of the machine's, as in `regrain.decode`.
    """

    decodes: int = 2
    seconds: float = 60.0
    max_pixels: int = 250_000_000
    max_memory: int | None = None
    threads: int = 1


class Busy(Exception):  # noqa: N818 - it reports no error of ours
    """As many pictures are being decoded as may be at once."""


def decoder_for(query: Iterable[tuple[str, str]], limits: Limits) -> tuple[str, Decoder]:
    """The name of the format that a query asks for, PNG where it does not, and what decodes as it says.

    Raises UsageError for a name or a value that is not allowed, or a name that comes twice.
    """
    asked: dict[str, str] = {}
    for name, value in query:
        if name not in ("format", *_KNOBS):
            raise UsageError(f"{name!a:.40} is no parameter; allowed are {', '.join(('format', *_KNOBS))}")
        if name in asked:
            raise UsageError(f"{name} is given twice; allowed is once")
        asked[name] = value
    format = asked.pop("format", "png")
    if format not in FORMATS:
        raise UsageError(f"format is {format!a:.40}; allowed are {', '.join(FORMATS)}")
    share = (memory.allowance() if limits.max_memory is None else limits.max_memory) // limits.decodes
    knobs = {name.replace("-", "_"): _figure(name, value) for name, value in asked.items()}
    return format, Decoder(
        output=format, threads=limits.threads, max_pixels=limits.max_pixels, max_memory=max(share, 1), **knobs
    )


def _figure(name: str, text: str) -> Any:  # noqa: ANN401 - what is no number is refused by the table of ranges
    """The number of a parameter; text that is none stays, for the error to quote."""
    try:
        return _KNOBS[name](text)
    except ValueError:
        return text


def tag(facts: os.stat_result, query: Mapping[str, str]) -> str:
    """The entity tag of what a file decodes to: another one when file, query or release change."""
    key = repr((facts.st_mtime_ns, facts.st_size, facts.st_ino, sorted(query.items()), regrain.__version__))
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'


class Decoding:
    """Decodes files in other processes, so many at once."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is started before the first picture."""
        self._limits, self._turns = limits, Semaphore(limits.decodes)

    async def decode(self, decoder: Decoder, path: str) -> bytes:
        """A file as the picture that `decoder` makes of it.

        Raises Busy at once where no more may be decoded, LimitError where it takes too long or its process dies, and
        what `regrain.decode` raises.
        """
        from anyio import BrokenWorkerProcess, fail_after, to_process

        if self._turns.locked():
            raise Busy("as many pictures are being decoded as may be at once")
        async with self._turns:
            try:
                with fail_after(self._limits.seconds):
                    return await to_process.run_sync(_decode, decoder, path, cancellable=True)
            except TimeoutError:
                raise LimitError(f"decoding takes more than {self._limits.seconds:g} s, see --timeout") from None
            except BrokenWorkerProcess:
                raise LimitError("the process that decoded it died, perhaps for want of memory") from None


def _decode(decoder: Decoder, path: str) -> bytes:
    """What a process does: it reads the file, so that no error names a path, and decodes it."""
    with open(path, "rb") as file:
        return cast(bytes, decoder.decode(file))
