"""The ladder of qualities: no step up it gives a larger file that is worse by two metrics."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import regrain
from regrain_lab.evaluation.sweep import load_pixels
from regrain_lab.metrics.registry import SCALES, load_metrics

STEPS = range(0, 101, 10)
GOLDEN = Path(__file__).parents[1] / "golden" / "colour.png"


def drawn() -> np.ndarray:
    """A picture (176, 176, 3) of shapes, slopes and grain."""
    down, across = np.mgrid[:176, :176]
    slope = np.stack([across, down, across + down], axis=2) * 0.6
    disc = (np.hypot(across - 60, down - 90) < 40)[..., None] * np.array([90.0, -40, 20])
    stripes = 25 * np.sin(across / 3 + down / 9)[..., None] * (across > 110)[..., None]
    grain = np.random.default_rng(3).normal(0, 14, (176, 176, 1)) * (down > 100)[..., None]
    return np.clip(slope + disc + stripes + grain, 0, 255).astype(np.uint8)


def worse(pictures: list[np.ndarray], judges: dict) -> dict[int, list[str]]:
    """By step up the ladder whose files are larger, the metrics whose mean is worse there."""
    rungs = []
    for quality in STEPS:
        files = [regrain.encode(pixels, quality=quality) for pixels in pictures]
        decoded = [np.asarray(regrain.decode(file).convert("RGB")) for file in files]
        means = {
            name: np.mean([judge(*pair) for pair in zip(pictures, decoded, strict=True)])
            * (1 if SCALES[name].higher else -1)
            for name, judge in judges.items()
        }
        rungs.append((sum(map(len, files)), means))
    return {
        quality: [name for name in judges if upper[1][name] < lower[1][name]]
        for quality, (lower, upper) in zip(STEPS, pairwise(rungs), strict=False)
        if upper[0] > lower[0]
    }


def test_no_step_is_larger_and_worse_by_two_metrics():
    judges = {name: judge for name, judge in load_metrics().items() if name in ("psnr", "ms_ssim", "ssimulacra2")}
    found = worse([drawn()], judges)
    assert len(found) == len(STEPS) - 1
    assert not {step: names for step, names in found.items() if len(names) > 1}


@pytest.mark.slow
def test_no_step_over_photos_is(kodak, shared):
    """Crops of two photos, and LPIPS beside."""
    judges = load_metrics([shared / "data" / "weights" / "lpips_alex_v0.1.safetensors"])
    names = ("psnr", "ms_ssim", "ssimulacra2", "lpips_alex")
    crops = [load_pixels(file)[160:352, 200:392] for file in kodak[::12]]
    found = worse(crops, {name: judges[name] for name in names})
    assert not {step: names for step, names in found.items() if len(names) > 1}
