"""How much memory a picture takes, by its header alone, and how much of it this process may have.

    need = libraries + network window + picture + latents + symbols of the largest tile        bytes, an upper bound

Figures are peaks of fresh processes. Networks run in windows, so that what they take stops growing at one window.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from regrain.bitstream import Header, Method
from regrain.errors import LimitError

__all__ = [
    "CONTEXTS_MOST", "allowance", "beside_encoding", "check", "check_bytes", "decoded_part", "effort_bytes",
    "foreground_bytes", "libraries", "map_bytes", "need", "repair_need", "search_bytes", "whole_planes",
]  # fmt: skip

LIBRARIES = {True: 420_000_000, False: 230_000_000}
"""Interpreter, libraries and weights: with torch, and with ONNX Runtime alone. A picture of 96 x 80 pixels is decoded
with 390 and 204 million bytes."""
WINDOW = 1152 * 1152
"""Pixels of the largest window that a network sees, its surroundings included."""
WINDOW_BYTES = 250
"""What a network takes a pixel of its window."""
SYMBOL_BYTES = 80
"""What a value of the tile that is coded takes; 256 of them a square of 16 pixels."""
PROGRESSIVE_BYTES = 110
"""What the progressive method takes a pixel: states of three channels, their noise, the order of the values."""
CONTEXT_BYTES = 42
"""What the sampler computes of the latents of a pixel once for all steps, the halos of its windows included."""
CONTEXTS_MOST = 2**25
"""Bytes of pictures for which this is kept from step to step; that of larger ones is made anew."""
BOTH_LIBRARIES = 540_000_000
"""With torch and ONNX Runtime in one process: a picture of 96 x 80 pixels is encoded under effort with 530 million."""
EFFORT_BYTES = 92
"""What effort keeps of a pixel: its latents, their gradient and its means, their symbols, and the pixel in floats."""
GRADIENT_WINDOW, GRADIENT_BYTES = 896 * 896, 2000
"""Pixels of the largest window that is decoded with a gradient, and what one of them takes."""
FOREGROUND_BYTES = 8
"""What the foreground takes a pixel. Its cells, one after the other, take less than the window of a network."""
MAP_BYTES = 16
"""What the means and squares of a map of chance take a pixel."""
REGION_MARGIN = 272
"""Pixels on each side of a region that are decoded along: the most that halos of several steps reach, and a latent."""
UNKNOWN = 8_000_000_000
"""Bytes of memory to go by where the system does not say how many it has."""


def check(
    work: str,
    header: Header,
    *,
    steps: int = 1,
    limit: int | None = None,
    torch: bool = True,
    second_order: bool = False,
    beside: int = 0,
) -> None:
    """Raise LimitError if `work`, encoding or decoding, may need more than `limit` bytes (None: `allowance()`).

    `beside` are bytes that are held beside what `need` counts.
    """
    wanted = need(header, steps, torch=torch, second_order=second_order) + beside
    taken = f" in {steps} steps" if steps > 1 else ""
    check_bytes(f"{work} {header.width} x {header.height}{taken}", wanted, limit)


def check_bytes(work: str, wanted: int, limit: int | None = None) -> None:
    """Raise LimitError if `work` that may take so many bytes takes more than `limit` (None: `allowance()`)."""
    allowed = allowance() if limit is None else limit
    if wanted > allowed:
        raise LimitError(
            f"{work} needs about {_format_bytes(wanted)} of memory, "
            f"allowed are {_format_bytes(allowed)}, see --max-memory"
        )


def decoded_part(header: Header, region: tuple[int, int, int, int] | None) -> Header:
    """The header of as much of a picture as is held while a region (left, top, width, height) is decoded.

    It is the region with its margin and whole tiles in the default method; the others decode the whole picture.
    """
    if region is None or header.method is not Method.CONDITIONAL:
        return header
    margin = max(header.tile, REGION_MARGIN)
    width, height = (
        min(side + 2 * margin, whole) for side, whole in zip(region[2:], (header.width, header.height), strict=True)
    )
    return replace(header, width=width, height=height)


def whole_planes(header: Header, *, mask: bool) -> int:
    """Bytes of what is read whole though a region alone is decoded: alpha, and a map of realism while it is read."""
    return header.width * header.height * (3 * header.alpha + 8 * mask)


def map_bytes(header: Header, region: tuple[int, int, int, int] | None) -> int:
    """Bytes of a map of chance, which is held while picture after picture of as much is decoded."""
    width, height = (header.width, header.height) if region is None else region[2:]
    return MAP_BYTES * width * height


def need(header: Header, steps: int = 1, *, torch: bool = True, second_order: bool = False) -> int:
    """Bytes to encode or decode, with torch or without; the picture is held as bytes, twice; latents and x_t as floats.

    Latents and x_t cover whole squares of 16 pixels: much more than the picture where that is one pixel wide. Steps of
    second order keep the estimates of the step before, too, and the sampler what it computes once for all steps.
    """
    squares = (-(-header.width // 16)) * -(-header.height // 16)
    values = 256 * squares
    states = 24 + 12 * second_order if steps > 1 else 0
    if steps > 1 and header.method is Method.CONDITIONAL:
        states += CONTEXT_BYTES * (header.width * header.height * (1 if header.grey else 3) <= CONTEXTS_MOST)
    bytes_a_value = 8 + states + PROGRESSIVE_BYTES * (header.method == Method.PROGRESSIVE)
    return (
        LIBRARIES[torch]
        + WINDOW_BYTES * min(values, WINDOW)
        + 2 * header.width * header.height * (3 + header.alpha)
        + bytes_a_value * values
        + SYMBOL_BYTES * 256 * min(squares, (header.tile // 16) ** 2)
    )


def libraries(*, torch: bool, effort: bool) -> int:
    """What interpreter, libraries and weights take of `need` and of `beside_encoding` together."""
    return LIBRARIES[torch] + (BOTH_LIBRARIES - LIBRARIES[False] if effort else 0)


def beside_encoding(header: Header, pixel_bytes: int | None, effort: int, *, torch: bool, screen: bool) -> int:
    """Bytes beside those of encoding: of a search by a metric that takes so many a pixel, of effort, of a screen."""
    searching = 0 if pixel_bytes is None else search_bytes(header, pixel_bytes, torch=torch)
    return searching + (effort_bytes(header) if effort else 0) + (foreground_bytes(header) if screen else 0)


def search_bytes(header: Header, pixel_bytes: int, *, torch: bool) -> int:
    """Bytes beside those of encoding while files are decoded and compared, which takes `pixel_bytes` a pixel."""
    return need(header, torch=torch) - LIBRARIES[torch] + pixel_bytes * header.width * header.height


def effort_bytes(header: Header) -> int:
    """Bytes beside those of encoding while latents are optimised, with torch."""
    squares = (-(-header.width // 16)) * -(-header.height // 16)
    window = min(256 * squares, GRADIENT_WINDOW)
    return BOTH_LIBRARIES - LIBRARIES[False] + GRADIENT_BYTES * window + EFFORT_BYTES * 256 * squares


def foreground_bytes(header: Header) -> int:
    """Bytes beside those of encoding a screen with a foreground: its mask, a number a pixel, and the background."""
    return FOREGROUND_BYTES * header.width * header.height


def repair_need(width: int, height: int, *, alpha: bool, torch: bool) -> int:
    """Bytes to repair a picture: tiles run alone, so that a picture is held as bytes alone, before and after."""
    return LIBRARIES[torch] + WINDOW_BYTES * WINDOW + 2 * width * height * (3 + alpha)


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
