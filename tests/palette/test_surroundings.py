"""Sides of a single latent: the right colours whatever the quality, and nothing else changes."""

import numpy as np
import pytest

import regrain
from regrain import registry
from regrain.bitstream import Method
from regrain.palette.surroundings import flatten_short_sides, margins, repeat_edges


@pytest.fixture(scope="module")
def shipped():
    return registry.model_for(None, Method.PALETTE, None)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (8, 8), (8, 96), (65, 5), (1, 80)])
@pytest.mark.parametrize("quality", [0, 60, 100])
def test_colours_of_small_pictures(shipped, photo, size, quality):
    row, column = np.mgrid[: size[0], : size[1]]
    green = np.stack([40 + column % 9, 150 + row % 9, 60 + (row + column) % 9], 2).astype(np.uint8)
    for pixels in (green, photo(*size)):
        for realism in (0, 1):
            data = regrain.encode(pixels, quality=quality, model=shipped)
            shift = np.asarray(regrain.decode(data, model=shipped, realism=realism)).astype(float) - pixels
            assert np.abs(shift.mean((0, 1))).max() < 12


def test_only_a_single_latent_is_repeated_and_averaged():
    assert (margins(1, 1), margins(1, 2), margins(30, 1), margins(2, 2)) == ((4, 4), (4, 0), (0, 4), (0, 0))
    x = np.random.default_rng(0).random((3, 9, 8), np.float32)
    flat = flatten_short_sides(x, 8)
    assert (flat == flat[:, :, :1]).all()
    np.testing.assert_allclose(flat[:, :, 0], x.mean(2), rtol=1e-5)
    wide = np.random.default_rng(0).random((3, 9, 9), np.float32)
    assert flatten_short_sides(wide, 8) is wide
    assert repeat_edges(wide, 0, 0) is wide
    assert (repeat_edges(wide, 1, 2) == wide[:, np.arange(-1, 10).clip(0, 8)][:, :, np.arange(-2, 11).clip(0, 8)]).all()
