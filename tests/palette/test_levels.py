"""Levels and latents; what form a quality takes."""

import numpy as np

from regrain.palette.encode import BEST_PALETTE, FEW, FINE, STEPS, Prepared, form_at
from regrain.palette.sections import from_levels, to_levels


def test_every_level_comes_back():
    levels = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)
    assert (to_levels(from_levels(levels)) == levels).all()


def test_latents_are_kept_to_half_a_level_within_four_deviations_and_cut_beyond():
    latents = np.linspace(-5, 5, 4000, dtype=np.float32).reshape(1, 50, 80)
    back = from_levels(to_levels(latents))
    assert back.dtype == np.float32
    assert np.abs(back - latents.clip(-4, 4)).max() <= 4 / 255 + 1e-6


def test_what_is_no_number_is_a_level_all_the_same():
    assert to_levels(np.array([[[np.nan, np.inf, -np.inf]]], np.float32)).ravel().tolist() == [128, 255, 0]


def test_colours_rise_with_quality_and_steps_fall():
    few = [form_at(quality) for quality in range(BEST_PALETTE + 1)]
    many = [form_at(quality) for quality in range(BEST_PALETTE + 1, 25601)]
    colours, steps = [count for count, _ in few], [step for _, step in many]
    assert not any(step for _, step in few)
    assert not any(count for count, _ in many)
    assert colours == sorted(colours)
    assert (colours[0], colours[-1]) == (8, 256)
    assert steps == sorted(steps, reverse=True)
    assert (steps[0], steps[-1]) == (20, 7)


def test_a_tile_of_few_latents_takes_fine_steps_and_a_larger_one_those_of_the_quality():
    tiles = [np.random.default_rng(0).integers(0, 256, (1, side, 4), np.uint8) for side in (FEW, FEW + 1)]
    kinds = [(payload[0], payload[1]) for payload in Prepared(tiles).payloads(100 * 256)]
    assert kinds == [(2, FINE), (2, STEPS[1])]
    assert STEPS[1] > FINE
