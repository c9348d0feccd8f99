"""Error diffusion of vectors: a plain loop does the same, and no error is lost but over borders."""

import numpy as np
import pytest

from regrain.palette.colours import UNIT, dither


def case(height=12, width=17, channels=4, colours=9, seed=0):
    random = np.random.default_rng(seed)
    latents = np.clip(np.rint(random.normal(127.5, 40, (height, width, channels))), 0, 255).astype(np.uint8)
    return latents, np.unique(random.integers(60, 200, (colours, channels)), axis=0).astype(np.uint8)


def loop(latents, palette, strength=1.0, turning=False):
    """Floyd and Steinberg's, as they tell it: each error is handed on as it arises. Indices and errors."""
    height, width, channels = latents.shape
    values, errors = latents.astype(float), np.zeros(latents.shape)
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


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (12, 17), (30, 5)])
def test_a_plain_loop_does_exactly_the_same(size):
    for seed in range(3):
        latents, palette = case(*size, seed=seed)
        assert (dither(latents, palette) == loop(latents, palette)[0]).all()


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_any_number_of_channels(channels):
    latents, palette = case(9, 11, channels, 40)
    assert (dither(latents, palette) == loop(latents, palette)[0]).all()


def test_error_is_lost_over_borders_alone():
    latents, palette = case(40, 30, seed=4)
    indices = dither(latents, palette)
    errors = np.abs(loop(latents, palette)[1])
    over_borders = errors[-1].sum(0) + errors[:, 0].sum(0) + errors[:, -1].sum(0)
    drift = np.abs((palette[indices].astype(float) - latents).sum((0, 1)))
    assert (drift <= over_borders + latents[..., 0].size / UNIT).all()


def test_a_flat_area_is_mixed_from_what_lies_around_it():
    palette = np.array([[0, 0], [0, 200], [200, 0], [200, 200]], np.uint8)
    flat = np.broadcast_to(np.array([50, 170], np.uint8), (64, 64, 2))
    assert np.abs(palette[dither(flat, palette)].mean((0, 1)) - [50, 170]).max() < 2


def test_of_colours_equally_near_the_first_is_taken():
    assert dither(np.full((1, 1, 1), 5, np.uint8), np.array([[4], [6]], np.uint8)) == 0


def test_pictures_of_palette_colours_are_left_alone():
    _, palette = case()
    indices = np.random.default_rng(3).integers(0, len(palette), (8, 9)).astype(np.uint8)
    found = dither(palette[indices], palette)
    assert found.dtype == np.uint8
    assert (found == indices).all()
