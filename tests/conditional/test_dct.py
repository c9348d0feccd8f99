"""The DCT on arrays is that on tensors; blocks with detail that it misses are known, and keep their mean colour."""

import numpy as np
import pytest
import torch

from regrain.conditional.dct import BLOCK, LATENT_MAX, dct_basis, fine_blocks, match_means
from regrain.conditional.encode import ADDED_MAX
from regrain.conditional.transform import project as torch_project
from regrain.conditional.transform import sketch as torch_sketch


def noise(*shape: int) -> np.ndarray:
    """Pixels at either end of their range, as tosses of a coin."""
    return np.random.default_rng(0).choice(np.array([-1, 1], np.float32), shape)


def project(x: np.ndarray, channels: int) -> np.ndarray:
    return torch_project(torch.from_numpy(x)[None], channels)[0].numpy()


def sketch(y: np.ndarray) -> np.ndarray:
    return torch_sketch(torch.from_numpy(y)[None])[0].numpy()


def block_means(x: np.ndarray) -> np.ndarray:
    """(3, 16 H, 16 W) -> (3, H, W)."""
    return x.reshape(3, x.shape[1] // BLOCK, BLOCK, x.shape[2] // BLOCK, BLOCK).mean((2, 4))


@pytest.mark.parametrize("channels", [1, 100, 256, 768])
def test_the_basis_is_orthonormal_and_its_deviations_fall(channels):
    rows, std = dct_basis(channels)
    np.testing.assert_allclose(rows @ rows.T, np.eye(channels), atol=1e-5)
    assert (np.diff(std) <= 0).all()


def test_blocks_are_fine_where_the_sketch_misses_much_of_them():
    """Against the residual itself, at an amplitude on either side of the threshold in every block."""
    x = noise(3, 96, 96) * np.linspace(0.1, 0.4, 6, dtype=np.float32).repeat(BLOCK)
    missing = x - sketch(project(x, 100))
    rms = 127.5 * np.sqrt(block_means(np.square(missing)).mean(0))
    fine = fine_blocks(x, project(x, 100))
    assert np.array_equal(fine, rms > 24)
    assert 0 < fine.sum() < fine.size


def test_means_match_in_the_masked_blocks_alone():
    x, blocks = noise(3, 64, 48), np.arange(12).reshape(4, 3) % 2 == 0
    y = project(x, 100)
    matched = match_means(y, x, blocks)
    assert np.array_equal(matched[:, ~blocks], y[:, ~blocks])
    before, after = (np.abs(block_means(sketch(z).clip(-1, 1)) - block_means(x))[:, blocks].max() for z in (y, matched))
    assert after < 1e-3 < before


def test_no_picture_reaches_the_range_of_latents():
    rows, std = dct_basis(256)
    assert (np.abs(rows).sum(1) / std).max() + ADDED_MAX < LATENT_MAX
