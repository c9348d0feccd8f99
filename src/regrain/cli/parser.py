"""The flags of every command: text to options, nothing run, nothing imported that is heavy.

A value that cannot be read as its type is refused here, and by the table of ranges of the Python functions the rest.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib.metadata import entry_points
from typing import NoReturn

import regrain
from regrain.cli.batches import decode, encode
from regrain.cli.commands import inspect
from regrain.cli.flags import add_address, add_many, add_metadata, whole_number
from regrain.cli.repair import add_decoded_repair, add_repair, repair
from regrain.cli.serve import serve
from regrain.cli.terminal import say
from regrain.diffusion.budget import SECONDS
from regrain.errors import UsageError
from regrain.options import RANGES, SAMPLERS, check_arguments

__all__ = [
    "Parser", "Subparsers", "add_max_pixels", "add_model", "add_overwrite", "add_rate", "add_realism", "command",
    "common", "parse", "size",
]  # fmt: skip

ENTRY_POINTS = "regrain.commands"
"""The group of entry points through which other packages add commands: functions of the subparsers."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_FIGURE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmg]i?)?b?", re.IGNORECASE)
COMMON = "common"
"""The group of the flags that no command has alone."""

Subparsers = argparse._SubParsersAction


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are UsageError instead of two lines and an exit."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with `message` and where help is."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:
        """Print help or version whole, or fail; argparse ignores a full disk."""
        say(message.rstrip("\n"))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command named first in `arguments`; its `run(options)` runs it.

    Raises UsageError, and SystemExit(0) after `--help` and `--version`.
    """
    parser = Parser(
        prog="regrain", description="An image codec whose decoder is a diffusion model.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"regrain {regrain.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    own = {"encode": _add_encode, "decode": _add_decode, "inspect": _add_inspect, "repair": _add_repair}
    own |= {"serve": _add_serve}
    for add in own.values():
        add(commands)
    if not own.keys() & set(arguments[:1]):
        for entry in entry_points(group=ENTRY_POINTS):
            entry.load()(commands)
    options, others = parser.parse_known_args(arguments)
    _place(others, options)
    vars(options).update(
        check_arguments(**{name: value for name, value in vars(options).items() if name in {*RANGES, "sampler"}})
    )
    return options


def _place(others: list[str], options: argparse.Namespace) -> None:
    """Take an OUT that stands after a flag, which argparse leaves over; raise UsageError for more than one, and flags.

    `encode` and `decode` take several `inputs`, and the last name is OUT: they say whether that may be. Any other
    command takes one: a second one, as a pattern of the shell gives, must not pass for something else.
    """
    flag = next((one for one in others if one.startswith("-") and one != "-"), None)
    if flag is not None:
        raise UsageError(f"{flag} is no flag of {options.command} (see regrain {options.command} --help)")
    if others and "output" in vars(options) and options.output is None:
        options.output = others.pop(0)
    if "inputs" in vars(options):
        names = [options.input, *filter(None, [options.output]), *others]
        options.inputs, options.output = (names[:-1], names[-1]) if len(names) > 1 else (names, None)
    elif others:
        takes = "one input and one output" if "output" in vars(options) else "one input"
        raise UsageError(f"{others[0]} is one name too many: {options.command} takes {takes} at a time")


def size(text: str) -> int:
    """A count with an optional unit, in either case: `20k` is 20,000, `1.5M` is 1,500,000, `1Ki` is 1,024."""
    match = _FIGURE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 12345, 20k, 1.5M or 64Ki")
    return round(Fraction(match[1]) * _UNITS[(match[2] or "").lower()])


def command(
    commands: "Subparsers[Parser]",
    name: str,
    what: str,
    run: Callable[[argparse.Namespace], None],
    devices: str | None = "onnx (default), or torch's cpu or cuda",
) -> Parser:
    """A command with the flags that all have in common; `devices` is what the help says of them, None for none."""
    parser = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
    parser.set_defaults(run=run)
    common = parser.add_argument_group(COMMON)
    common.add_argument("--json", action="store_true", help="one JSON object on stdout (on stderr where OUT is -)")
    common.add_argument("-v", "--verbose", action="store_true", help="say more; a traceback where something fails")
    common.add_argument("--quiet", action="store_true", help="say nothing but errors")
    if devices:
        common.add_argument("--device", metavar="NAME", help=devices)
    threads = "threads to compute with (default: $OMP_NUM_THREADS, or all cores)"
    common.add_argument("--threads", metavar="N", type=whole_number, help=threads)
    return parser


def add_overwrite(parser: Parser) -> None:
    """For a command that writes one file, which is not to cost another."""
    what = "replace an existing output (default: refuse)"
    common(parser).add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help=what)


def common(parser: Parser) -> argparse._ArgumentGroup:
    """The group of the flags that every command has."""
    (group,) = (group for group in parser._action_groups if group.title == COMMON)
    return group


def _add_encode(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "encode", "Write a picture as a .rgn file.", encode)
    what = "a picture in any format that Pillow reads, or its URL; - is stdin. A folder, a pattern, or several of these"
    parser.add_argument("input", metavar="IN", help=what)
    what = "default: IN with the suffix .rgn; - is stdout. For many pictures a folder, OUT/, or its URL"
    parser.add_argument("output", metavar="OUT", nargs="?", help=what)
    add_rate(parser, default="50")
    methods = "conditional, progressive or palette (default: that of the weights)"
    parser.add_argument("--method", metavar="NAME", help=methods)
    add_model(parser)
    add_overwrite(parser)
    _add_limits(parser)
    add_metadata(parser)
    add_many(parser)


def _add_decode(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "decode", "Write a .rgn file as a picture.", decode)
    what = "a .rgn file, or its URL; - is stdin. A folder, a pattern, or several of these"
    parser.add_argument("input", metavar="IN", help=what)
    what = "default: IN with the suffix .png; - is stdout (PNG). For many pictures a folder, OUT/, or its URL"
    parser.add_argument("output", metavar="OUT", nargs="?", help=what)
    drawing = parser.add_argument_group("how the picture is drawn")
    what = (
        "denoising steps, 1 to 1000 (default: 1, which looks alike for all seeds); auto is as many as end in --budget"
    )
    add_realism(drawing, _steps, what)
    drawing.add_argument("--budget", type=float, metavar="SECONDS", help=f"with --steps auto (default: {SECONDS:g})")
    what = "fresh noise in each step after the first: 0 DDIM to 1 DDPM (default: 0)"
    drawing.add_argument("--eta", type=float, default=0.0, metavar="E", help=what)
    what = "noise that the default method starts from, 0 none to 1 the schedule's (default: 1); at 0 seeds are alike"
    drawing.add_argument("--init-noise", type=float, default=1.0, metavar="GAMMA", help=what)
    what = "rule of a step: ddim with --eta (default), ancestral (DDPM) or second-order (DPM-Solver++)"
    drawing.add_argument("--sampler", choices=SAMPLERS, default="ddim", help=what)
    what = "a grey picture of the same size that scales realism by place: black stays faithful, white is drawn"
    drawing.add_argument("--realism-map", metavar="MASK", help=what)
    what = (
        "write, too, where the picture was drawn by chance: the standard deviation over seeds, with a colour bar; "
        "takes 2 steps where --steps says nothing"
    )
    drawing.add_argument("--map", metavar="PICTURE", help=what)
    what = "seeds for --map, 2 to 1000 (default: 8)"
    drawing.add_argument("--map-seeds", type=int, default=8, metavar="N", help=what)
    add_decoded_repair(drawing)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--region", metavar="X,Y,W,H", type=_region, help="decode this part alone, in pixels")
    part.add_argument("--max-size", metavar="N", type=size, help="fit into N x N pixels; quick where N is small")
    parser.add_argument("--partial", action="store_true", help="decode what is whole of a damaged file")
    _add_limits(parser)
    add_model(parser)
    add_overwrite(parser)
    add_metadata(parser)
    add_many(parser, formats=True)


def _add_inspect(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "inspect", "Say what a .rgn file holds, without decoding it.", inspect, None)
    parser.add_argument("input", metavar="FILE", help="a .rgn file; - is stdin")


def _add_repair(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "repair", "Write a picture with less of what compression or noise did to it.", repair)
    parser.add_argument("input", metavar="IN", help="a picture in any format that Pillow reads, or its URL; - is stdin")
    what = "default: IN with the suffix .repaired.png; - is stdout (PNG)"
    parser.add_argument("output", metavar="OUT", nargs="?", help=what)
    add_repair(parser)
    _add_limits(parser)
    add_model(parser)
    add_overwrite(parser)
    add_metadata(parser)


def _add_serve(commands: "Subparsers[Parser]") -> None:
    what = "Show a folder over HTTP, its .rgn files as pictures too: FILE.rgn?format=png; needs regrain[serve]."
    parser = command(commands, "serve", what, serve, None)
    parser.add_argument("input", metavar="DIR", nargs="?", default=".", help="the folder (default: the current one)")
    add_address(parser)
    _add_limits(parser)


def add_rate(parser: Parser, *, default: str) -> None:
    """Quality, or a target of bytes or bits a pixel; `default` is what the help says of none."""
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("-q", "--quality", type=float, metavar="Q", help=f"0 to 100, decimals too (default: {default})")
    rate.add_argument("--target-size", type=size, metavar="BYTES", help="largest file, as 20k or 1.5M")
    rate.add_argument("--target-bpp", type=float, metavar="B", help="largest file, in bits a pixel")


def add_realism(
    parser: argparse._ActionsContainer,
    steps: Callable[[str], int | str] = int,
    what: str = "denoising steps, 1 to 1000 (default: 1)",
) -> None:
    """For a command that decodes: steps, read by `steps` and described by `what`, realism and seed."""
    parser.add_argument("--steps", type=steps, metavar="N", help=what)
    parser.add_argument("--realism", type=float, default=1.0, metavar="R", help="0 faithful to 1 textured (default: 1)")
    what = "of the noise; the same gives the same pixels on the same machine and threads"
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=what)


def add_model(parser: Parser) -> None:
    """For a command that needs weights."""
    what = "a .safetensors file, or a method's name for the package's own (default: the package's)"
    common(parser).add_argument("--model", metavar="WEIGHTS", help=what)


def add_max_pixels(parser: Parser) -> None:
    """For a command that reads a picture."""
    what = "refuse larger ones (default: 250M)"
    parser.add_argument("--max-pixels", metavar="N", type=size, default=250_000_000, help=what)


def _add_limits(parser: Parser) -> None:
    add_max_pixels(parser)
    what = "refuse to need more (default: half of what there is)"
    parser.add_argument("--max-memory", metavar="BYTES", type=size, help=what)


def _steps(text: str) -> int | str:
    """A number of steps, or the word for as many as there is time for."""
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number or auto is") from None


def _region(text: str) -> tuple[int, ...]:
    sides = text.split(",")
    if len(sides) != 4 or not all(side.strip().isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; left, top, width and height are, as 0,0,256,256")
    return tuple(int(side) for side in sides)
