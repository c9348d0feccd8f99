"""Charts: where their lines run and at which rate; real files, the same each time, and one colour for one name."""

from dataclasses import replace

import pytest

from lab.evaluation.invented import IMAGES, WEBP, baseline, regrain, row
from regrain_lab.evaluation.charts import (
    Line,
    Panel,
    assign_colours,
    draw,
    perception_distortion_panels,
    rate_panel,
    time_panels,
)
from regrain_lab.evaluation.curves import ComparisonRate, comparison_rate, curves
from regrain_lab.evaluation.published import Published
from regrain_lab.evaluation.table import Row

PATH = ((1, 0.0), (1, 0.5), (1, 1.0), (4, 1.0), (16, 1.0))
HIFIC = Published("HiFiC", 0.15, {"psnr": 27.3, "lpips_alex": 0.093}, "a table")


def walked() -> list[Row]:
    """Every quality in two ways, one of them in five."""
    ways = [(1, 0.0), (1, 1.0)]
    return [one for one in regrain(ways=PATH) if one.setting == "30" or (one.steps, one.realism) in ways]


def named(lines, label):
    (line,) = (line for line in lines if line.label == label)
    return line


def test_the_rate_is_where_most_ways_were_tried():
    rows = baseline() + walked()
    at = comparison_rate(rows)
    assert at.setting == "30"
    rates = {one.image: one.bpp for one in rows if one.setting == "30" and one.codec == "regrain"}
    assert at.bpp == pytest.approx(sum(rates.values()) / 3)


def test_of_equals_the_rate_nearest_to_the_usual_is_taken():
    assert comparison_rate(baseline() + regrain(1.0)).setting == "30"
    assert comparison_rate(baseline()) == ComparisonRate(0.2, None)


def test_rate_lines_are_the_curves_and_published_points_stand_alone():
    rows = baseline() + regrain()
    rows[0] = Row(**{**vars(rows[0]), "metrics": {}, "error": "it broke"})
    panel = rate_panel(rows, "lpips_alex", [HIFIC])
    assert panel.log
    assert "lower is better" in panel.y
    assert [(line.label, line.kind) for line in panel.lines] == [
        ("JPEG", "other"),
        ("regrain realism 0", "ours"),
        ("regrain realism 1", "ours"),
        ("HiFiC (published)", "published"),
    ]
    assert panel.lines[0].partial == [True, False, False, False]
    assert not any(panel.lines[1].partial)
    assert panel.lines[3].points == [(0.15, 0.093)]
    assert not panel.lines[3].joined
    assert len(rate_panel(rows, "lpips_squeeze", [HIFIC]).lines) == 3


def test_realism_and_steps_are_paths_at_equal_bytes():
    rows = baseline() + walked()
    everybody, alone = perception_distortion_panels(rows, "lpips_alex", comparison_rate(rows), [])
    assert [line.label for line in everybody.lines] == [*(line.label for line in alone.lines), "JPEG"]
    lines = alone.lines
    along = named(lines, "regrain, steps 1")
    assert along.texts == ["r 0", "r 0.5", "r 1"]
    assert [x for x, _ in along.points] == sorted((x for x, _ in along.points), reverse=True)
    assert [y for _, y in along.points] == sorted((y for _, y in along.points), reverse=True)
    further = named(lines, "regrain, realism 1")
    assert further.texts == ["n 1", "n 4", "n 16"]
    assert further.dashed
    assert further.points[0] == along.points[-1]


def test_another_codec_is_read_off_its_curve_and_missing_where_it_ends():
    near, far = baseline(), baseline("far", 20.0)
    rows = near + far + walked()
    at = comparison_rate(rows)
    lines = perception_distortion_panels(rows, "lpips_alex", at, [HIFIC])[0].lines
    (point,) = named(lines, "JPEG").points
    points = next(iter(curves(near, "psnr").values()))
    assert min(p.value for p in points) < point[0] < max(p.value for p in points)
    assert not [line for line in lines if line.label == "far"]
    assert named(lines, "HiFiC (published)").texts == ["0.150 bpp"]
    assert not [
        line
        for line in perception_distortion_panels(rows, "lpips_alex", ComparisonRate(1.0, None), [HIFIC])[0].lines
        if "HiFiC" in line.label
    ]


