"""Curves: means of both axes over the same pictures, and comparisons over the same ones too."""

import math
import statistics
from dataclasses import replace

import pytest

from lab.evaluation.invented import IMAGES, SETTINGS, baseline, regrain
from regrain_lab.evaluation.curves import (
    compare,
    curves,
    labels,
    learned,
    mean_of,
    pictures_with,
    without_single_settings,
)


def series_of(rows):
    (series,) = {row.series for row in rows}
    return series


def test_a_point_is_the_mean_of_both_axes():
    rows = baseline()
    (points,) = curves(rows, "psnr").values()
    assert [point.setting for point in points] == list(SETTINGS)
    for point in points:
        here = [row for row in rows if row.setting == point.setting]
        assert point.bpp == pytest.approx(statistics.fmean(row.bpp for row in here))
        assert point.value == pytest.approx(statistics.fmean(row.metrics["psnr"] for row in here))
        assert (point.images, point.whole) == (3, True)


def test_a_picture_that_failed_counts_on_neither_axis_and_the_point_says_so():
    rows = baseline()
    rows[0] = replace(rows[0], metrics={}, error="it broke")
    assert rows[0].bpp is not None
    (points,) = curves(rows, "psnr").values()
    here = [row for row in rows[1:] if row.setting == points[0].setting]
    assert points[0].bpp == pytest.approx(statistics.fmean(row.bpp for row in here))
    assert [(point.images, point.whole) for point in points] == [(2, False)] + [(3, True)] * 3


def test_a_picture_too_small_for_a_metric_is_missing_nowhere():
    rows = [
        replace(row, metrics={**row.metrics, "ms_ssim": 0.9}) if row.image != IMAGES[0] else row for row in baseline()
    ]
    assert pictures_with(rows, "ms_ssim") == set(IMAGES[1:])
    (points,) = curves(rows, "ms_ssim").values()
    assert all(point.whole and point.images == 2 for point in points)


def test_a_metric_that_nobody_has_gives_no_curve():
    assert curves(baseline(), "ms_ssim") == {}
    assert curves(baseline(), "dists") == {}


@pytest.mark.parametrize("metric", ["psnr", "lpips_alex"])
def test_a_tenth_fewer_bits_is_a_tenth_less(metric):
    one, other = baseline(), baseline("other", 0.9)
    found = compare(one + other, metric, series_of(one), series_of(other))
    assert found.delta.value == pytest.approx(-10)
    assert found.images == 3


def test_nobody_gains_by_a_picture_that_failed():
    one, other = baseline(), baseline("other", 0.9)
    other[2] = replace(other[2], metrics={}, bytes=None, bpp=None, error="it broke")
    found = compare(one + other, "psnr", series_of(one), series_of(baseline("other")))
    assert found.delta.value == pytest.approx(-10)
    assert found.images == 2
    nothing = [replace(row, metrics={}, error="it broke") for row in other]
    assert compare(one + nothing, "psnr", series_of(one), series_of(baseline("other"))).delta.value is None


def test_equal_pictures_have_no_finite_point_and_spoil_no_comparison():
    one, other = baseline(), baseline("other", 0.9)
    equal = [replace(row, metrics={**row.metrics, "psnr": math.inf}) if row.setting == "70" else row for row in other]
    found = compare(one + equal, "psnr", series_of(one), series_of(other))
    assert found.delta.value == pytest.approx(-10)
    assert found.delta.left_out == 1


def test_names_say_what_tells_one_from_another():
    names = labels(row.series for row in baseline() + regrain())
    assert list(names.values()) == ["JPEG", "regrain realism 0", "regrain realism 1"]
    names = labels(row.series for row in baseline() + baseline(options="other") + regrain(ways=((1, 1.0), (4, 1.0))))
    assert list(names.values()) == ["JPEG (fixed)", "JPEG (other)", "regrain steps 1", "regrain steps 4"]
    assert [learned(series) for series in names] == [False, False, True, True]


def test_a_way_that_was_tried_at_one_setting_is_no_curve():
    once = [row for row in regrain(ways=((4, 1.0),)) if row.setting == "30"]
    rows = baseline() + regrain() + once
    assert without_single_settings(rows) == baseline() + regrain()
    assert without_single_settings(once) == once


def test_a_mean_of_nothing_is_none():
    rows = [replace(row, peak_mb=None) for row in baseline()]
    assert mean_of(rows, lambda row: row.peak_mb) is None
    rows[0] = replace(rows[0], peak_mb=7.0)
    assert mean_of(rows, lambda row: row.peak_mb) == 7
