"""What the README says can be run, runs."""

import re
import shlex
import statistics
from pathlib import Path

import pytest

from regrain.cli.parser import parse
from regrain.evaluation.rows import Row, read

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_examples_run(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "photo.png").write_bytes((ROOT / "demo" / "photo.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "photo.rgn").stat().st_size > 500


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("regrain ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_parse(line):
    parse(shlex.split(line, comments=True)[1:])


def test_every_file_that_is_named_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_room_of_the_map_exists():
    for room in re.findall(r"^\| `([\w/.]+)`", README, re.MULTILINE):
        assert (ROOT / "src" / "regrain" / room).exists(), room


FIGURES = re.findall(r"^\| \**regrain -q (.+?)\** \|(.+)\|$", README, re.MULTILINE)
"""The rows of the table of figures that are regrain's: quality and flags, and the cells."""


def measured(how: str) -> list[Row]:
    """The rows of the table of results that a row of the README is the mean of."""
    setting, *flags = how.split(" --")
    knobs = {"realism": 1.0, "steps": 1} | {flag.split()[0]: float(flag.split()[1]) for flag in flags}
    wanted = (setting, knobs["realism"], knobs["steps"])
    rows = read(ROOT / "docs" / "results.csv")
    return [row for row in rows if row.codec == "regrain" and (row.setting, row.realism, row.steps) == wanted]


@pytest.mark.parametrize(("how", "cells"), FIGURES, ids=[how for how, _ in FIGURES])
def test_the_figures_are_means_of_the_results(how, cells):
    rows = measured(how)
    assert len(rows) == 24
    means = [statistics.fmean(row.bpp for row in rows)]
    means += [statistics.fmean(row.metrics[metric] for row in rows) for metric in ("psnr", "ms_ssim", "lpips_alex")]
    digits = (f"{mean:.{n}f}" for mean, n in zip(means, (3, 2, 4, 4), strict=True))
    assert [cell.strip(" *") for cell in cells.split("|")] == list(digits)


def test_there_are_figures():
    assert len(FIGURES) > 8
