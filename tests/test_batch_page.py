"""What docs/batch.md says can be run, runs."""

import re
import shlex
from pathlib import Path

import pytest

from regrain.cli.parser import parse

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "batch.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_examples_run():
    examples = blocks("python")
    assert len(examples) == 3
    exec(compile("\n".join(examples), "batch.md", "exec"), {})


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if "pip" not in line])
def test_the_commands_parse(line):
    options = parse(shlex.split(line, comments=True)[1:])
    assert options.inputs
    assert options.output
