"""The interactive page: its parts fit each other, its fields are those of a file, and it fetches from nowhere else."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from regrain.diffusion.schedule import STEPS, get
from scripts import how_it_works, links

PAGE = how_it_works.PAGE
GOLDEN = sorted((how_it_works.ROOT / "tests" / "golden").glob("*.rgn"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_fields_of_a_file_leave_no_byte_out(path):
    data, at = path.read_bytes(), 0
    for _, start, length, _ in how_it_works.fields(data):
        assert start == at
        assert length > 0
        at += length
    assert at == len(data)


def test_the_fields_say_what_is_there():
    data = (how_it_works.ROOT / "tests" / "golden" / "extras.rgn").read_bytes()
    rows = {name: (data[start : start + length], text) for name, start, length, text in how_it_works.fields(data)}
    assert rows["magic"][0] == b"\x9fRGN\r\n"
    assert rows["latent fingerprint"][0].hex() in rows["latent fingerprint"][1]
    assert rows["icc: type and length"][0][0] == 2


def test_the_chain_measures_what_the_formula_says():
    x_0 = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32)).astype(np.float32)
    facts = how_it_works.schedule("cosine", x_0)
    assert len(facts["alpha"]) == len(facts["sigma"]) == STEPS + 1
    assert (facts["alpha"][500], facts["sigma"][500]) == pytest.approx(get("cosine").at(0.5), abs=1e-5)
    for n, weight, deviation in facts["chain"]:
        assert weight == pytest.approx(facts["alpha"][n], abs=0.1)
        assert deviation == pytest.approx(facts["sigma"][n], abs=0.05)


def test_the_script_names_parts_that_the_page_has():
    page, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("index.html", "page.js"))
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.DOTALL))
    assert set(re.findall(r'figure\("(\w+)"', script)) == set(sections)
    for name, body in re.findall(r'figure\("(\w+)"(.*?)(?=\n  figure\(|\n}\n)', script, re.DOTALL):
        for part in re.findall(r'(?:part|chosen)\("(\w+)"\)', body):
            assert f'data-name="{part}"' in sections[name], f"{name}: {part}"
    assert all('class="says" aria-live' in body for body in sections.values())


def test_nothing_comes_from_elsewhere():
    assert not [*links.broken_in_site(PAGE)]
    for path in PAGE.iterdir():
        assert not re.search(r"(?:https?:)?//[a-z]+\.", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("path", sorted(PAGE.glob("*.js")), ids=lambda path: path.name)
def test_the_scripts_parse(path):
    if shutil.which("node") is None:
        pytest.skip("no node")
    command = ["node", "--input-type=module", "--check"]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
