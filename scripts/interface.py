"""The command line as plain records, read off its parser: the man page and the completions of shells are made of them.

The commands are those of this distribution: commands that other packages add take no part.
"""

import argparse
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest.mock import patch

from regrain.cli import parser as flags
from regrain.options import METHODS

ROOT = Path(__file__).resolve().parents[1]

PLAIN = ("positional arguments", "options", flags.COMMON)
"""Groups whose titles say nothing of what is in them."""
FOLDERS = "/"
FILES = {
    "IN": "*", "OUT": "*", "FILE": "*", "IMAGE": "*", "PICTURE": "*", "MASK": "*",
    "WEIGHTS": "*.safetensors", "RECIPE": "*.toml", "DIR": FOLDERS, "FOLDER": FOLDERS,
}  # fmt: skip
"""Which files a value may name, by what stands for it in the help up to a dot; values that are not here name none."""
READERS = ("decode", "inspect")
"""Commands whose inputs are .rgn files."""
WORDS = {"method": METHODS, "device": ("onnx", "cpu", "cuda"), "steps": ("auto",)}
"""Words that a flag takes although the parser does not list them: those that its help names, too."""


@dataclass(frozen=True)
class Argument:
    """A flag, or an argument by position where `names` is empty.

    `value` stands for what it takes ("" for a switch), `words` are values that can be listed, `files` is a pattern of
    the files that it can name (FOLDERS: folders alone; "": none), `others` are the flags that it excludes, and `group`
    is the title that the help has over it, with what it says there ("" where it is among all others).
    """

    names: tuple[str, ...]
    help: str
    value: str
    many: bool
    needed: bool
    words: tuple[str, ...]
    files: str
    others: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class Command:
    """A command with its flags, those of a group together, and its arguments by position.

    Where an argument by position is `many`, those after it take what comes last.
    """

    name: str
    what: str
    flags: tuple[Argument, ...]
    positions: tuple[Argument, ...]


def interface() -> tuple[Command, ...]:
    """The program itself, without a name, then each of its commands."""
    top = _parser()
    (subparsers,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    parsers = {"": top, **subparsers.choices}
    return tuple(_command(name, parser) for name, parser in parsers.items())


class _Built(Exception):  # noqa: N818 - it reports no error
    pass


def _parser() -> argparse.ArgumentParser:
    """The parser as `parse` builds it, taken where it is about to read the first argument."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    added = project["entry-points"][flags.ENTRY_POINTS]
    entries = [EntryPoint(name, where, flags.ENTRY_POINTS) for name, where in added.items()]
    with (
        patch.object(flags, "entry_points", return_value=entries),
        patch.object(flags.Parser, "parse_known_args", autospec=True, side_effect=_Built) as reading,
        suppress(_Built),
    ):
        flags.parse([])
    parser: argparse.ArgumentParser = reading.call_args.args[0]
    return parser


def _command(name: str, parser: argparse.ArgumentParser) -> Command:
    found = list(_arguments(name, parser))
    return Command(
        name,
        parser.description or "",
        tuple(one for one in found if one.names),
        tuple(one for one in found if not one.names),
    )


def _arguments(command: str, parser: argparse.ArgumentParser) -> Iterator[Argument]:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
                continue
            text = formatter._expand_help(action) if action.help else ""
            value = _value(action)
            yield Argument(
                names=tuple(action.option_strings),
                help=text,
                value=value,
                many=action.nargs in ("+", "*") or _repeats(parser, action),
                needed=action.required,
                words=_words(action, text),
                files=_files(command, action, value),
                others=_others(parser, action),
                group="" if group.title in PLAIN else ": ".join(filter(None, (group.title, group.description))),
            )


def _repeats(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    """Whether it is the input of a command that takes several: `parse` gathers them in `inputs`."""
    return action.dest == "input" and parser.get_default("inputs") is not None


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None and not action.metavar:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _words(action: argparse.Action, text: str) -> tuple[str, ...]:
    if action.choices is not None:
        return tuple(map(str, action.choices))
    return tuple(word for word in WORDS.get(action.dest, ()) if word in text)


def _files(command: str, action: argparse.Action, value: str) -> str:
    files = FILES.get(value.partition(".")[0], "")
    reads = command in READERS and not action.option_strings and value != "OUT"
    return "*.rgn" if files and reads else files


def _others(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, ...]:
    return tuple(
        name
        for group in parser._mutually_exclusive_groups
        if action in group._group_actions
        for other in group._group_actions
        if other is not action
        for name in other.option_strings
    )
