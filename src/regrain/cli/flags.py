"""The flags that several commands have alike: rate, realism, limits, metadata, many pictures; and those of `serve`."""

import argparse
import re
from collections.abc import Callable
from fractions import Fraction

from regrain.options import BLOCKS, RANGES, SAMPLERS, STRIPPED

__all__ = [
    "add_address", "add_limits", "add_many", "add_max_memory", "add_max_pixels", "add_metadata", "add_rate",
    "add_realism", "add_sampler", "add_seed", "size", "whole_number",
]  # fmt: skip

_MOST = RANGES["threads"][1]
"""Threads of a process, and processes."""
_MOST_PORT = 65535
_MOST_SECONDS = 86400.0
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_FIGURE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmg]i?)?b?", re.IGNORECASE)


def size(text: str) -> int:
    """A count with an optional unit, in either case: `20k` is 20,000, `1.5M` is 1,500,000, `1Ki` is 1,024."""
    match = _FIGURE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 12345, 20k, 1.5M or 64Ki")
    return round(Fraction(match[1]) * _UNITS[(match[2] or "").lower()])


def add_rate(parser: argparse._ActionsContainer, *, default: str, metrics: bool = False) -> None:
    """Quality or a target of bytes, bits or, with `metrics`, a metric; `default` is what the help says of none."""
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("-q", "--quality", type=float, metavar="Q", help=f"0 to 100, decimals too (default: {default})")
    rate.add_argument("--target-size", type=size, metavar="BYTES", help="largest file, as 20k or 1.5M")
    rate.add_argument("--target-bpp", type=float, metavar="B", help="largest file, in bits a pixel")
    if not metrics:
        return
    what = "smallest file with this PSNR or more, as decode shows it by default"
    rate.add_argument("--target-psnr", type=float, metavar="DB", help=what)
    what = "smallest file with this SSIMULACRA2 or more, as decode shows it by default; needs regrain[lab]"
    rate.add_argument("--target-ssimulacra2", type=float, metavar="S", help=what)
    what = "0 to 9: up to minutes for fewer bytes and as near a picture; needs regrain[torch] (default: 0)"
    parser.add_argument("--effort", type=int, default=0, metavar="E", help=what)


def add_realism(
    parser: argparse._ActionsContainer,
    steps: Callable[[str], int | str] = int,
    what: str = "denoising steps, 1 to 1000 (default: 1)",
) -> None:
    """For a command that decodes: steps, read by `steps` and described by `what`, realism and seed."""
    parser.add_argument("--steps", type=steps, metavar="N", help=what)
    parser.add_argument("--realism", type=float, default=1.0, metavar="R", help="0 faithful to 1 textured (default: 1)")
    add_seed(parser)


def add_seed(parser: argparse._ActionsContainer) -> None:
    """For a command that draws noise."""
    what = "of the noise; the same gives the same pixels on the same machine and threads"
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=what)


def add_sampler(parser: argparse._ActionsContainer) -> None:
    """For a command that takes several steps: the rule of a step, and the noise that it adds."""
    parser.add_argument(
        "--eta",
        type=float,
        default=0.0,
        metavar="E",
        help="fresh noise in each step after the first: 0 DDIM to 1 DDPM (default: 0)",
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ddim",
        help="rule of a step: ddim with --eta (default), ancestral (DDPM) or second-order (DPM-Solver++)",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """For a command that reads a picture."""
    parser.add_argument(
        "--max-pixels", metavar="N", type=size, default=250_000_000, help="refuse larger ones (default: 250M)"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """For a command that holds a picture of any size."""
    add_max_pixels(parser)
    add_max_memory(parser)


def add_max_memory(parser: argparse.ArgumentParser) -> None:
    """For a command whose memory grows with what it is asked for."""
    parser.add_argument(
        "--max-memory", metavar="BYTES", type=size, help="refuse to need more (default: half of what there is)"
    )


def add_metadata(parser: argparse.ArgumentParser) -> None:
    """What goes along with a picture; `keep` among the options are names of blocks."""
    group = parser.add_argument_group("metadata", "what is left out changes neither colours nor orientation")
    which = group.add_mutually_exclusive_group()
    what = "leave out EXIF (GPS position, times, camera, author) and XMP; the colour profile stays, and orientation"
    which.add_argument("--strip", dest="keep", action="store_const", const=STRIPPED, help=what)
    what = "any of exif (GPS among it), icc, xmp (may hold GPS, too) with commas, or none (default: all three); "
    which.add_argument("--keep", type=_blocks, metavar="BLOCKS", help=f"{what}without icc the colours become sRGB")
    group.add_argument("--preserve-times", action="store_true", help="OUT gets the time of change of IN")
    parser.set_defaults(keep=BLOCKS)


def add_many(parser: argparse.ArgumentParser, *, formats: bool = False) -> None:
    """What is for many pictures alone; `formats` where they can be written in several."""
    group = parser.add_argument_group("many pictures", "where IN is a folder or a pattern, or OUT ends in /")
    what = "pictures at once, a thread each (default: one a core)"
    group.add_argument("--jobs", metavar="N", type=whole_number, help=what)
    group.add_argument("--skip-existing", action="store_true", help="go on: what is written already stays")
    group.add_argument("--dry-run", action="store_true", help="say what would be written where, and write nothing")
    what = "add a line of JSON a picture: source, target, bytes, seconds, sha256, error"
    group.add_argument("--manifest", metavar="FILE", help=what)
    what = "processes of this machine (default), or ray: a cluster, needs regrain[ray]"
    group.add_argument("--engine", choices=("processes", "ray"), default="processes", help=what)
    what = "of a cluster that is running (default: $RAY_ADDRESS, or one that is started here)"
    group.add_argument("--ray-address", metavar="HOST:PORT", help=what)
    if formats:
        what = "of the pictures that are written, by its suffix: jpg, webp, tif (default: png)"
        group.add_argument("--format", metavar="SUFFIX", help=what)
    parser.set_defaults(inputs=[])


def add_address(parser: argparse.ArgumentParser) -> None:
    """Where a server listens, and how much it does at once."""
    what = "the name or address to listen at (default: localhost, which other machines cannot reach)"
    parser.add_argument("--host", metavar="NAME", default="localhost", help=what)
    what = "the port to listen at; 0 is any that is free (default: 8000)"
    parser.add_argument("--port", metavar="N", type=_port, default=8000, help=what)
    what = "pictures to decode at once (default: 2)"
    parser.add_argument("--decodes", metavar="N", type=whole_number, default=2, help=what)
    what = "end the decoding of a picture that takes longer (default: 60)"
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=60.0, help=what)


def _blocks(text: str) -> tuple[str, ...]:
    names = set() if text == "none" else set(text.split(","))
    if names - set(BLOCKS):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; {', '.join(BLOCKS)} with commas are, or none")
    return tuple(name for name in BLOCKS if name in names)


def whole_number(text: str) -> int:
    """How many threads, or processes: from 1 to 1024."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 1 to {_MOST} is")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 0 to {_MOST_PORT} is")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; seconds up to {_MOST_SECONDS:g} are")
    return seconds
