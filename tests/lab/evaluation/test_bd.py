"""Bjontegaard deltas: a published implementation's figures, an integral of our own, closed forms, and what has none."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.errors import UsageError
from regrain_lab.evaluation.bd import at_rate, bd_rate, front

RATES = {
    "jpeg": (0.1543, 0.2684, 0.4582, 0.6853, 0.9234, 1.3153, 2.0081),
    "webp": (0.1545, 0.2744, 0.4762, 0.6727, 0.939, 1.9297),
    "avif": (0.0763, 0.1279, 0.1955, 0.316, 0.504, 0.926, 1.4808),
    "vvenc": (0.0617, 0.1413, 0.2993, 0.5713, 0.9704, 1.5328),
}
PSNR = {
    "jpeg": (23.8522, 26.6718, 29.1445, 31.013, 32.5154, 34.5221, 37.3303),
    "webp": (26.9808, 28.9319, 31.2283, 33.0089, 34.872, 39.4463),
    "avif": (26.0478, 27.5943, 28.9667, 30.7899, 32.8973, 36.018, 38.9777),
    "vvenc": (26.5655, 28.8899, 31.5341, 34.5789, 37.5791, 40.4283),
}
LPIPS = {
    "jpeg": (0.4652, 0.3231, 0.1969, 0.123, 0.0832, 0.0481, 0.0188),
    "webp": (0.3744, 0.2532, 0.1538, 0.1086, 0.0747, 0.0232),
    "avif": (0.4266, 0.3423, 0.2655, 0.1811, 0.1084, 0.0533, 0.022),
    "vvenc": (0.4337, 0.3084, 0.1942, 0.1099, 0.0637, 0.0359),
}
"""Means over Kodak of the rows that lie with the data (kodak_measured.csv), rounded."""

PUBLISHED = [
    ("jpeg", "webp", -34.81722946350351, -18.061515441915077),
    ("webp", "avif", -23.873769788392273, -24.61733224397362),
    ("avif", "vvenc", -21.97444441842856, -0.09078949195593378),
    ("jpeg", "vvenc", -62.46791209599072, -41.690818534245444),
    ("vvenc", "jpeg", 166.43868109804183, 71.49957774442571),
]
"""BD-rate, then BD-rate at equal LPIPS (as its negative), by PyPI's bjontegaard 1.3.0, method pchip."""


def psnr(name: str) -> list[tuple[float, float]]:
    return list(zip(RATES[name], PSNR[name], strict=True))


def lpips(name: str) -> list[tuple[float, float]]:
    return list(zip(RATES[name], LPIPS[name], strict=True))


@pytest.mark.parametrize(("anchor", "test", "rate", "perceptual"), PUBLISHED)
def test_a_published_implementation_is_met_to_a_hundredth_of_a_percent(anchor, test, rate, perceptual):
    assert bd_rate(psnr(anchor), psnr(test)).value == pytest.approx(rate, rel=1e-4)
    assert bd_rate(lpips(anchor), lpips(test), higher=False).value == pytest.approx(perceptual, rel=1e-4)


def slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fritsch and Carlson's derivatives: weighted harmonic means inside, one-sided three-point ones at the ends."""
    h, d = np.diff(x), np.diff(y) / np.diff(x)
    inner = [
        0.0
        if d[k - 1] * d[k] <= 0
        else (3 * (h[k - 1] + h[k])) / ((2 * h[k] + h[k - 1]) / d[k - 1] + (h[k] + 2 * h[k - 1]) / d[k])
        for k in range(1, len(d))
    ]

    def end(h0, h1, d0, d1):
        slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
        if slope * d0 <= 0:
            return 0.0
        return 3 * d0 if d0 * d1 <= 0 and abs(slope) > 3 * abs(d0) else slope

    return np.array([end(h[0], h[1], d[0], d[1]), *inner, end(h[-1], h[-2], d[-1], d[-2])])


