"""Sides of a single latent: the right colours whatever the quality, and nothing else changes."""

import numpy as np
import pytest

import regrain
from regrain import registry
from regrain.bitstream import Method
from regrain.image import to_signed
from regrain.palette.encode import analyse
from regrain.palette.model import LatentSpace


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


@pytest.mark.parametrize(("size", "flat"), [((9, 8), (2,)), ((8, 30), (1,)), ((3, 5), (1, 2)), ((9, 9), ())])
def test_the_encoder_sees_the_mean_along_a_side_that_one_latent_covers(size, flat):
    seen = []
    space = LatentSpace(lambda x: seen.append(x) or x[:, ::8, ::8], None, np.float32(0), np.float32(1), channels=3)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    expected = to_signed(pixels)
    expected = np.broadcast_to(expected.mean(flat, keepdims=True), expected.shape) if flat else expected
    assert analyse(space, pixels).shape == (3, *(-(-side // 8) for side in size))
    assert all(seen[0].shape[axis] == 72 for axis in flat)
    top, left = (32 * (side <= 8) for side in size)
    np.testing.assert_allclose(seen[0][:, top : top + size[0], left : left + size[1]], expected, rtol=1e-6)
