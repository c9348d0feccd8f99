"""What the README says can be run, runs."""

import importlib
import re
import shlex
from pathlib import Path
from statistics import fmean

import pytest

from regrain.cli.parser import parse
from regrain_lab.evaluation.table import Row, read
from scripts import figures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "0.1"
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


def test_the_demo_can_be_run_again():
    lines = re.findall(r"^\t\$\(REGRAIN\) (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 3
    options = [parse(shlex.split(line)) for line in lines]
    assert all(one.overwrite for one in options if one.command != "inspect")


def test_every_file_that_is_named_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_room_of_the_map_exists():
    """Names that begin a line of the trees, and all modules that a line names before its first two blanks."""
    house = None
    for line in README[README.index("```\nsrc/regrain/") : README.index("Beside the package")].splitlines():
        if line.startswith("src/"):
            house = ROOT / line.strip()
            assert house.is_dir(), line
        elif house and (name := re.match(r"  (\w[\w./]*)(?:, (\w[\w.]*))?  ", line)):
            for part in filter(None, name.groups()):
                assert (house / part).exists(), part


def test_every_package_and_top_level_module_is_on_the_map():
    tree = README[README.index("```\nsrc/regrain/") : README.index("Beside the package")]
    for house in ("regrain", "regrain_lab"):
        for path in (ROOT / "src" / house).iterdir():
            if path.is_dir() and path.name != "__pycache__":
                assert f"  {path.name}/" in tree, path.name


def test_the_figures_are_those_of_the_results():
    """The tables of figures are as scripts/figures.py makes them from the tables in results/0.1."""
    for table in figures.tables():
        assert table in README


PAGES = ("second_set", "progressive", "palette", "few_steps")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_that_of_its_rows(name):
    page = importlib.import_module(f"experiments.{name}.page").page()
    assert (RESULTS / f"{name.upper()}.md").read_text(encoding="utf-8") == page


def test_what_it_says_of_streams_is_what_their_page_has():
    page = (RESULTS / "PROGRESSIVE.md").read_text(encoding="utf-8")
    rows = {cells[0]: cells[1:] for line in page.splitlines() if (cells := [c.strip() for c in line.split("|")[1:-1]])}
    at = dict(zip(rows["codec"], rows["progressive"], strict=True))
    bits = float(rows["this prior"][0])
    assert f"has {float(at['0.2']):.1f} dB at 0.2 bpp and {float(at['0.8']):.1f} at 0.8 on Kodak" in README
    assert f"{bits:.2f} bits a value on CIFAR-10" in README
    assert all(float(ours) > float(webp) for ours, webp in zip(rows["progressive"], rows["WebP"], strict=True) if webp)


def test_what_it_says_of_palettes_is_what_their_rows_have():
    """256 colours on Kodak, repaired; and the smallest files."""
    rows = [row for row in read(Row, RESULTS / "results.csv") if row.options == "palette" and row.realism == 1]
    full = [row for row in rows if row.setting == "60"]
    bpp, psnr, lpips = (
        fmean(values)
        for values in zip(*((r.bpp, r.metrics["psnr"], r.metrics["lpips_alex"]) for r in full), strict=True)
    )
    least = fmean(row.bpp for row in rows if row.setting == "0")
    said = f"has {psnr:.1f} dB and LPIPS {lpips:.3f} at {bpp:.3f} bpp on Kodak"
    assert said in README
    assert f"goes down to {least:.3f} bpp" in README
