"""The man page, and all files of `share/` that a package installs: made from the parser, never written by hand.

    python scripts/manual.py      (make docs)

`share/` has the man page and the completions of bash, zsh and fish, in the folders where systems look for them.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import regrain
from regrain import errors
from scripts import completion
from scripts.interface import ROOT, Argument, Command, interface

SHARE = ROOT / "share"
ENDS = {
    "0": "The command did what it was asked to do.",
    "1": "A picture among many failed, which the summary names; or this program has a fault.",
    "130": "It was interrupted (Ctrl-C).",
    "141": "The reader of its output closed the pipe.",
    "143": "It was told to end (SIGTERM).",
}
"""Exit codes that no error has."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "Threads to compute with where --threads does not say.",
    "RAY_ADDRESS": "The cluster of --engine ray where --ray-address does not say.",
    "REGRAIN_LPIPS": "Weights of LPIPS for compare where --lpips does not say.",
}
EXAMPLES = {
    "regrain encode photo.png photo.rgn -q 40": "Write a photo as a file of a few kilobytes.",
    "regrain encode photo.png --target-size 20k": "Write photo.rgn, of at most 20,000 bytes.",
    "regrain decode photo.rgn back.png --realism 0": "Write the faithful picture instead of the textured one.",
    "regrain encode photos/ packed/ --skip-existing": "Write every picture of a folder; go on where a run was killed.",
    "regrain inspect photo.rgn --json": "Say what a file holds, for a script.",
}


def files() -> dict[str, str]:
    """Every file of `share/`, by its path there."""
    commands = interface()
    return {
        "man/man1/regrain.1": page(commands),
        "bash-completion/completions/regrain": completion.bash(commands),
        "zsh/site-functions/_regrain": completion.zsh(commands),
        "fish/vendor_completions.d/regrain.fish": completion.fish(commands),
    }


def page(commands: tuple[Command, ...]) -> str:
    """The man page in the macros of man(7); flags that all commands share are described once."""
    top, *others = commands
    shared = [flag for flag in others[0].flags if all(flag in command.flags for command in others)]
    lines = [
        '.\\" Made by `make docs` from the parser of the flags: change that one.',
        f'.TH REGRAIN 1 "" "regrain {regrain.__version__}" "User Commands"',
        ".SH NAME",
        "regrain \\- image codec whose decoder is a diffusion model",
        ".SH SYNOPSIS",
        *_lines(_synopsis(command) for command in others),
        ".SH DESCRIPTION",
        _text(top.what),
        "A photo becomes a file of a few kilobytes, which comes back with texture instead of blur.",
        "An input or an output named \\- is the standard stream.",
        ".SH OPTIONS",
        *_described(top.flags),
        ".SS Of every command",
        *_described(flag for flag in shared if flag not in top.flags),
        ".SH COMMANDS",
    ]
    for command in others:
        lines += [f".SS {_synopsis(command)}", _text(command.what), *_described(command.positions)]
        lines += _described(flag for flag in command.flags if flag not in shared)
    lines += [".SH EXIT STATUS", *_pairs(_exits())]
    lines += [".SH ENVIRONMENT", *_pairs(ENVIRONMENT), ".SH EXAMPLES", *_pairs(EXAMPLES)]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> str:
    places = [
        f"{'' if one.needed else '['}\\fI{_text(one.value)}\\fR{' ...' if one.many else ''}{'' if one.needed else ']'}"
        for one in command.positions
    ]
    return " ".join([f"\\fBregrain {command.name}\\fR [\\fIoption\\fR ...]", *places])


def _lines(rows: Iterator[str]) -> Iterator[str]:
    """Rows that are not run together."""
    for index, row in enumerate(rows):
        yield from ([".br"] if index else [])
        yield row


def _described(arguments: Iterator[Argument] | Sequence[Argument]) -> Iterator[str]:
    group = ""
    for argument in sorted(arguments, key=lambda one: one.group != ""):
        if argument.group != group:
            group = argument.group
            yield from (".PP", f"{_text(group[:1].upper() + group[1:])}.")
        value = f"\\fI{_text(argument.value)}\\fR" + (" ..." if argument.many else "") if argument.value else ""
        names = [" ".join(filter(None, (f"\\fB{_text(name)}\\fR", value))) for name in argument.names]
        yield from (".TP", ", ".join(names) or value, _text(argument.help))


def _pairs(rows: dict[str, str]) -> Iterator[str]:
    for name, text in rows.items():
        yield from (".TP", f"\\fB{_text(name)}\\fR", _text(text))


def _exits() -> dict[str, str]:
    """Exit codes by number: those of the errors, as the errors say of themselves, and the rest."""
    found = {
        str(error.exit_code): (error.__doc__ or "").partition("\n")[0]
        for error in vars(errors).values()
        if isinstance(error, type) and "exit_code" in vars(error) and error is not errors.RegrainError
    }
    return dict(sorted({**ENDS, **found}.items(), key=lambda row: int(row[0])))


def _text(text: str) -> str:
    """Text that troff takes as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        path = SHARE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
