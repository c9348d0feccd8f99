"""How much memory a picture takes, by its header alone, and how much of it this process may have.

    need = libraries + network window + picture + latents + symbols of the largest tile        bytes, an upper bound

Figures are peaks of fresh processes. Networks run in windows, so that what they take stops growing at one window.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from regrain.bitstream import Header, Method
from regrain.errors import LimitError

__all__ = ["allowance", "check", "need"]

LIBRARIES = {True: 420_000_000, False: 230_000_000}
"""Interpreter, libraries and weights: with torch, and with ONNX Runtime alone. A picture of 96 x 80 pixels is decoded
with 390 and 204 million bytes."""
WINDOW = 1152 * 1152
"""Pixels of the largest window that a network sees, its surroundings included."""
WINDOW_BYTES = 250
"""What a network takes a pixel of its window."""
SYMBOL_BYTES = 80
"""What a value of the tile that is coded takes; 256 of them a square of 16 pixels."""
WALK_BYTES = 110
"""What the progressive method takes a pixel: states of three channels, their noise, the order of the values."""
ALPHA_BYTES = 3
"""What a pixel of alpha takes while it is unpacked: that of the whole picture for a region, too, in one stream."""
UNKNOWN = 8_000_000_000
"""Bytes of memory to go by where the system does not say how many it has."""


def check(
    work: str, header: Header, *, steps: int = 1, limit: int | None = None, torch: bool = True, more: int = 0
) -> None:
    """Raise LimitError if `work`, encoding or decoding, may need more than `limit` bytes (None: `allowance()`).

    It needs so many `more` than the picture of this header takes by itself.
    """
    wanted, allowed = need(header, steps, torch=torch) + more, allowance() if limit is None else limit
    if wanted > allowed:
        taken = f" in {steps} steps" if steps > 1 else ""
        raise LimitError(
            f"{work} {header.width} x {header.height}{taken} needs about {_format_bytes(wanted)} of memory, "
            f"allowed are {_format_bytes(allowed)}, see --max-memory"
        )


def need(header: Header, steps: int = 1, *, torch: bool = True) -> int:
    """Bytes to encode or decode, with torch or without; the picture is held as bytes, twice; latents and x_t as floats.

    Latents and x_t cover whole squares of 16 pixels: much more than the picture where that is one pixel wide.
    """
    squares = (-(-header.width // 16)) * -(-header.height // 16)
    values = 256 * squares
    bytes_a_value = 8 + (24 if steps > 1 else 0) + WALK_BYTES * (header.method == Method.PROGRESSIVE)
    return (
        LIBRARIES[torch]
        + WINDOW_BYTES * min(values, WINDOW)
        + 2 * header.width * header.height * (3 + header.alpha)
        + bytes_a_value * values
        + SYMBOL_BYTES * 256 * min(squares, (header.tile // 16) ** 2)
    )


def allowance(root: Path = Path("/")) -> int:
    """Half the machine's memory in bytes, or half of what a control group leaves this process, if that is less."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        machine = UNKNOWN
    return min([machine if machine > 0 else UNKNOWN, *_group_limits(root)]) // 2


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of this process's control group and of those above it, of Linux, version 1 and 2.

    A container may see its group at the root of the mount, whatever path it is said to have: all parents are asked.
    """
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (mount / "memory", "memory.limit_in_bytes") if controllers else (mount, "memory.max")
        group = Path(path.strip("/"))
        for place in (group, *group.parents):
            with suppress(OSError, ValueError):
                yield int((top / place / name).read_text())


def _format_bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"
