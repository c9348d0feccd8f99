"""ONNX Runtime and torch are one method: equal pictures to a level; torch is not needed; what is missing is named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import regrain
from regrain import bitstream
from regrain.errors import UsageError
from regrain.palette.codec import PaletteModel
from regrain.palette.encode import analyse
from regrain.palette.sections import to_levels

GOLDEN = Path(__file__).parents[1] / "golden"
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import regrain
pixels, folder = np.load("pixels.npy"), sys.argv[1]
for quality in (20, 90):
    data = regrain.encode(pixels, quality=quality, method="palette")
    open(f"{quality}.rgn", "wb").write(data)
    np.save(f"{quality}.npy", np.asarray(regrain.decode(data, realism=1, steps=2, eta=0.5, seed=1)))
for name in ("palette", "levels"):
    np.save(f"{name}.npy", np.asarray(regrain.decode(f"{folder}/{name}.rgn")))
for path, device in (("stable/diffusion", None), ("stable/diffusion", "cpu"), (None, "cuda")):
    try:
        regrain.load(path or "palette", device=device)
    except regrain.RegrainError as error:
        print(error)
assert sys.modules["torch"] is None
assert not [name for name in sys.modules if name.startswith(("torch.", "diffusers"))]
"""


@pytest.fixture(scope="module")
def shipped():
    """The weights that ship, on ONNX Runtime and on torch."""
    return regrain.load("palette", device="onnx"), regrain.load("palette", device="cpu")


def textured(photo, *size):
    """A picture of smooth waves and some grain."""
    grain = np.random.default_rng(0).integers(-20, 21, (*size, 3))
    return (photo(*size).astype(int) + grain).clip(0, 255).astype(np.uint8)


def apart(one, other):
    return np.abs(np.asarray(one).astype(int) - np.asarray(other)).max()


def test_the_device_chooses_the_runtime(weights):
    for device in (None, "onnx"):
        model = PaletteModel.load(weights, device)
        assert model.device == "onnx"
    model = PaletteModel.load(weights, "cpu")
    assert model.device == "cpu"
    assert model.fingerprint == PaletteModel.load(weights).fingerprint


def test_without_onnx_runtime_it_says_what_to_install(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for device in (None, "onnx"):
        with pytest.raises(UsageError, match=r"pip install onnxruntime"):
            regrain.load(weights, device)


def test_a_pipeline_is_not_for_onnx_runtime(tmp_path):
    with pytest.raises(UsageError, match="runs no pipeline"):
        PaletteModel.load(tmp_path, "onnx")


def test_latents_are_equal_to_a_thousandth(shipped, photo):
    one, other = (analyse(model.space, textured(photo, 80, 120)) for model in shipped)
    assert one.dtype == other.dtype == np.float32
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert (to_levels(one) == to_levels(other)).mean() > 0.999


@pytest.mark.parametrize("knobs", [{"realism": 0}, {"realism": 1}, {"realism": 1, "steps": 4, "eta": 1, "seed": 3}])
def test_pictures_are_equal_to_a_level(shipped, photo, knobs):
    for quality in (20, 90):
        data = regrain.encode(textured(photo, 70, 130), quality=quality, model=shipped[1])
        assert apart(*(regrain.decode(data, model=model, **knobs) for model in shipped)) <= 1
    for name in ("palette", "levels"):
        assert apart(*(regrain.decode(GOLDEN / f"{name}.rgn", model=model, **knobs) for model in shipped)) <= 1


def test_a_process_that_cannot_import_torch_encodes_and_decodes(shipped, photo, tmp_path):
    pixels = textured(photo, 64, 100)
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(GOLDEN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for quality in (20, 90):
        data = (tmp_path / f"{quality}.rgn").read_bytes()
        ours = regrain.encode(pixels, quality=quality, model=shipped[1])
        assert bitstream.read_header(data) == bitstream.read_header(ours)
        assert abs(len(data) - len(ours)) <= 0.02 * len(ours)
        wanted = regrain.decode(data, model=shipped[1], realism=1, steps=2, eta=0.5, seed=1)
        assert apart(np.load(tmp_path / f"{quality}.npy"), wanted) <= 1
    for name in ("palette", "levels"):
        wanted = regrain.decode(GOLDEN / f"{name}.rgn", model=shipped[1])
        assert apart(np.load(tmp_path / f"{name}.npy"), wanted) <= 1
    folder, same, device = done.stdout.splitlines()
    wanted = "stable/diffusion: a pipeline of diffusers needs torch: pip install 'regrain[stable-diffusion]'"
    assert folder == same == wanted
    assert "'cuda' needs torch" in device
