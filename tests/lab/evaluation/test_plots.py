"""Charts: real files, the same each time, what is not finite left out, and one colour for one name."""

import pytest

from regrain_lab.evaluation.plots import Line, Panel, chart, palette

LINES = [
    Line("ours", [(0.1, 20.0), (0.2, 25.0)], "ours", partial=[False, True], texts=["r 0", "r 1"]),
    Line("JPEG", [(0.2, 18.0), (0.5, float("inf"))]),
    Line("HiFiC (published)", [(0.15, 22.0)], "published", joined=False),
    Line("nothing", [(float("nan"), 1.0)]),
]


@pytest.fixture(scope="module")
def files():
    panels = [Panel("one", "bits a pixel", "PSNR", LINES, log=True), Panel("two", "seconds", "PSNR", LINES[:2])]
    return chart(panels, palette((line.label, line.kind) for line in LINES))


def test_a_chart_is_a_png_and_an_svg(files):
    assert files["png"].startswith(b"\x89PNG")
    assert files["svg"].startswith(b"<?xml")


def test_words_stay_words(files):
    text = files["svg"].decode()
    for word in ("ours", "JPEG", "HiFiC (published)", "bits a pixel", "seconds", "PSNR", "r 0", "one", "two"):
        assert f">{word}<" in text
    assert ">nothing<" not in text


def test_a_chart_repeats_itself(files):
    again = chart([Panel("one", "x", "y", LINES, log=True)], {})
    assert again == chart([Panel("one", "x", "y", LINES, log=True)], {})
    assert b"<dc:date>" not in again["svg"]


def test_what_is_published_is_hollow(files):
    text = files["svg"].decode()
    colours = palette((line.label, line.kind) for line in LINES)
    assert f"fill: #ffffff; stroke: {colours['HiFiC (published)']}" in text
    assert f"fill: {colours['JPEG']}; stroke: {colours['JPEG']}" in text


def test_a_chart_without_a_point_is_drawn_too():
    assert chart([Panel("none", "x", "y", [], log=True)], {})["png"]


def test_a_name_keeps_its_colour():
    first = palette([("a", "ours"), ("b", "other"), ("a", "ours")])
    assert list(first) == ["a", "b"]
    assert palette([("c", "ours")], first).items() >= first.items()
    assert len(set(palette((str(i), "other") for i in range(8)).values())) == 8