def hermite(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The cubics through (x, y) with those slopes."""
    m = slopes(x, y)
    k = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    h = x[k + 1] - x[k]
    t = (at - x[k]) / h
    return (
        (1 + 2 * t) * (1 - t) ** 2 * y[k]
        + t * (1 - t) ** 2 * h * m[k]
        + t * t * (3 - 2 * t) * y[k + 1]
        + t * t * (t - 1) * h * m[k + 1]
    )


@pytest.mark.parametrize(("anchor", "test"), [("jpeg", "webp"), ("avif", "vvenc"), ("vvenc", "jpeg")])
def test_a_fine_sum_over_curves_of_our_own_is_met(anchor, test):
    sides = [(np.array(PSNR[name]), np.log(RATES[name])) for name in (anchor, test)]
    low, high = max(q[0] for q, _ in sides), min(q[-1] for q, _ in sides)
    at = low + (np.arange(200_000) + 0.5) / 200_000 * (high - low)
    first, second = (hermite(q, r, at) for q, r in sides)
    wanted = 100 * math.expm1(float(np.mean(second - first)))
    assert bd_rate(psnr(anchor), psnr(test)).value == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.25, 0.5])
def test_all_rates_times_a_factor_is_that_factor(factor):
    scaled = [(rate * factor, quality) for rate, quality in psnr("avif")]
    assert bd_rate(psnr("avif"), scaled).value == pytest.approx(100 * (factor - 1), abs=1e-9)
    scaled = [(rate * factor, quality) for rate, quality in lpips("avif")]
    assert bd_rate(lpips("avif"), scaled, higher=False).value == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_the_two_directions_are_each_others_inverse():
    there, back = bd_rate(psnr("jpeg"), psnr("webp")).value, bd_rate(psnr("webp"), psnr("jpeg")).value
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_curves_that_share_no_range_have_no_delta_but_a_reason():
    low, high = [(0.1, 20.0), (0.2, 22.0)], [(0.3, 25.0), (0.4, 27.0)]
    delta = bd_rate(low, high)
    assert delta.value is None
    assert delta.reason == "the ranges of quality do not overlap"
    touching = [(0.2, 22.0), (0.4, 24.0)]
    assert bd_rate(low, touching).value is None


def test_one_point_is_no_curve():
    assert bd_rate(psnr("jpeg"), [(0.3, 27.0)]).reason == "fewer than two points"
    assert bd_rate([], psnr("jpeg")).value is None


def test_the_share_is_of_the_shorter_range():
    long = [(0.1, 20.0), (0.2, 25.0), (0.4, 30.0)]
    assert bd_rate(long, [(0.1, 22.0), (0.2, 26.0)]).share == 1
    assert bd_rate(long, [(0.1, 29.0), (0.2, 33.0)]).share == pytest.approx(0.25)


def test_a_setting_that_nobody_would_choose_is_left_out_and_counted():
    clean = psnr("jpeg")
    worse = [(0.5, 29.0), (0.2684, 20.0), (0.9, math.nan), (3.0, math.inf)]
    delta = bd_rate(clean, clean + worse)
    assert delta.value == pytest.approx(0, abs=1e-9)
    assert delta.left_out == 4
    assert front([*clean, *worse]) == clean


HUNDREDTHS = st.integers(1, 1000).map(lambda count: count / 100)
POINTS = st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), max_size=12)


@given(points=POINTS, higher=st.booleans())
def test_a_front_is_what_one_would_choose(points, higher):
    sign = 1 if higher else -1
    kept = front(points, higher=higher)
    assert set(kept) <= set(points)
    assert all(a < c and sign * b < sign * d for (a, b), (c, d) in pairwise(kept))
    for rate, quality in points:
        assert any(r <= rate and sign * q >= sign * quality for r, q in kept)


@given(points=POINTS, others=POINTS, higher=st.booleans())
def test_any_curves_have_a_number_or_a_reason(points, others, higher):
    delta = bd_rate(points, others, higher=higher)
    assert (delta.value is None) == bool(delta.reason)
    assert 0 <= delta.share <= 1


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_is_a_positive_number(rate):
    with pytest.raises(UsageError, match=r"^rate is "):
        bd_rate(psnr("jpeg"), [(rate, 30.0), (1.0, 31.0)])


def test_a_curve_is_read_inside_its_range_alone():
    for rate, quality in psnr("avif"):
        assert at_rate(psnr("avif"), rate) == pytest.approx(quality)
    for rate, quality in lpips("avif"):
        assert at_rate(lpips("avif"), rate, higher=False) == pytest.approx(quality)
    assert 26.0478 < at_rate(psnr("avif"), 0.1) < 27.5943
    assert at_rate(psnr("avif"), 0.05) is None
    assert at_rate(psnr("avif"), 1.6) is None
    assert at_rate(psnr("avif")[:1], 0.0763) is None


def test_rates_that_only_floats_tell_apart_are_one():
    rate, next_rate = 1000.0, math.nextafter(1000.0, math.inf)
    assert front([(rate, 30.0), (next_rate, 31.0)]) == [(next_rate, 31.0)]
