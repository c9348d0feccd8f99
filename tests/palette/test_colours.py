"""Palettes: few, sorted and near the latents; and they come back from what is told of them."""

import numpy as np
import pytest

from regrain.entropy import coder
from regrain.errors import Corrupt
from regrain.palette import colours
from regrain.palette.colours import choose, parts, take


def latents(number, channels=4, seed=0):
    random = np.random.default_rng(seed)
    return np.clip(np.rint(random.normal(127.5, 32, (number, channels))), 0, 255).astype(np.uint8)


def error(points, palette):
    return np.square(points[:, None].astype(float) - palette).sum(2).min(1).mean()


@pytest.mark.parametrize(("number", "count", "channels"), [(500, 1, 4), (500, 7, 3), (900, 256, 4), (300, 64, 16)])
def test_a_palette_is_small_sorted_distinct_and_in_steps(number, count, channels):
    for step in (1, 4, 9):
        palette = choose(latents(number, channels), count, step=step)
        assert palette.dtype == np.uint8
        assert 1 <= len(palette) <= count
        assert palette.shape[1] == channels
        assert (palette == np.unique(palette, axis=0)).all()
        assert not (palette % step).any()


def test_few_distinct_latents_are_their_own_palette():
    points = np.array([[3, 250], [255, 0], [3, 249], [3, 250]], np.uint8)
    assert choose(points, 3).tolist() == [[3, 249], [3, 250], [255, 0]]
    assert choose(points[:1], 256).tolist() == [[3, 250]]


def test_one_colour_is_the_mean():
    points = latents(1000)
    assert choose(points, 1, step=1).tolist() == [np.rint(points.mean(0)).tolist()]


@pytest.mark.parametrize("levels", [(20, 120, 230), (20, 230)])
def test_separate_clusters_are_found(levels):
    centres = np.array([[a, b, c] for a in levels for b in (40, 200) for c in (60, 190)])
    points = centres[:, None] + np.random.default_rng(1).integers(-3, 4, (1, 50, 3))
    found = choose(points.reshape(-1, 3).astype(np.uint8), len(centres), step=1)
    assert (found == np.rint(points.mean(1))).all()


def test_more_colours_leave_less_error():
    points = latents(2000)
    errors = [error(points, choose(points, count)) for count in (4, 16, 64, 256)]
    assert errors == sorted(errors, reverse=True)


def test_no_iteration_makes_the_error_greater_even_from_a_start_with_empty_clusters():
    points = np.unique(latents(600), axis=0).astype(float)
    weights = np.arange(len(points)) % 3 + 1.0
    centres = np.repeat(points[:4], 5, 0)
    served = [np.inf]
    for _ in range(12):
        served.append((np.square(points[:, None] - centres).sum(2).min(1) * weights).sum())
        centres = colours._lloyd(points, weights, centres)
    assert served == sorted(served, reverse=True)
    assert len(np.unique(centres, axis=0)) == 20


def test_the_same_latents_have_the_same_palette():
    points = latents(3000)
    assert (choose(points, 64) == choose(points, 64)).all()


def test_of_many_latents_a_sample_is_looked_at(monkeypatch):
    monkeypatch.setattr(colours, "SAMPLE", 100)
    points = np.repeat(latents(100, seed=3), 50, 0)
    assert (choose(points, 8) == choose(points[::50], 8)).all()


def back(head, data):
    return take(head, coder.Decoder(data))


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
@pytest.mark.parametrize("count", [1, 2, 3, 50, 256])
@pytest.mark.parametrize("step", [1, 4, 60])
def test_a_palette_comes_back(channels, count, step):
    points = latents(5 * count, channels, seed=count) // step * step
    palette = np.unique(points, axis=0)[:count]
    head, told = parts(palette)
    assert len(head) == 2 + 2 * channels
    assert (back(head, coder.encode(told)) == palette).all()


def test_corners_come_back():
    palette = np.array([[0, 0], [0, 255], [255, 0], [255, 255]], np.uint8)
    head, told = parts(palette)
    assert head == bytes([3, 255, 0, 1, 0, 1])
    assert (back(head, coder.encode(told)) == palette).all()


def test_the_order_of_colours_costs_nothing():
    """Of 256 vectors in a box of 2^24 places, log2(256!) = 1684 bits of 256 x 24 are their order's."""
    palette = np.unique(np.random.default_rng(2).integers(0, 64, (256, 4)), axis=0).astype(np.uint8)
    size = len(coder.encode(parts(palette)[1]))
    assert (256 * 24 - 1684) / 8 < size < (256 * 24 - 1684) / 8 + 40


def test_another_head_is_that_of_another_palette_or_refused():
    head, told = parts(choose(latents(300), 20))
    data = coder.encode(told)
    refused = 0
    for at in range(len(head)):
        for value in {0, 1, 2, 77, 255} - {head[at]}:
            other = head[:at] + bytes([value]) + head[at + 1 :]
            try:
                assert parts(back(other, data))[0] == other
            except Corrupt:
                refused += 1
    assert refused > 3 * len(head)


def test_a_colour_that_comes_twice_is_refused():
    with pytest.raises(Corrupt, match="twice"):
        take(bytes([1, 1, 9, 0]), coder.Decoder(coder.encode([])))
