"""Error diffusion of vectors: a plain loop does the same, and no error is lost but over borders."""

import numpy as np
import pytest

from regrain.errors import UsageError
from regrain.palette.dither import UNIT, nearest, raster


def case(height=12, width=17, channels=4, colours=9, seed=0):
    random = np.random.default_rng(seed)
    latents = random.normal(127.5, 40, (height, width, channels))
    return latents, np.unique(random.integers(60, 200, (colours, channels)), axis=0).astype(np.uint8)


def loop(latents, palette, strength, turning=False):
    """Floyd and Steinberg's, as they tell it: each error is handed on as it arises. Indices and errors."""
    height, width, channels = latents.shape
    values, errors = np.rint(latents * UNIT) / UNIT, np.zeros_like(latents)
    indices = np.zeros((height, width), int)
    got = np.zeros((height + 1, width + 2, channels))
    for row in range(height):
        ahead = -1 if turning and row % 2 else 1
        for column in range(width)[::ahead]:
            v = np.rint((values[row, column] + got[row, column + 1] / 16) * UNIT) / UNIT
            indices[row, column] = k = np.square(palette - v).sum(1).argmin()
            errors[row, column] = error = strength * (v - palette[k])
            got[row, column + 1 + ahead] += 7 * error
            for aside, part in ((-ahead, 3), (0, 5), (ahead, 1)):
                got[row + 1, column + 1 + aside] += part * error
    return indices, errors


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (12, 17), (30, 5)])
def test_a_plain_loop_does_exactly_the_same(size, strength):
    for seed in range(3):
        latents, palette = case(*size, seed=seed)
        assert (raster(latents, palette, strength) == loop(latents, palette, strength)[0]).all()


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_any_number_of_channels(channels):
    latents, palette = case(9, 11, channels, 40)
    assert (raster(latents, palette) == loop(latents, palette, 1)[0]).all()


def test_error_is_lost_over_borders_alone():
    latents, palette = case(40, 30, seed=4)
    indices = raster(latents, palette)
    errors = np.abs(loop(latents, palette, 1)[1])
    over_borders = errors[-1].sum(0) + errors[:, 0].sum(0) + errors[:, -1].sum(0)
    assert (np.abs((palette[indices] - latents).sum((0, 1))) <= over_borders + latents[..., 0].size / UNIT).all()


def test_a_flat_area_is_mixed_from_what_lies_around_it():
    palette = np.array([[0, 0], [0, 200], [200, 0], [200, 200]], np.uint8)
    flat = np.broadcast_to([50.0, 170.0], (64, 64, 2))
    assert np.abs(palette[raster(flat, palette)].mean((0, 1)) - [50, 170]).max() < 2
    assert (palette[nearest(flat, palette)] == [0, 200]).all()


def test_strength_0_is_the_nearest_colour_and_of_equals_the_first():
    latents, palette = case()
    distances = np.square(latents[:, :, None] - palette).sum(3)
    assert (nearest(latents, palette) == distances.argmin(2)).all()
    assert (raster(latents, palette, 0) == nearest(latents, palette)).all()
    assert nearest(np.full((1, 1, 1), 5, np.uint8), np.array([[4], [6]], np.uint8)) == 0


def test_pictures_of_palette_colours_are_left_alone():
    _, palette = case()
    indices = np.random.default_rng(3).integers(0, len(palette), (8, 9)).astype(np.uint8)
    for way in (nearest, raster):
        found = way(palette[indices], palette)
        assert found.dtype == np.uint8
        assert (found == indices).all()


def test_many_positions_are_done_in_portions(monkeypatch):
    from regrain.palette import dither

    latents, palette = case(30, 41)
    whole = nearest(latents, palette)
    monkeypatch.setattr(dither, "_TOGETHER", 100)
    assert (nearest(latents, palette) == whole).all()


def test_what_does_not_fit_is_refused():
    latents, palette = case()
    bad = [
        (latents[0], palette, 1),
        (latents[:0], palette, 1),
        (latents, palette[:, :2], 1),
        (latents, palette[:0], 1),
        (latents, palette.astype(float), 1),
        (latents, np.zeros((257, 4), np.uint8), 1),
        (latents, palette, -0.1),
        (latents, palette, 1.1),
        (latents, palette, float("nan")),
        (latents * np.nan, palette, 1),
        (latents * 1e9, palette, 1),
    ]
    for some, colours, strength in bad:
        with pytest.raises(UsageError):
            raster(some, colours, strength)
