"""The spectrum: every coefficient in one band, closed forms of waves, and what a blur leaves."""

import math

import numpy as np
import pytest

from regrain_lab.metrics.spectrum import BANDS, energies, levels


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_all_energy_but_the_mean_is_in_one_band():
    picture = grey(np.random.default_rng(0).uniform(0, 256, (24, 40)))
    blocks = picture[..., 0].astype(float).reshape(3, 8, 5, 8)
    assert energies(picture).shape == (BANDS,)
    assert energies(picture).sum() == pytest.approx(np.square(blocks - blocks.mean(axis=(1, 3), keepdims=True)).sum())


@pytest.mark.parametrize(
    ("u", "v", "band"), [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 4, 5), (0, 7, 7), (5, 6, 8), (7, 7, 8)]
)
def test_a_wave_lies_in_the_band_of_its_radius(u, v, band):
    place = (2 * np.arange(8) + 1) * math.pi / 16
    found = energies(grey(128 + 100 * np.outer(np.cos(u * place), np.cos(v * place))))
    assert found.argmax() + 1 == band
    assert found[band - 1] > 0.999 * found.sum()


def test_half_the_amplitude_is_6_decibels_less_and_a_shift_of_the_mean_none():
    rough = np.random.default_rng(0).integers(-40, 40, (64, 64)) * 2
    whole, half = energies(grey(128 + rough)), energies(grey(100 + rough / 2))
    np.testing.assert_allclose(levels(whole, half), np.full(BANDS, -20 * math.log10(2)), atol=1e-9)
    np.testing.assert_allclose(levels(whole, whole), np.zeros(BANDS))


def test_a_blur_takes_the_finest_most():
    rough = np.random.default_rng(0).uniform(0, 256, (64, 64))
    blurred = (rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1) + np.roll(rough, (1, 1), (0, 1))) / 4
    found = levels(energies(grey(rough)), energies(grey(blurred)))
    assert (np.diff(found) < 0).all()


def test_a_flat_or_tiny_original_has_no_level():
    flat, tiny = np.full((16, 16, 3), 9, np.uint8), np.zeros((7, 90, 3), np.uint8)
    for picture in (flat, tiny):
        assert np.isnan(levels(np.round(energies(picture), 9), energies(picture))).all()
