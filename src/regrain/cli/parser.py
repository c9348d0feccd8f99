"""The flags of every command: text to options, nothing run, nothing imported that is heavy.

A value that cannot be read as its type is refused here, and by the table of ranges of the Python functions the rest.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import NoReturn

import regrain
from regrain.cli.batches import decode, encode
from regrain.cli.commands import inspect
from regrain.cli.flags import (
    add_address,
    add_limits,
    add_many,
    add_max_memory,
    add_metadata,
    add_rate,
    add_realism,
    add_sampler,
    add_seed,
    size,
    whole_number,
)
from regrain.cli.models import models
from regrain.cli.repair import add_decoded_repair, add_repair, repair
from regrain.cli.sampling import pair, sample
from regrain.cli.serve import serve
from regrain.cli.terminal import say
from regrain.diffusion.budget import SECONDS
from regrain.errors import UsageError
from regrain.options import CONTENTS, RANGES, SCHEDULES, check_arguments

__all__ = [
    "Parser", "Subparsers", "add_model", "add_overwrite", "command", "common", "parse", "size",
]  # fmt: skip

ENTRY_POINTS = "regrain.commands"
"""The group of entry points through which other packages add commands: functions of the subparsers."""

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
    own = {
        "encode": _add_encode,
        "decode": _add_decode,
        "inspect": _add_inspect,
        "repair": _add_repair,
        "sample": _add_sample,
        "models": _add_models,
        "serve": _add_serve,
    }
    for add in own.values():
        add(commands)
    if not own.keys() & set(arguments[:1]):
        for entry in entry_points(group=ENTRY_POINTS):
            entry.load()(commands)
    options, others = parser.parse_known_args(arguments)
    _place(others, options)
    vars(options).update(
        check_arguments(
            **{name: value for name, value in vars(options).items() if name in {*RANGES, "sampler", "schedule", "fast"}}
        )
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
        takes = " and ".join(f"one {name}" for name in ("input", "output") if name in vars(options))
        raise UsageError(f"{others[0]} is one name too many: {options.command} takes {takes} at a time")


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
    add_rate(parser.add_argument_group("how large the file becomes"), default="50", metrics=True)
    methods = "conditional, progressive or palette (default: that of the weights)"
    parser.add_argument("--method", metavar="NAME", help=methods)
    what = "which of the package's weights: auto (default) looks at the picture, and takes a doubtful one for a photo"
    parser.add_argument("--content", choices=CONTENTS, default="auto", help=what)
    what = "of the squares that are coded apart, a power of 2 from 64 to 32768: a broken file keeps whole ones"
    parser.add_argument("--tile", type=int, default=1024, metavar="SIDE", help=f"{what} (default: 1024)")
    add_model(parser)
    add_overwrite(parser)
    add_limits(parser)
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
    what = "noise that the default method starts from, 0 none to 1 the schedule's (default: 1); at 0 seeds are alike"
    drawing.add_argument("--init-noise", type=float, default=1.0, metavar="GAMMA", help=what)
    add_sampler(drawing)
    what = "a grey picture of the same size that scales realism by place: black stays faithful, white is drawn"
    drawing.add_argument("--realism-map", metavar="MASK", help=what)
    what = (
        "write, too, where the picture was drawn by chance: the standard deviation over seeds, with a colour bar; "
        "takes 3 steps where --steps says nothing"
    )
    drawing.add_argument("--map", metavar="PICTURE", help=what)
    what = "seeds for --map, 2 to 1000 (default: 8)"
    drawing.add_argument("--map-seeds", type=int, default=8, metavar="N", help=what)
    what = "one step by a smaller network, for a third of the arithmetic (default method)"
    drawing.add_argument("--fast", action="store_true", help=what)
    add_decoded_repair(drawing)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--region", metavar="X,Y,W,H", type=_region, help="decode this part alone, in pixels")
    part.add_argument("--max-size", metavar="N", type=size, help="fit into N x N pixels; quick where N is small")
    parser.add_argument("--partial", action="store_true", help="decode what is whole of a damaged file")
    what = "with --partial: draw what is lost, by the noise of --seed; --json says which boxes of the picture it is"
    parser.add_argument("--fill", action="store_true", help=what)
    add_limits(parser)
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
    add_limits(parser)
    add_model(parser)
    add_overwrite(parser)
    add_metadata(parser)


def _add_sample(commands: "Subparsers[Parser]") -> None:
    what = "Draw pictures from noise alone, by the diffusion model of the progressive method."
    parser = command(commands, "sample", what, sample)
    parser.add_argument("output", metavar="OUT", help="the sheet of pictures; - is stdout (PNG)")
    what = "rows and columns of the sheet, of pictures with seeds from --seed on (default: 4x4)"
    parser.add_argument("--grid", type=pair, default=(4, 4), metavar="ROWSxCOLUMNS", help=what)
    what = "width and height of each picture in pixels, as 96 or 128x64 (default: 64)"
    parser.add_argument("--size", type=pair, default=(64, 64), metavar="WIDTHxHEIGHT", help=what)
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="of denoising, 1 to 1000 (default: 50)")
    add_sampler(parser)
    what = "how much noise each of the evenly spaced times has (default: log-linear)"
    parser.add_argument("--schedule", choices=SCHEDULES, default="log-linear", help=what)
    add_seed(parser)
    add_max_memory(parser)
    add_model(parser)
    add_overwrite(parser)


def _add_models(commands: "Subparsers[Parser]") -> None:
    parser = command(commands, "models", "Say which weights are on this machine, or fetch some.", models, None)
    what = "a folder of models that save_pretrained wrote, listed beside the package's and those in the hub's cache"
    parser.add_argument("input", metavar="DIR", nargs="?", help=what)
    what = "fetch hf://ORG/NAME, or what is new of it, check it, and list it alone; needs regrain[hub]"
    parser.add_argument("--fetch", metavar="NAME", help=what)


def _add_serve(commands: "Subparsers[Parser]") -> None:
    what = "Show a folder over HTTP, its .rgn files as pictures too: FILE.rgn?format=png; needs regrain[serve]."
    parser = command(commands, "serve", what, serve, None)
    parser.add_argument("input", metavar="DIR", nargs="?", default=".", help="the folder (default: the current one)")
    add_address(parser)
    add_limits(parser)


def add_model(parser: Parser) -> None:
    """For a command that needs weights."""
    what = "a .safetensors file, hf://ORG/NAME, or a method's name for the package's own (default: the package's)"
    common(parser).add_argument("--model", metavar="WEIGHTS", help=what)


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
