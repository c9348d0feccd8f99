"""Weights read without torch are those that it reads, and what is none of ours is refused as there."""

import struct
from importlib.resources import as_file

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from regrain.onnx.model import Model

from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.errors import ModelError, UsageError
from regrain.onnx import weights

TENSORS = {
    "a": torch.randn(2, 3).half(),
    "latents.b": torch.tensor(3, dtype=torch.int32),
    "latents.c": torch.tensor([[-1], [2]], dtype=torch.int8),
    "d": torch.zeros(0, 4),
}


def test_arrays_metadata_and_fingerprint_are_those_of_the_checkpoint(tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, TENSORS, {"recipe": "r"})
    arrays, about = weights.load(path)
    assert {name: array.tolist() for name, array in arrays.items()} == {k: t.tolist() for k, t in TENSORS.items()}
    assert about["recipe"] == "r"
    assert weights.fingerprint(arrays) == checkpoint.fingerprint(TENSORS)
    assert weights.fingerprint(dict(reversed(arrays.items()))) == checkpoint.fingerprint(TENSORS)


def test_a_part_is_float32_and_without_its_prefix():
    found = weights.part({"x.a": np.ones(2, np.float16), "xa": np.ones(1, np.int8)}, "x.")
    assert list(found) == ["a"]
    assert found["a"].dtype == np.float32


def test_the_shipped_model_says_the_same_of_itself(torch_model, onnx_model):
    assert onnx_model.fingerprint == torch_model.fingerprint == registry.shipped_fingerprint(Method.CONDITIONAL)
    assert (onnx_model.recipe, onnx_model.method) == (torch_model.recipe, torch_model.method)
    assert (onnx_model.prediction, onnx_model.init_noise) == (
        torch_model.config.prediction,
        torch_model.config.init_noise,
    )


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    refused = {None: "reinstall", b"no weights": "cannot be read", struct.pack("<Q", 2) + b"{}": "not weights of"}
    for data, word in refused.items():
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ModelError, match=word):
            Model.load(path)
    checkpoint.save(path, TENSORS, {})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        Model.load(path)


@pytest.fixture(scope="module")
def shipped() -> tuple[dict[str, torch.Tensor], dict]:
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as path:
        return checkpoint.load(path)


@pytest.mark.parametrize(
    ("changes", "about", "word"),
    [
        ({"latents.offset": None}, {}, "latents.offset"),
        ({"latents.scale.1.bias": torch.full((64,), 2**24)}, {}, "2\\^24"),
        ({"latents.scale.1.weight": torch.zeros(64, 63, 3, 3, dtype=torch.int8)}, {}, "shape"),
        ({"latents.offset": torch.zeros(5, 256, dtype=torch.int32)}, {}, "anchors"),
        ({"denoiser.attention.weight": torch.zeros(3, 3)}, {}, "attention"),
        ({"denoiser.enter.bias": torch.zeros(81)}, {}, "biases"),
        ({}, {"config": {}}, "prediction"),
        ({}, {"schedule": "linear"}, "linear"),
        ({}, {"guided": True}, "guided"),
    ],
)
def test_weights_of_another_shape_are_refused(shipped, changes, about, word, tmp_path):
    tensors, metadata = shipped
    config = about.pop("config", metadata["config"] | about)
    changed = {name: value for name, value in {**tensors, **changes}.items() if value is not None}
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, changed, metadata | {"config": config})
    with pytest.raises(ModelError, match=word) as refusal:
        Model.load(path)
    assert "\n" not in str(refusal.value)


def test_weights_of_another_method_are_refused():
    with (
        as_file(registry.shipped_weights(Method.PROGRESSIVE)) as path,
        pytest.raises(UsageError, match="conditional method"),
    ):
        Model.load(path)
