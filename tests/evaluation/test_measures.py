"""The metrics by name: what they compute, and what is known of how to read them."""

import numpy as np
import pytest

from regrain.errors import ModelError
from regrain.evaluation import metrics
from regrain.evaluation.measures import SCALES, measures


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_without_weights_there_are_the_four_that_need_none():
    found = measures()
    assert list(found) == ["psnr", "ssim", "ms_ssim", "fsim"]
    assert found.keys() <= SCALES.keys()
    pair = noisy(170, 170), noisy(170, 170, seed=1)
    assert found["ssim"](*pair) == metrics.ssim(*pair)


@pytest.mark.parametrize("name", ["psnr", "ssim", "fsim"])
def test_the_scales_know_which_way_is_better(name):
    clean = np.tile(np.linspace(40, 210, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    rough = np.random.default_rng(1).normal(size=clean.shape)
    little, much = (np.clip(clean + s * rough, 0, 255).astype(np.uint8) for s in (4, 25))
    metric = measures()[name]
    assert (metric(clean, little) > metric(clean, much)) == SCALES[name].higher


def test_lpips_is_named_by_what_the_file_holds(shared):
    folder = shared / "data" / "weights"
    found = measures([folder / "lpips_squeeze_v0.1.safetensors", folder / "lpips_alex_v0.1.safetensors"])
    assert {"lpips_alex", "lpips_squeeze"} <= found.keys()
    for name in ("lpips_alex", "lpips_squeeze"):
        assert found[name](noisy(40, 40), noisy(40, 40)) == pytest.approx(0, abs=1e-6)
        assert found[name](noisy(40, 40), noisy(40, 40, seed=1)) > 0.01
        assert found[name](noisy(31, 400), noisy(31, 400)) is None
        assert SCALES[name].perceptual
        assert not SCALES[name].higher


def test_weights_that_are_not_there_are_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="no LPIPS weights"):
        measures([tmp_path / "absent.safetensors"])


def test_an_axis_says_what_is_better():
    assert SCALES["psnr"].axis == "PSNR, dB (higher is better)"
    assert SCALES["dists"].axis == "DISTS (lower is better)"
