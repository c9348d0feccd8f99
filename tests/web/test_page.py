"""The page as somebody uses it, in a real browser; and the tests of its package, under Node."""

import json
import subprocess

import pytest

from web.browser import ROOT, WEB, require

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def visit(site):
    """What web/test/page.mjs has found."""
    command = ["node", WEB / "test" / "page.mjs", site, GOLDEN / "extras.rgn"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=WEB, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_axe_finds_nothing(visit):
    assert visit["violations"] == []


def test_no_request_leaves_the_site_and_nothing_breaks(visit):
    assert visit["foreign"] == []
    assert visit["errors"] == []


def test_loading_says_how_much(visit):
    assert " of " in visit["loading"]
    assert "MB" in visit["loading"]


def test_a_photo_stands_beside_others_of_its_bytes(visit):
    figures = {row[0]: row[1:] for row in visit["first"]}
    assert list(figures) == ["regrain", "JPEG", "WebP"]
    sizes = {name: int(row[0].replace(",", "")) for name, row in figures.items()}
    assert 2000 < sizes["regrain"] < 3000
    assert 0.8 * sizes["regrain"] < sizes["WebP"] <= sizes["regrain"]
    assert float(figures["regrain"][2].split()[0]) > 28
    assert visit["panes"] == ["original", "regrain", "JPEG", "WebP"]


def test_the_knobs_turn_something(visit):
    seed, steps_differ, seeds_differ = visit["seeds"]
    assert (seed, steps_differ, seeds_differ) == ("1", True, True)
    realism, rows = visit["realism"]
    assert realism == "0"
    assert float(rows[0][3].split()[0]) > float(visit["first"][0][3].split()[0])
    assert visit["zoom"] != ""


def test_both_files_are_saved(visit):
    (name, size), (picture, _) = visit["downloads"]
    assert (name, picture) == ("chelsea.rgn", "chelsea.png")
    assert size == int(visit["first"][0][1].replace(",", ""))


def test_a_file_is_opened_and_inspected(visit):
    assert "40 x 24 pixels" in visit["inspection"]
    assert "alpha" in visit["inspection"]
    assert "xmp" in visit["inspection"]


def test_a_damaged_file_ends_in_its_error(visit):
    assert visit["error"].startswith("Truncated: ")


def test_a_phone_needs_no_scrolling_across(visit):
    assert visit["overflow"] <= 0


def test_the_packages_own_tests_pass():
    require()
    done = subprocess.run(["npm", "test", "--silent"], capture_output=True, text=True, cwd=WEB, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
