"""The flags of every command: text to options, nothing run, nothing imported that is heavy.

A value that cannot be read as its type is refused here, and by the table of ranges of the Python functions the rest.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import regrain
from regrain.cli.commands import decode, distill, encode, inspect, train
from regrain.cli.compare import compare
from regrain.cli.evaluate import evaluate
from regrain.cli.terminal import say
from regrain.diffusion.budget import SECONDS
from regrain.errors import UsageError
from regrain.options import RANGES, checked

__all__ = ["parse", "size"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_FIGURE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmg]i?)?b?", re.IGNORECASE)
_MAX_THREADS = 1024
COMMON = "common"
"""The group of the flags that no command has alone."""

_Subparsers = argparse._SubParsersAction


class _Parser(argparse.ArgumentParser):
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
    parser = _Parser(
        prog="regrain", description="An image codec whose decoder is a diffusion model.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"regrain {regrain.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_encode, _add_decode, _add_inspect, _add_compare, _add_train, _add_distill, _add_evaluate):
        add(commands)
    options, others = parser.parse_known_args(arguments)
    _place(others, options)
    vars(options).update(checked(**{name: value for name, value in vars(options).items() if name in RANGES}))
    return options


def _place(others: list[str], options: argparse.Namespace) -> None:
    """Take an OUT that stands after a flag, which argparse leaves over; raise UsageError for more than one, and flags.

    Every command takes one input: a second one, as a pattern of the shell gives, must not pass for something else.
    """
    flag = next((one for one in others if one.startswith("-") and one != "-"), None)
    if flag is not None:
        raise UsageError(f"{flag} is no flag of {options.command} (see regrain {options.command} --help)")
    if others and "output" in vars(options) and options.output is None:
        options.output = others.pop(0)
    if others:
        takes = "one input and one output" if "output" in vars(options) else "one input"
        raise UsageError(f"{others[0]} is one name too many: {options.command} takes {takes} at a time")


def size(text: str) -> int:
    """A count with an optional unit, in either case: `20k` is 20,000, `1.5M` is 1,500,000, `1Ki` is 1,024."""
    match = _FIGURE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 12345, 20k, 1.5M or 64Ki")
    return round(Fraction(match[1]) * _UNITS[(match[2] or "").lower()])


def _command(
    commands: "_Subparsers[_Parser]", name: str, what: str, run: Callable[[argparse.Namespace], None]
) -> _Parser:
    """A command with the flags that all have in common."""
    parser = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
    parser.set_defaults(run=run)
    common = parser.add_argument_group(COMMON)
    common.add_argument("--json", action="store_true", help="one JSON object on stdout (on stderr where OUT is -)")
    common.add_argument("-v", "--verbose", action="store_true", help="say more; a traceback where something fails")
    common.add_argument("--quiet", action="store_true", help="say nothing but errors")
    common.add_argument("--device", metavar="NAME", help="as cuda or cpu (default), or onnx, to decode without torch")
    common.add_argument("--threads", metavar="N", type=_threads, help="threads to compute with (default: torch's)")
    return parser


def _add_overwrite(parser: _Parser) -> None:
    """For a command that writes one file, which is not to cost another."""
    common = _common(parser)
    what = "replace an existing output (default: refuse)"
    common.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help=what)


def _add_resume(parser: _Parser) -> None:
    """For a command that fills a folder, and goes on there when it is started again."""
    what = "refuse to go on where there are results"
    _common(parser).add_argument("--no-overwrite", dest="overwrite", action="store_false", help=what)


def _common(parser: _Parser) -> argparse._ArgumentGroup:
    (group,) = (group for group in parser._action_groups if group.title == COMMON)
    return group


def _add_encode(commands: "_Subparsers[_Parser]") -> None:
    parser = _command(commands, "encode", "Write a picture as a .rgn file.", encode)
    parser.add_argument("input", metavar="IN", help="a picture in any format that Pillow reads; - is stdin")
    parser.add_argument("output", metavar="OUT", nargs="?", help="default: IN with the suffix .rgn; - is stdout")
    _add_rate(parser, default="50")
    methods = "conditional, progressive or palette (default: that of the weights)"
    parser.add_argument("--method", metavar="NAME", help=methods)
    _add_model(parser)
    _add_overwrite(parser)
    _add_limits(parser)


def _add_decode(commands: "_Subparsers[_Parser]") -> None:
    parser = _command(commands, "decode", "Write a .rgn file as a picture.", decode)
    parser.add_argument("input", metavar="IN", help="a .rgn file; - is stdin")
    parser.add_argument(
        "output",
        metavar="OUT",
        nargs="?",
        help="default: IN with the suffix .png; - is stdout (PNG)",
    )
    _add_realism(
        parser,
        _steps,
        "denoising steps, 1 to 1000 (default: 1; more hardly change what the default method draws); "
        "auto is as many as end in --budget",
    )
    parser.add_argument("--budget", type=float, metavar="SECONDS", help=f"with --steps auto (default: {SECONDS:g})")
    parser.add_argument(
        "--eta",
        type=float,
        default=0.0,
        metavar="E",
        help="fresh noise in each step after the first: 0 DDIM to 1 DDPM (default: 0)",
    )
    parser.add_argument("--partial", action="store_true", help="decode what is whole of a damaged file")
    _add_limits(parser)
    _add_model(parser)
    _add_overwrite(parser)


def _add_inspect(commands: "_Subparsers[_Parser]") -> None:
    parser = _command(commands, "inspect", "Say what a .rgn file holds, without decoding it.", inspect)
    parser.add_argument("input", metavar="FILE", help="a .rgn file; - is stdin")


def _add_compare(commands: "_Subparsers[_Parser]") -> None:
    what = "Draw a picture beside regrain, JPEG, WebP and AVIF at equal bytes."
    parser = _command(commands, "compare", what, compare)
    parser.add_argument("input", metavar="IMAGE", help="a picture in any format that Pillow reads; - is stdin")
    parser.add_argument("output", metavar="OUT", nargs="?", help="default: IMAGE with the suffix .compare.png")
    _add_rate(parser, default="0.2 bits a pixel")
    _add_realism(parser)
    _add_max_pixels(parser)
    parser.add_argument(
        "--lpips",
        metavar="WEIGHTS",
        type=Path,
        help="LPIPS as safetensors, to measure it too (default: $REGRAIN_LPIPS)",
    )
    _add_model(parser)
    _add_overwrite(parser)


def _add_train(commands: "_Subparsers[_Parser]") -> None:
    _add_recipe(_command(commands, "train", "Train a model; a run that was stopped goes on where it was.", train))


def _add_distill(commands: "_Subparsers[_Parser]") -> None:
    what = "Train a model's decoder for few steps, its files unchanged; a run that was stopped goes on where it was."
    _add_recipe(_command(commands, "distill", what, distill))


def _add_recipe(parser: _Parser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", type=Path, help="a TOML file, as those in recipes/")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where checkpoints and logs go (default: the recipe's)")
    _add_resume(parser)


def _add_evaluate(commands: "_Subparsers[_Parser]") -> None:
    what = "Measure regrain and other encoders on a folder of pictures: a table, charts, BD-rates."
    parser = _command(commands, "evaluate", what, evaluate)
    parser.add_argument("input", metavar="DIR", help="a folder of pictures")
    out = "folder of the results; what its table has is not measured again (default: DIR.results)"
    parser.add_argument("output", metavar="OUT", nargs="?", help=out)
    codecs = "regrain and the encoders to measure, with settings if you like: JPEG=10,50,90 (default: all)"
    parser.add_argument("--codecs", metavar="NAME", nargs="+", default=[], help=codecs)
    _add_list(
        parser, "--qualities", "qualities", "Q", float, [0.0, 15.0, 30.0, 45.0, 60.0, 80.0, 100.0], "-q of regrain"
    )
    _add_list(parser, "--realism", "realisms", "R", float, [0.0, 1.0], "ways to decode regrain's files, each")
    _add_list(parser, "--steps", "step_counts", "N", int, [1], "with each of these")
    weights = "weights of LPIPS, VGG16, DISTS or PieAPP, known by what is in them, to measure these too"
    parser.add_argument("--weights", metavar="FILE", type=Path, nargs="+", default=[], help=weights)
    jobs = "processes that share the work, and spoil each other's timings (default: 1)"
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help=jobs)
    reference = "a folder with tables of published points, to be drawn as such"
    parser.add_argument("--reference", metavar="FOLDER", type=Path, help=reference)
    _add_model(parser)
    _add_resume(parser)


def _add_list(
    parser: _Parser, flag: str, dest: str, metavar: str, kind: type[int | float], default: Sequence[float], what: str
) -> None:
    shown = " ".join(f"{value:g}" for value in default)
    text = f"{what} (default: {shown})"
    parser.add_argument(flag, dest=dest, metavar=metavar, type=kind, nargs="+", default=default, help=text)


def _add_rate(parser: _Parser, *, default: str) -> None:
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("-q", "--quality", type=float, metavar="Q", help=f"0 to 100, decimals too (default: {default})")
    rate.add_argument("--target-size", type=size, metavar="BYTES", help="largest file, as 20k or 1.5M")
    rate.add_argument("--target-bpp", type=float, metavar="B", help="largest file, in bits a pixel")


def _add_realism(
    parser: _Parser,
    steps: Callable[[str], int | str] = int,
    what: str = "denoising steps, 1 to 1000 (default: 1)",
) -> None:
    parser.add_argument("--steps", type=steps, default=1, metavar="N", help=what)
    parser.add_argument("--realism", type=float, default=1.0, metavar="R", help="0 faithful to 1 textured (default: 1)")
    what = "of the noise; the same gives the same pixels on the same machine and threads"
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=what)


def _add_model(parser: _Parser) -> None:
    _common(parser).add_argument(
        "--model",
        metavar="WEIGHTS",
        help="a .safetensors file, or a method's name for the package's own (default: the package's)",
    )


def _add_max_pixels(parser: _Parser) -> None:
    parser.add_argument(
        "--max-pixels", metavar="N", type=size, default=250_000_000, help="refuse larger ones (default: 250M)"
    )


def _add_limits(parser: _Parser) -> None:
    _add_max_pixels(parser)
    parser.add_argument(
        "--max-memory", metavar="BYTES", type=size, help="refuse to need more (default: half of what there is)"
    )


def _steps(text: str) -> int | str:
    """A number of steps, or the word for as many as there is time for."""
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number or auto is") from None


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 1 to {_MAX_THREADS} is")
    return int(text)