def test_times_are_those_of_the_setting_that_is_compared():
    rows = baseline() + walked()
    encoding, decoding = time_panels(rows, "lpips_alex", comparison_rate(rows))
    assert (encoding.title[:8], decoding.title[:8]) == ("Encoding", "Decoding")
    seconds = {line.label: line.points[0][0] for line in decoding.lines}
    assert seconds["JPEG"] == pytest.approx(0.002)
    assert seconds["regrain realism 1 steps 16"] == pytest.approx(6.4)


def test_times_that_were_taken_alone_come_first():
    rows = baseline() + walked()
    alone = [replace(WEBP, codec="JPEG", version="1.0", options="fixed", decode_s=0.5, encode_s=None)]
    encoding, decoding = time_panels(rows, "lpips_alex", comparison_rate(rows), alone)
    assert named(decoding.lines, "JPEG").points[0][0] == 0.5
    assert named(encoding.lines, "JPEG").points[0][0] == pytest.approx(0.01)


def test_a_codec_without_times_is_not_in_their_chart():
    rows = baseline() + baseline("VVC (measured elsewhere)", encode_s=None, decode_s=None)
    assert [line.label for line in time_panels(rows, "psnr", comparison_rate(rows))[0].lines] == ["JPEG"]


def test_one_setting_alone_is_no_curve_to_read():
    rows = [row("JPEG", image, "30") for image in IMAGES]
    assert perception_distortion_panels(rows, "lpips_alex", ComparisonRate(0.2, None), [])[0].lines == []


LINES = [
    Line("ours", [(0.1, 20.0), (0.2, 25.0)], "ours", partial=[False, True], texts=["r 0", "r 1"]),
    Line("JPEG", [(0.2, 18.0), (0.5, float("inf"))]),
    Line("HiFiC (published)", [(0.15, 22.0)], "published", joined=False),
    Line("nothing", [(float("nan"), 1.0)]),
]


@pytest.fixture(scope="module")
def files():
    panels = [Panel("one", "bits a pixel", "PSNR", LINES, log=True), Panel("two", "seconds", "PSNR", LINES[:2])]
    return draw(panels, assign_colours((line.label, line.kind) for line in LINES))


def test_a_chart_is_a_png_and_an_svg(files):
    assert files["png"].startswith(b"\x89PNG")
    assert files["svg"].startswith(b"<?xml")


def test_words_stay_words(files):
    text = files["svg"].decode()
    for word in ("ours", "JPEG", "HiFiC (published)", "bits a pixel", "seconds", "PSNR", "r 0", "one", "two"):
        assert f">{word}<" in text
    assert ">nothing<" not in text


def test_a_chart_repeats_itself(files):
    again = draw([Panel("one", "x", "y", LINES, log=True)], {})
    assert again == draw([Panel("one", "x", "y", LINES, log=True)], {})
    assert b"<dc:date>" not in again["svg"]


def test_what_is_published_is_hollow(files):
    text = files["svg"].decode()
    colours = assign_colours((line.label, line.kind) for line in LINES)
    assert f"fill: #ffffff; stroke: {colours['HiFiC (published)']}" in text
    assert f"fill: {colours['JPEG']}; stroke: {colours['JPEG']}" in text


def test_a_chart_without_a_point_is_drawn_too():
    assert draw([Panel("none", "x", "y", [], log=True)], {})["png"]


def test_a_name_keeps_its_colour():
    first = assign_colours([("a", "ours"), ("b", "other"), ("a", "ours")])
    assert list(first) == ["a", "b"]
    assert assign_colours([("c", "ours")], first).items() >= first.items()
    assert len(set(assign_colours((str(i), "other") for i in range(8)).values())) == 8
