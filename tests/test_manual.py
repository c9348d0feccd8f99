"""The man page and the completions of shells are those of the parser, and shells and troff read them."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from regrain.cli.parser import parse
from scripts import interface, manual

MADE = manual.files()
COMMANDS = interface.interface()
FLAGS = sorted({name for command in COMMANDS for flag in command.flags for name in flag.names})
BASH = manual.SHARE / "bash-completion" / "completions" / "regrain"


@pytest.mark.parametrize("name", MADE)
def test_a_file_is_as_the_parser_has_it(name):
    path = manual.SHARE / name
    assert path.is_file(), f"no share/{name}: run `make docs`"
    assert path.read_text(encoding="utf-8") == MADE[name], f"share/{name} is not that of the parser: run `make docs`"


def test_nothing_else_is_installed():
    assert {path.relative_to(manual.SHARE).as_posix() for path in manual.SHARE.rglob("*") if path.is_file()} == {*MADE}


@pytest.mark.parametrize("command", [command.name for command in COMMANDS if command.name])
def test_every_flag_of_the_help_is_there(command, capsys):
    """The help is argparse's own: what it lists does not depend on how the records were read."""
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    rows = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", row)}
    assert named == {name for one in COMMANDS if one.name == command for flag in one.flags for name in flag.names}


def test_every_flag_is_in_every_file():
    page = MADE["man/man1/regrain.1"].replace("\\-", "-").replace("\\fB", "")
    bash, zsh, fish = (MADE[name] for name in list(MADE)[1:])
    for flag in FLAGS:
        whole = rf"(?<![\w-]){re.escape(flag)}(?![\w-])"
        assert all(re.search(whole, text) for text in (page, bash, zsh)), flag
        assert re.search(rf" {'-l ' + flag[2:] if flag.startswith('--') else '-s ' + flag[1:]} ", fish), flag


def test_the_examples_parse():
    for line in manual.EXAMPLES:
        parse(shlex.split(line)[1:])


def complete(line: str, folder: Path) -> set[str]:
    """What bash offers for a line whose last word is being typed."""
    words = line.split(" ")
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _regrain; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-uc", code, "bash", str(BASH), *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return set(filter(None, done.stdout.splitlines()))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("regrain enc", {"encode"}),
        ("regrain --v", {"--version"}),
        ("regrain decode --samp", {"--sampler"}),
        ("regrain decode --sampler ", {"ddim", "ancestral", "second-order"}),
        ("regrain decode --sampler = s", {"second-order"}),
        ("regrain decode --sampler = ", {"ddim", "ancestral", "second-order"}),
        ("regrain encode x.png -q ", set()),
        ("regrain encode --method pal", {"palette"}),
        ("regrain decode ", {"a.rgn", "inner"}),
        ("regrain decode --json a.rgn x", {"x.png"}),
        ("regrain decode -v --seed 3 ", {"a.rgn", "inner"}),
        ("regrain encode a.rgn x.png t.toml ", {"a.rgn", "inner", "x.png", "t.toml", "w.safetensors"}),
        ("regrain encode --engine ", {"processes", "ray"}),
        ("regrain inspect a", {"a.rgn"}),
        ("regrain train ", {"t.toml", "inner"}),
        ("regrain evaluate --codecs AVIF JPEG --jo", {"--jobs"}),
        ("regrain evaluate i", {"inner"}),
        ("regrain encode --model ", {"w.safetensors", "inner"}),
        ("regrain unknown ", set()),
    ],
)
def test_bash_completes(line, expected, tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("a.rgn", "x.png", "t.toml", "w.safetensors"):
        (tmp_path / name).touch()
    assert complete(line, tmp_path) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_keeps_blanks_and_stars_of_file_names(tmp_path):
    (tmp_path / "a b*.rgn").touch()
    assert complete("regrain inspect a", tmp_path) == {"a b*.rgn"}


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("bash-completion/completions/regrain", ["bash", "-n"]),
        ("zsh/site-functions/_regrain", ["zsh", "-n"]),
        ("fish/vendor_completions.d/regrain.fish", ["fish", "--no-execute"]),
        ("man/man1/regrain.1", ["groff", "-man", "-ww", "-z", "-Tascii"]),
    ],
)
def test_its_reader_has_no_complaint(name, command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    done = subprocess.run([*command, str(manual.SHARE / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
