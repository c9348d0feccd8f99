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
    assert list(figures) == ["regrain", "JPEG", "WebP", "AVIF"]
    sizes = {name: int(row[0].replace(",", "")) for name, row in figures.items()}
    assert 2000 < sizes["regrain"] < 3000
    for name in ("WebP", "AVIF"):
        assert 0.8 * sizes["regrain"] < sizes[name] <= sizes["regrain"]
    for name, (size, rate, psnr, encoding, decoding) in figures.items():
        assert float(rate) == pytest.approx(8 * sizes[name] / (451 * 300), abs=6e-4), size
        assert float(psnr.split()[0]) > (28 if name in ("regrain", "AVIF") else 20)
        assert encoding.endswith("s") or name == "JPEG"  # whose smallest file is larger
        assert decoding.endswith("s")
    assert visit["panes"] == ["original", "regrain", "JPEG", "WebP", "AVIF"]


def test_where_avif_cannot_be_loaded_the_page_says_so(visit):
    assert [row[0] for row in visit["without"]] == ["regrain", "JPEG", "WebP"]
    assert visit["missing"].startswith("AVIF is missing: ")
    assert "avif-" in visit["missing"]


def test_weights_that_do_not_come_are_an_error_and_the_next_try_goes_well(visit):
    assert visit["weights"].startswith("ModelError: ")
    assert "denoiser" in visit["weights"]


def test_six_pictures_come_with_the_page(visit):
    assert len(visit["samples"]) == 6
    for name, path, width, height in visit["samples"]:
        assert name
        assert path.startswith("photos/")
        assert 300 <= min(width, height) <= max(width, height) <= 640


def test_a_sample_is_small_and_has_its_source():
    sources = (WEB / "photos" / "SOURCES.md").read_text(encoding="utf-8")
    pictures = [path for path in (WEB / "photos").iterdir() if path.suffix != ".md"]
    assert len(pictures) == 6
    for path in pictures:
        assert f"`{path.name}`" in sources
        assert path.stat().st_size < 100_000


def test_what_was_invented_is_mapped_until_it_is_stopped(visit):
    assert " over 2 seeds in 3 steps" in visit["stopped"] or " over 3 seeds in 3 steps" in visit["stopped"]
    assert float(visit["stopped"].split(" levels")[0].split()[-1]) > 0.5
    assert visit["focus"] == "map"
    assert " over 4 seeds in 2 steps" in visit["map"]
    assert " levels and more" in visit["map"]
    assert visit["nothing"] == [True, "At realism 0 every seed has one picture."]
    assert visit["downloads"][2] == ["extras-map.png", [0, 0, 0, 96, 0, 0, 0, 24 + 40]]


def test_the_knobs_turn_something(visit):
    seed, steps_differ, seeds_differ = visit["seeds"]
    assert (seed, steps_differ, seeds_differ) == ("1", True, True)
    realism, rows = visit["realism"]
    assert realism == "0"
    assert float(rows[0][3].split()[0]) > float(visit["first"][0][3].split()[0])
    assert visit["zoom"] != ""


def test_both_files_are_saved(visit):
    (name, size), (picture, _), _ = visit["downloads"]
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
