"""Tiles partition the latent grid; windows cover it with a halo."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regrain.conditional.grid import Region, latent_size, tiles, tiles_below, windows

SIZES = st.integers(1, 40)


@given(SIZES, SIZES, st.integers(1, 12))
def test_tiles_cover_every_latent_once(rows, columns, side):
    seen = np.zeros((rows, columns), int)
    for region in tiles(rows, columns, side):
        seen[region.latents] += 1
    assert (seen == 1).all()


@given(SIZES, SIZES, st.integers(1, 12), st.data())
def test_tiles_below_an_area_are_those_that_meet_it(rows, columns, side, data):
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    area = Region(top, data.draw(st.integers(top + 1, rows)), left, data.draw(st.integers(left + 1, columns)))
    parts = {index: region.intersection(area) for index, region in enumerate(tiles(rows, columns, side))}
    meeting = {index for index, part in parts.items() if part.height > 0 and part.width > 0}
    below = tiles_below(area, rows, columns, side)
    assert set(below) == meeting
    assert all(tiles(rows, columns, side)[index] == region for index, region in below.items())


@given(SIZES, SIZES, st.integers(1, 12), st.integers(0, 5))
def test_a_core_lies_in_its_outer_region(rows, columns, side, halo):
    grid = np.arange(rows * columns).reshape(rows, columns)
    for window in windows(rows, columns, side, halo):
        outer = grid[window.outer.latents]
        assert (outer[window.core.within(window.outer).latents] == grid[window.core.latents]).all()
        assert window.outer.height <= window.core.height + 2 * halo


def test_pixels_are_sixteen_to_a_latent():
    assert latent_size(1, 17) == (1, 2)
    assert Region(1, 3, 0, 2).pixels == (slice(16, 48), slice(0, 32))
