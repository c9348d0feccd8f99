"""Gains: at equal bytes, off the anchor's own curve, never beyond it; and the choice that follows from them."""

import math
from dataclasses import replace

import pytest

from lab.evaluation.invented import IMAGES, baseline, regrain
from regrain_lab.evaluation import tables
from regrain_lab.evaluation.per_image import Comparison, Gain, choose_pictures, compare, format_gain

ROWS = baseline("AVIF") + baseline("JPEG", 1.2) + regrain()


def shifted(by: dict[str, float], metric: str = "psnr"):
    """The rows, with regrain's figure of a metric moved by picture."""
    return [
        replace(row, metrics={**row.metrics, metric: row.metrics[metric] + by.get(row.image, 0.0)})
        if row.codec == "regrain"
        else row
        for row in ROWS
    ]


def test_a_gain_is_read_off_the_anchor_at_the_same_bytes():
    found = compare(ROWS)
    assert found.setting in {"10", "30", "50", "70"}
    assert {row.realism for row in found.rows.values()} == {1.0}
    ours = found.rows[IMAGES[0]]
    (gain,) = [gain for gain in found.gains["psnr"] if gain.image == IMAGES[0]]
    assert gain.value == pytest.approx(ours.metrics["psnr"] - (30 + 3 * math.log2(ours.bpp)), abs=1e-6)


def test_where_lower_is_better_a_lower_figure_gains():
    found = compare(shifted({IMAGES[1]: -0.2}, "lpips_squeeze"))
    assert found.gains["lpips_squeeze"][0].image == IMAGES[1]
    assert found.gains["lpips_squeeze"][0].value > 0.2


def test_largest_and_smallest_are_chosen_and_each_picture_once():
    found = compare(shifted({IMAGES[0]: 1.0, IMAGES[2]: -1.0}))
    by_image = choose_pictures(found)
    assert by_image[IMAGES[0]][0].startswith("largest gain in PSNR, +")
    assert by_image[IMAGES[0]][0].endswith(" dB")
    assert any(reason.startswith("smallest gain in PSNR") for reason in by_image[IMAGES[2]])
    assert sum(len(reasons) for reasons in by_image.values()) == 2 * len(found.gains)
    assert "ms_ssim" not in found.gains


def test_a_curve_that_does_not_reach_gives_no_gain():
    high = [replace(row, bpp=row.bpp * (50 if row.image == IMAGES[0] else 1)) for row in baseline("AVIF")]
    found = compare(high + regrain())
    assert {gain.image for gain in found.gains["psnr"]} == set(IMAGES[1:])
    nowhere = [replace(row, bpp=row.bpp * 50) for row in high]
    assert "On no picture" in compare(nowhere + regrain())


@pytest.mark.parametrize(
    ("rows", "why"),
    [(baseline("AVIF"), "no rows of regrain"), (regrain(), "no rows of AVIF"), (regrain(ways=((4, 1.0),)), "default")],
)
def test_without_a_pair_there_is_a_reason(rows, why):
    assert why in compare(rows)


def test_the_weights_that_were_added_last_count():
    newer = [replace(row, fingerprint="0a0b0c0d-05060708") for row in regrain()]
    assert {row.fingerprint for row in compare(ROWS + newer).rows.values()} == {"0a0b0c0d-05060708"}


def test_the_tables_of_gains():
    found = Comparison("50", {}, {"psnr": [Gain("a", 1.0), Gain("b", 0.0), Gain("c", -0.5)]})
    line = dict(zip(tables.extreme_gains(found).head, tables.extreme_gains(found).rows[0], strict=True))
    assert (line["largest gain on"], line["smallest gain on"]) == ("a", "c")
    assert (line["largest"], line["mean"], line["smallest"]) == ("+1.00 dB", "+0.17 dB", "-0.50 dB")
    assert (line["pictures"], line["gains"]) == ("3", "1")
    assert [row[1] for row in tables.smallest_gains(found, 2).rows] == ["c -0.50 dB", "b +0.00 dB"]
    assert format_gain("ssim", Gain("a", -0.01)) == "-0.0100"
