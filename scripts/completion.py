"""Completion of the command line in bash, zsh and fish, each as one file of the shell's own language.

Flags are completed by command, values where the parser lists them, and file names by the suffix that a place takes.
"""

from collections.abc import Iterator
from itertools import groupby

from scripts.interface import FOLDERS, Argument, Command

HEAD = "Completion of regrain in {}. Made by `make docs` from the parser of its flags: change that one."

BASH = r"""
# A line an answer, added to the answers.
_regrain_add() {
    local line
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <("$@")
}

_regrain_words() {
    _regrain_add compgen -W "$*" -- "$cur"
}

# Folders, and the files of a pattern.
_regrain_files() {
    compopt -o filenames 2>/dev/null
    _regrain_add compgen -d -- "$cur"
    [[ $1 == / ]] || _regrain_add compgen -f -X "!$1" -- "$cur"
}

_regrain() {
    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} flag='' takes='' word index position=0
    COMPREPLY=()
    [[ $cur == = ]] && cur=''  # --flag=value comes as three words
    for ((index = 2; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
            =) ;;
            -?*) flag=$word; _regrain_takes ;;
            *) [[ -n $takes ]] || position=$((position + 1)); [[ $takes == many ]] || takes='' ;;
        esac
    done
    if ((COMP_CWORD == 1)); then
        command=''
        _regrain_flags
    elif [[ $cur == -* && $takes != one ]]; then
        _regrain_flags
    elif [[ -n $takes ]]; then
        _regrain_values "$flag"
    else
        _regrain_values "$position"
    fi
}

complete -F _regrain regrain
"""


def bash(commands: tuple[Command, ...]) -> str:
    """The file share/bash-completion/completions/regrain."""
    names = [one.name for one in commands if one.name]
    offers = [f"        '') _regrain_words {' '.join([*names, *_names(commands[0])])} ;;"]
    offers += [f"        {one.name}) _regrain_words {' '.join(_names(one))} ;;" for one in commands if one.name]
    lines = [
        f"# {HEAD.format('bash')}",
        "",
        "# The flags of a command.",
        *_bash_case("_regrain_flags", "$command", offers),
        "# How many values a flag takes.",
        *_bash_case("_regrain_takes", "$command $flag", ["        *) takes='' ;;"], _bash_takes(commands)),
        "# The values of a flag, or of an argument by its position.",
        *_bash_case("_regrain_values", "$command $1", [], _bash_values(commands)),
    ]
    return "\n".join(lines).rstrip("\n") + "\n" + BASH


def _bash_case(name: str, subject: str, rest: list[str], pairs: Iterator[tuple[str, str]] | None = None) -> list[str]:
    """A function of one `case`: patterns with the same answer stand together where they are neighbours."""
    lines = [f"{name}() {{", f'    case "{subject}" in']
    for answer, group in groupby(pairs or (), key=lambda pair: pair[1]):
        lines.append(f"        {' | '.join(pattern for pattern, _ in group)}) {answer} ;;")
    return [*lines, *rest, "    esac", "}", ""]


def _bash_takes(commands: tuple[Command, ...]) -> Iterator[tuple[str, str]]:
    for command in commands:
        for flag in filter(lambda flag: flag.value, command.flags):
            for name in flag.names:
                yield f"'{command.name} {name}'", f"takes={'many' if flag.many else 'one'}"


def _bash_values(commands: tuple[Command, ...]) -> Iterator[tuple[str, str]]:
    for command in commands:
        for flag in command.flags:
            if answer := _bash_answer(flag):
                yield from ((f"'{command.name} {name}'", answer) for name in flag.names)
        for index, argument in enumerate(command.positions):
            if answer := _bash_answer(argument):
                yield f"'{command.name} '" + ("[0-9]*" if _is_open(command, argument) else str(index)), answer


def _bash_answer(argument: Argument) -> str:
    if argument.words:
        return f"_regrain_words {' '.join(argument.words)}"
    return f"_regrain_files '{argument.files}'" if argument.files else ""


