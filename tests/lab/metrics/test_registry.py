"""The metrics by name: what they compute, and what is known of how to read them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from regrain.errors import ModelError
from regrain_lab.metrics import fidelity
from regrain_lab.metrics.dists import Dists
from regrain_lab.metrics.pieapp import PieApp
from regrain_lab.metrics.registry import SCALES, load_metrics, missing_weights


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_without_weights_there_are_the_five_that_need_none():
    found = load_metrics()
    assert list(found) == ["psnr", "ssim", "ms_ssim", "fsim", "ssimulacra2"]
    assert found.keys() <= SCALES.keys()
    pair = noisy(170, 170), noisy(170, 170, seed=1)
    assert found["ssim"](*pair) == fidelity.ssim(*pair)


@pytest.mark.parametrize("name", ["psnr", "ssim", "fsim", "ssimulacra2"])
def test_the_scales_know_which_way_is_better(name):
    clean = np.tile(np.linspace(40, 210, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    rough = np.random.default_rng(1).normal(size=clean.shape)
    little, much = (np.clip(clean + s * rough, 0, 255).astype(np.uint8) for s in (4, 25))
    metric = load_metrics()[name]
    assert (metric(clean, little) > metric(clean, much)) == SCALES[name].higher


def test_networks_are_named_by_what_the_files_hold(shared):
    folder = shared / "data" / "weights"
    found = load_metrics(folder.glob("*.safetensors"))
    names = ("lpips_alex", "lpips_squeeze", "lpips_vgg", "dists")
    assert {*names} <= found.keys()
    for name in names:
        assert found[name](noisy(40, 40), noisy(40, 40)) == pytest.approx(0, abs=1e-6)
        assert found[name](noisy(40, 40), noisy(40, 40, seed=1)) > 0.01
        assert found[name](noisy(31, 400), noisy(31, 400)) is None
        assert SCALES[name].perceptual
        assert not SCALES[name].higher


def test_weights_that_are_not_there_are_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"^[^\n]*absent\.safetensors: weights cannot be read"):
        load_metrics([tmp_path / "absent.safetensors"])


class Gap(torch.nn.Module):
    """In place of a network: the mean difference, of batches in [-1, 1]."""

    smallest = 40

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.shape[:2] == b.shape[:2] == (1, 3)
        assert a.abs().max() <= 1
        return (a - b).mean(dim=(1, 2, 3))


def test_each_metric_is_there_once_its_files_are(tmp_path, monkeypatch):
    files = {"a": ["alpha", "beta"], "b": ["features.28.weight"], "c": ["fc1_score.weight"]}
    for name, tensors in files.items():
        save_file({tensor: torch.zeros(1) for tensor in tensors}, tmp_path / name)
    given = []
    monkeypatch.setattr(Dists, "load", lambda *paths: given.append(paths) or Gap())
    monkeypatch.setattr(PieApp, "load", lambda *paths: given.append(paths) or Gap())
    monkeypatch.setattr(Dists, "smallest", 40)
    assert "dists" not in load_metrics([tmp_path / "a"])
    assert "dists" not in load_metrics([tmp_path / "b"])
    found = load_metrics([tmp_path / name for name in files])
    assert given == [(tmp_path / "b", tmp_path / "a"), (tmp_path / "c",)]
    assert list(found)[-3:] == ["dists", "pieapp", "ssimulacra2"]
    white, black = np.full((40, 70, 3), 255, np.uint8), np.zeros((40, 70, 3), np.uint8)
    assert found["dists"](white, black) == 2
    assert found["dists"](white[:39], black[:39]) is None


def test_what_is_missing_is_a_line_that_says_how_to_get_it():
    kinds = {"lpips_alex", "lpips_squeeze", "lpips_vgg", "vgg16", "dists", "pieapp"}
    assert missing_weights(kinds) == []
    assert [line.partition(" left out: ")[0] for line in missing_weights(())] == [
        *(SCALES[name].title for name in ("lpips_alex", "lpips_squeeze", "lpips_vgg", "dists", "pieapp")),
        "KID and Gram distance",
    ]
    _, line, _ = missing_weights(kinds - {"vgg16"})
    assert line.startswith("DISTS left out: name torchvision's vgg16-397923af.pth or its features as safetensors and ")
    assert all("--weights" in line and "\n" not in line for line in missing_weights(()))


def test_an_axis_says_what_is_better():
    assert SCALES["psnr"].axis == "PSNR, dB (higher is better)"
    assert SCALES["dists"].axis == "DISTS (lower is better)"
