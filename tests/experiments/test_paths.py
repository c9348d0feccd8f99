"""The ways to decode one file: every point is of all pictures and one set of weights, in order along its line."""

from dataclasses import replace

import pytest

from experiments.perception_distortion.paths import Way, factor, named, panels
from lab.evaluation.invented import IMAGES, row

STEPS, REALISMS, FACTORS = (1, 4, 16), (0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 1.25)
WAYS = [Way(n, r) for n in STEPS for r in REALISMS] + [Way(n, 1.0, x) for n in STEPS for x in FACTORS if x != 1]


def decoded(way, image, fingerprint="0-1", **fields):
    """A file that loses 1 dB and 0.1 of LPIPS with realism, hundredths of that with noise and steps."""
    spent = way.realism + way.factor / 100 + way.steps / 1000 + IMAGES.index(image) / 8
    metrics = {"psnr": 30 - spent, "lpips_alex": 0.3 - spent / 10}
    knobs = {"steps": way.steps, "realism": way.realism, "options": named(way.factor), "metrics": metrics}
    return row("regrain", image, "28", **{**knobs, "fingerprint": fingerprint, **fields})


ROWS = [decoded(way, image) for way in WAYS[::-1] for image in IMAGES]


@pytest.mark.parametrize("value", FACTORS)
def test_a_factor_is_told_and_read(value):
    assert factor(named(value)) == value
    assert factor(f"other-recipe {named(value)}") == value


def test_each_panel_is_along_one_of_the_three():
    texts = [[list(line.texts) for line in panel.lines] for panel in panels(ROWS, "lpips_alex")]
    assert texts == [
        [["r 0", "r 0.5", "r 1"]] * 3,
        [["x 0", "x 0.5", "x 1", "x 1.25"]] * 3,
        [["n 1", "n 4", "n 16"]],
    ]
    labels = [[line.label for line in panel.lines] for panel in panels(ROWS, "lpips_alex")]
    assert labels == [["steps 1", "steps 4", "steps 16"]] * 2 + [["realism 1"]]


def test_points_are_means_over_the_pictures_and_the_plain_ways_are_on_all_panels():
    over_realism, over_noise, over_steps = (
        [line.points for line in panel.lines] for panel in panels(ROWS, "lpips_alex")
    )
    spent = 1 + 1 / 100 + 4 / 1000 + 1 / 8
    assert over_realism[1][2] == pytest.approx((30 - spent, 0.3 - spent / 10))
    assert over_realism[1][2] == over_noise[1][2] == over_steps[0][1]


def test_ways_that_lack_a_picture_and_other_weights_are_left_out():
    older = [decoded(WAYS[0], image, "0-0", metrics={"psnr": 1.0, "lpips_alex": 1.0}) for image in IMAGES]
    assert panels(older + ROWS, "lpips_alex") == panels(ROWS, "lpips_alex")
    for rows in (ROWS[1:], [replace(ROWS[0], metrics={}, error="it broke"), *ROWS[1:]]):
        assert [len(line.points) for line in panels(rows, "lpips_alex")[1].lines] == [4, 4, 3]
    assert [panel.lines for panel in panels([], "lpips_alex")] == [[], [], []]