def zsh(commands: tuple[Command, ...]) -> str:
    """The file share/zsh/site-functions/_regrain."""
    top, *others = commands
    lines = [
        "#compdef regrain",
        f"# {HEAD.format('zsh')}",
        "",
        "local curcontext=$curcontext state line",
        "local -a commands",
        "typeset -A opt_args",
        "",
        "_arguments -C \\",
        *(f"  {_zsh_flag(flag)} \\" for flag in top.flags),
        "  '1:command:->command' \\",
        "  '*:: :->argument' && return 0",
        "",
        "case $state in",
        "  command)",
        "    commands=(",
        *(f"      {_quote(f'{one.name}:{one.what}')}" for one in others),
        "    )",
        "    _describe -t commands command commands",
        "    ;;",
        "  argument)",
        "    case $words[1] in",
    ]
    for command in others:
        specs = [_zsh_flag(flag) for flag in command.flags]
        specs += [_zsh_position(index, one, _is_open(command, one)) for index, one in enumerate(command.positions, 1)]
        lines += [f"      {command.name})", " \\\n          ".join(["        _arguments", *specs]), "        ;;"]
    return "\n".join([*lines, "    esac", "    ;;", "esac"]) + "\n"


def _zsh_flag(flag: Argument) -> str:
    ends = (flag.names[0] in ("-h", "--version")) and "- : *"
    without = f"({ends or ' '.join([*flag.names, *flag.others])})"
    names = [name + ("" if not flag.value else "=" if name.startswith("--") else "+") for name in flag.names]
    text = f"[{_zsh_text(flag.help)}]"
    if flag.value:
        text += f":{_zsh_text(flag.value)}:{_zsh_action(flag)}"  # of many the first: flags can follow it, then
    if len(names) == 1:
        return _quote(without + names[0] + text)
    return f"{_quote(without)}{{{','.join(names)}}}{_quote(text)}"


def _zsh_position(index: int, argument: Argument, is_open: bool) -> str:
    place = "*" if is_open else f"{index}" if argument.needed else f"{index}:"
    return _quote(f"{place}:{_zsh_text(argument.value)}:{_zsh_action(argument)}")


def _zsh_action(argument: Argument) -> str:
    if argument.words:
        return f"({' '.join(argument.words)})"
    kinds = {"": " ", "*": "_files", FOLDERS: "_files -/"}
    return kinds.get(argument.files, f'_files -g "{argument.files}"')


def _zsh_text(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\[]:" else c for c in text)


def fish(commands: tuple[Command, ...]) -> str:
    """The file share/fish/vendor_completions.d/regrain.fish."""
    top, *others = commands
    lines = [f"# {HEAD.format('fish')}", ""]
    for command in others:
        lines.append(
            f"complete -c regrain -n __fish_use_subcommand -f -a {command.name} -d {_quote(command.what, fish=True)}"
        )
    lines += [_fish_flag("__fish_use_subcommand", flag) for flag in top.flags]
    for command in others:
        where = _quote(f"__fish_seen_subcommand_from {command.name}")
        lines += ["", *(_fish_flag(where, flag) for flag in command.flags)]
        first = command.positions[0] if command.positions else None
        if first is not None and (values := _fish_values(first)):
            lines.append(f"complete -c regrain -n {where} -f {values}")
    return "\n".join(lines) + "\n"


def _fish_flag(where: str, flag: Argument) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
    parts = [f"complete -c regrain -n {where}", *names]
    if flag.value:
        parts.append("-r" if flag.files == "*" else "-x")
        parts.append(_fish_values(flag))
    return " ".join([*filter(None, parts), f"-d {_quote(flag.help, fish=True)}"])


def _fish_values(argument: Argument) -> str:
    if argument.words:
        return f"-a {_quote(' '.join(argument.words))}"
    if argument.files == FOLDERS:
        return "-a '(__fish_complete_directories)'"
    suffix = argument.files.removeprefix("*")
    return f"-k -a '(__fish_complete_suffix {suffix})'" if suffix else ""


def _is_open(command: Command, argument: Argument) -> bool:
    """Whether an argument by position also stands for all that come after it."""
    return argument is command.positions[-1] and any(one.many for one in command.positions)


def _names(command: Command) -> list[str]:
    return [name for flag in command.flags for name in flag.names]


def _quote(text: str, *, fish: bool = False) -> str:
    """Text that a shell takes as it is."""
    return "'" + (text.replace("\\", "\\\\").replace("'", "\\'") if fish else text.replace("'", "'\\''")) + "'"
