"""docs/SEEDS.md names files that are there, commands that parse, and says of every row whether it works."""

import re
import shlex
from pathlib import Path

import pytest

from regrain.cli.parser import parse

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "SEEDS.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("| what |", "|---"))
]
WORDS = ("works", "loses", "not here", "dithering gains")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_is_whole_and_says_what_came_of_it(row):
    assert len(row) == 5
    what, code, _, figure, verdict = row
    assert what
    assert verdict.startswith(WORDS)
    if verdict.startswith("not here"):
        assert "because" in verdict or "measured elsewhere" in verdict
    for name in re.findall(r"`([^`]+)`", f"{code} {figure}"):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("command", sorted({row[2].strip("`") for row in ROWS} - {"-", "the same"}))
def test_a_command_is_one(command):
    words = shlex.split(command)
    if words[0] == "regrain":
        parse(words[1:])
    elif words[0] != "make":
        assert (ROOT / words[words[0] == "python"]).is_file()


def test_every_recipe_that_is_named_exists():
    for name in re.findall(r"recipes/[\w-]+\.toml", " ".join(" ".join(row) for row in ROWS)):
        assert (ROOT / name).is_file()
