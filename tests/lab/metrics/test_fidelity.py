"""Distortion metrics: closed forms, symmetry, limits, and figures measured elsewhere on the same files."""

import csv
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from regrain.errors import UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.metrics import fidelity

SHARED = Path(os.environ.get("REGRAIN_SHARED", Path(__file__).parents[3] / "shared"))
MEASURED = SHARED / "data" / "reference_rd" / "kodak_measured.csv"


def noisy(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("step", [1, 7, 255])
def test_psnr_of_a_constant_difference_has_a_closed_form(step):
    dark = np.zeros((5, 9, 3), np.uint8)
    assert fidelity.psnr(dark, dark + np.uint8(step)) == pytest.approx(20 * math.log10(255 / step), abs=1e-12)


def test_psnr_averages_over_channels_together():
    dark = np.zeros((4, 4, 3), np.uint8)
    red = dark.copy()
    red[..., 0] = 30
    assert fidelity.psnr(dark, red) == pytest.approx(10 * math.log10(255**2 / (30**2 / 3)))


def test_equal_pictures_reach_the_upper_ends():
    picture = noisy(170, 163)
    assert fidelity.psnr(picture, picture) == math.inf
    assert fidelity.ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert fidelity.ms_ssim(picture, picture) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("metric", [fidelity.psnr, fidelity.ssim, fidelity.ms_ssim])
def test_metrics_are_symmetric_and_fall_with_noise(metric):
    clean = np.tile(np.linspace(40, 210, 176).astype(np.uint8)[None, :, None], (168, 1, 3))
    rough = np.random.default_rng(1).normal(size=clean.shape)
    little, much = (np.clip(clean + s * rough, 0, 255).astype(np.uint8) for s in (4, 25))
    assert metric(clean, little) == pytest.approx(metric(little, clean), rel=1e-6)
    assert metric(clean, much) < metric(clean, little)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_count_alike(channels):
    a, b = noisy(170, 170, 1, seed=1), noisy(170, 170, 1, seed=2)
    wide = (np.repeat(a, channels, axis=2), np.repeat(b, channels, axis=2))
    for metric in (fidelity.psnr, fidelity.ssim, fidelity.ms_ssim):
        assert metric(*wide) == pytest.approx(metric(a, b), abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(11, 11), (60, 83)])
def test_ssim_agrees_with_another_implementation(size, channels):
    skimage = pytest.importorskip("skimage.metrics", reason="needs scikit-image")
    clean = noisy(*size, channels)
    rough = np.random.default_rng(4).normal(0, 30, clean.shape)
    spoilt = np.clip(clean + rough, 0, 255).astype(np.uint8)
    theirs = skimage.structural_similarity(
        clean,
        spoilt,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert fidelity.ssim(clean, spoilt) == pytest.approx(theirs, abs=1e-5)


def test_pictures_too_small_for_the_windows_have_no_figure():
    assert fidelity.ms_ssim(noisy(160, 400), noisy(160, 400)) is None
    assert fidelity.ms_ssim(noisy(161, 161), noisy(161, 161)) is not None
    assert fidelity.ssim(noisy(10, 50), noisy(10, 50)) is None
    assert fidelity.ssim(noisy(11, 11), noisy(11, 11)) is not None
    assert fidelity.psnr(noisy(1, 1), noisy(1, 1)) == math.inf


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (noisy(8, 8), noisy(8, 9)),
        (noisy(8, 8), noisy(8, 8).astype(np.float32)),
        (noisy(8, 8)[..., 0], noisy(8, 8)[..., 0]),
        (noisy(0, 8), noisy(0, 8)),
    ],
)
@pytest.mark.parametrize("metric", [fidelity.psnr, fidelity.ssim, fidelity.ms_ssim])
def test_other_pictures_are_refused_in_one_line(metric, a, b):
    with pytest.raises(UsageError, match=r"^pictures are [^\n]+$"):
        metric(a, b)


@pytest.mark.skipif(not MEASURED.exists(), reason="needs shared/data/reference_rd and kodak")
@pytest.mark.parametrize("image", ["kodim05.png", "kodim19.png"])
@pytest.mark.parametrize(
    ("codec", "named", "quality"),
    [(baselines.JPEG, "jpeg lib", 10), (baselines.WEBP, "webp", 10), (baselines.JPEG_XL, "jpeg xl effort 7", 15)],
    ids=["JPEG", "WebP", "JPEG XL"],
)
def test_figures_measured_elsewhere_are_reproduced(image, codec, named, quality):
    if not codec.installed():
        pytest.skip(f"needs {codec.package}")
    with MEASURED.open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["codec"].startswith(named) and r["image"] == image]
    row = next(r for r in rows if r["setting"] == str(quality))
    original = baselines.JPEG.decode((SHARED / "data" / "kodak" / image).read_bytes())
    data = codec.encode(original, quality)
    if len(data) != int(row["bytes"]):
        pytest.skip(f"another version of the {codec.name} encoder: {len(data)} bytes, not {row['bytes']}")
    decoded = codec.decode(data)
    assert fidelity.psnr(original, decoded) == pytest.approx(float(row["psnr"]), abs=1e-4)
    assert fidelity.ms_ssim(original, decoded) == pytest.approx(float(row["ms_ssim"]), abs=1e-4)


def test_ssimulacra2_falls_with_the_error():
    original = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8) // 2 + 60
    near, far = (np.clip(original + step, 0, 255).astype(np.uint8) for step in (2, 30))
    assert fidelity.ssimulacra2(original, original) == 100
    assert 100 > fidelity.ssimulacra2(original, near) > fidelity.ssimulacra2(original, far)
    assert fidelity.ssimulacra2(original[:7], original[:7]) is None
    with pytest.raises(UsageError, match="pictures are"):
        fidelity.ssimulacra2(original, original[:20])


def test_ssimulacra2_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)
    with pytest.raises(UsageError, match=r"needs ssimulacra2; .* 'regrain\[lab\]'"):
        fidelity.ssimulacra2(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.uint8))
