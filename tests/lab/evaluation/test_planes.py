"""The lines of each chart: where they run, at which rate, and who is missing."""

from dataclasses import replace

import pytest

from lab.evaluation.invented import IMAGES, WEBP, baseline, regrain, row
from regrain_lab.evaluation.curves import curves
from regrain_lab.evaluation.planes import Fixed, fixed, perception_distortion, rate, time_quality
from regrain_lab.evaluation.published import Published
from regrain_lab.evaluation.rows import Row

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
    at = fixed(rows)
    assert at.setting == "30"
    rates = {one.image: one.bpp for one in rows if one.setting == "30" and one.codec == "regrain"}
    assert at.bpp == pytest.approx(sum(rates.values()) / 3)


def test_of_equals_the_rate_nearest_to_the_usual_is_taken():
    assert fixed(baseline() + regrain(1.0)).setting == "30"
    assert fixed(baseline()) == Fixed(0.2, None)


def test_rate_lines_are_the_curves_and_published_points_stand_alone():
    rows = baseline() + regrain()
    rows[0] = Row(**{**vars(rows[0]), "metrics": {}, "error": "it broke"})
    panel = rate(rows, "lpips_alex", [HIFIC])
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
    assert len(rate(rows, "lpips_squeeze", [HIFIC]).lines) == 3


def test_realism_and_steps_are_paths_at_equal_bytes():
    rows = baseline() + walked()
    everybody, alone = perception_distortion(rows, "lpips_alex", fixed(rows), [])
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
    at = fixed(rows)
    lines = perception_distortion(rows, "lpips_alex", at, [HIFIC])[0].lines
    (point,) = named(lines, "JPEG").points
    points = next(iter(curves(near, "psnr").values()))
    assert min(p.value for p in points) < point[0] < max(p.value for p in points)
    assert not [line for line in lines if line.label == "far"]
    assert named(lines, "HiFiC (published)").texts == ["0.150 bpp"]
    assert not [
        line
        for line in perception_distortion(rows, "lpips_alex", Fixed(1.0, None), [HIFIC])[0].lines
        if "HiFiC" in line.label
    ]


def test_times_are_those_of_the_setting_that_is_compared():
    rows = baseline() + walked()
    encoding, decoding = time_quality(rows, "lpips_alex", fixed(rows))
    assert (encoding.title[:8], decoding.title[:8]) == ("Encoding", "Decoding")
    seconds = {line.label: line.points[0][0] for line in decoding.lines}
    assert seconds["JPEG"] == pytest.approx(0.002)
    assert seconds["regrain realism 1 steps 16"] == pytest.approx(6.4)


def test_times_that_were_taken_alone_come_first():
    rows = baseline() + walked()
    alone = [replace(WEBP, codec="JPEG", version="1.0", options="fixed", decode_s=0.5, encode_s=None)]
    encoding, decoding = time_quality(rows, "lpips_alex", fixed(rows), alone)
    assert named(decoding.lines, "JPEG").points[0][0] == 0.5
    assert named(encoding.lines, "JPEG").points[0][0] == pytest.approx(0.01)


def test_a_codec_without_times_is_not_in_their_chart():
    rows = baseline() + baseline("VVC (published)", encode_s=None, decode_s=None)
    assert [line.label for line in time_quality(rows, "psnr", fixed(rows))[0].lines] == ["JPEG"]


def test_one_setting_alone_is_no_curve_to_read():
    rows = [row("JPEG", image, "30") for image in IMAGES]
    assert perception_distortion(rows, "lpips_alex", Fixed(0.2, None), [])[0].lines == []
