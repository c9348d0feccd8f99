"""ONNX Runtime and torch run the same network: files of either decode on the other, and torch need not be there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import regrain
from regrain import torch_checkpoint
from regrain.bitstream import read
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.errors import ModelError
from regrain.progressive.codec import ProgressiveModel

pytest.importorskip("onnxruntime")

GOLDEN = Path(__file__).parents[1] / "golden" / "progressive.rgn"
DEVICES = ("cpu", "onnx")
CONFIG = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import regrain
photo = np.add.outer(np.arange(24), 9 * np.arange(20))[:, :, None].repeat(3, 2).astype(np.uint8)
data = regrain.encode(photo, quality=30, method="progressive")
for name, source in (("own", data), ("golden", {golden!r})):
    pixels = np.asarray(regrain.decode(source, steps=2, eta=0.5))
    assert pixels.dtype == np.uint8
    np.save(f"{{name}}.npy", pixels)
open("own.rgn", "wb").write(data)
"""


@pytest.fixture(scope="module")
def models():
    """The package's weights on both backends."""
    return {device: regrain.load("progressive", device=device) for device in DEVICES}


@pytest.fixture(scope="module")
def photo():
    row, column = np.mgrid[:70, :50] / 9
    waves = np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)
    return (127.5 + 90 * waves + np.random.default_rng(0).normal(0, 9, waves.shape)).clip(0, 255).astype(np.uint8)


def pixels(data, model, **options):
    return np.asarray(regrain.decode(data, model=model, **options)).astype(int)


def tensors(**changes):
    """Weights of a small network as a file has them, in which every layer counts."""
    torch.manual_seed(0)
    prior = Prior(CONFIG)
    for weight in prior.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return {name: tensor.half() for name, tensor in prior.state_dict().items()} | changes


def test_both_say_the_same_of_themselves(models):
    assert models["cpu"].fingerprint == models["onnx"].fingerprint
    assert models["cpu"].recipe == models["onnx"].recipe
    assert [repr(models[device]).rpartition(" ")[2] for device in DEVICES] == ["cpu>", "onnx>"]


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 3.3, 7.0])
def test_estimates_are_equal_up_to_rounding(models, log_snr):
    x_t = np.random.default_rng(1).standard_normal((3, 48, 64), np.float32)
    estimates = [models[device].denoiser.denoise(x_t, log_snr) for device in DEVICES]
    assert np.abs(estimates[0] - estimates[1]).max() < 1e-4


@pytest.mark.parametrize("options", [{}, {"steps": 8}, {"steps": 4, "eta": 1.0, "seed": 3}])
def test_the_golden_file_decodes_to_the_same_picture_on_both(models, options):
    one, other = (pixels(GOLDEN.read_bytes(), models[device], **options) for device in DEVICES)
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("quality", [20, 60])
def test_a_file_of_either_decodes_on_the_other(models, photo, quality):
    """The bytes may differ where two candidates are nearly alike; the pixels of one file differ by a level at most."""
    files = {device: regrain.encode(photo, quality=quality, tile=64, model=models[device]) for device in DEVICES}
    for data in files.values():
        assert np.abs(pixels(data, models["cpu"]) - pixels(data, models["onnx"])).max() <= 1
    assert read(files["cpu"]).tiles[0] == read(files["onnx"]).tiles[0]
    assert len(files["cpu"]) == pytest.approx(len(files["onnx"]), rel=0.01)


@pytest.mark.parametrize(("device", "backend"), [(None, "onnx"), ("onnx", "onnx"), ("cpu", "cpu")])
def test_a_device_names_its_backend(weights, device, backend):
    assert str(ProgressiveModel.load(weights, device).device) == backend
    assert str(regrain.load(weights, device).device) == backend


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("changes", "metadata", "reason"),
    [
        ({}, {"kind": "palette"}, "not weights of an unconditional prior"),
        ({}, {"config": {"widths": [8, 8]}}, "expected 3 values, got 2"),
        ({}, {"config": {"depths": [1024, 1, 1]}}, "layers"),
        ({"enter.bias": torch.zeros(9)}, {}, "enter.bias is"),
        ({"attention": torch.zeros(9)}, {}, "attention"),
    ],
)
def test_weights_of_another_shape_are_refused_alike(tmp_path, device, changes, metadata, reason):
    path = tmp_path / "w.safetensors"
    torch_checkpoint.save(
        path, tensors(**changes), {"kind": "prior", "config": CONFIG.to_dict(), "recipe": "tiny"} | metadata
    )
    with pytest.raises(ModelError, match=reason) as error:
        ProgressiveModel.load(path, device)
    assert "\n" not in str(error.value)


def test_a_fresh_process_encodes_and_decodes_without_torch(models, tmp_path):
    code = WITHOUT_TORCH.format(golden=str(GOLDEN))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, path in (("own", tmp_path / "own.rgn"), ("golden", GOLDEN)):
        there = np.load(tmp_path / f"{name}.npy").astype(int)
        assert np.abs(there - pixels(path.read_bytes(), models["cpu"], steps=2, eta=0.5)).max() <= 1
