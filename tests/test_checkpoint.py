"""Weights read without torch are those that it reads, and what is none of ours is refused as there."""

import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("onnxruntime")

from regrain import checkpoint, torch_checkpoint
from regrain.errors import ModelError

TENSORS = {
    "a": torch.randn(2, 3).half(),
    "latents.b": torch.tensor(3, dtype=torch.int32),
    "latents.c": torch.tensor([[-1], [2]], dtype=torch.int8),
    "d": torch.zeros(0, 4),
}


def test_arrays_metadata_and_fingerprint_are_those_of_the_checkpoint(tmp_path):
    path = tmp_path / "w.safetensors"
    torch_checkpoint.save(path, TENSORS, {"recipe": "r"})
    arrays, about = checkpoint.load(path)
    assert {name: array.tolist() for name, array in arrays.items()} == {k: t.tolist() for k, t in TENSORS.items()}
    assert about["recipe"] == "r"
    assert checkpoint.fingerprint(arrays) == torch_checkpoint.fingerprint(TENSORS)
    assert checkpoint.fingerprint(dict(reversed(arrays.items()))) == torch_checkpoint.fingerprint(TENSORS)


def test_a_part_is_without_its_prefix_and_as_it_is_stored():
    found = checkpoint.part({"x.a": np.ones(2, np.float16), "xa": np.ones(1, np.int8)}, "x.")
    assert list(found) == ["a"]
    assert found["a"].dtype == np.float16


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    refused = {None: "reinstall", b"no weights": "cannot be read", struct.pack("<Q", 2) + b"{}": "not weights of"}
    for data, word in refused.items():
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ModelError, match=word):
            checkpoint.load(path)
    torch_checkpoint.save(path, TENSORS, {})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 1e39])
def test_numbers_that_float32_does_not_have_are_refused(tmp_path, value):
    path = tmp_path / "w.safetensors"
    torch_checkpoint.save(path, {"a": torch.tensor([1.0, value], dtype=torch.float64)}, {})
    with pytest.raises(ModelError, match="'a' holds what are no finite numbers"):
        checkpoint.load(path)


def test_types_that_no_weights_have_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    for tensor in (torch.zeros(2, dtype=torch.complex64), torch.zeros(2, dtype=torch.bfloat16)):
        save_file({"a": tensor}, path, {"regrain": "{}"})
        with pytest.raises(ModelError, match=r"finite numbers|cannot be read") as refusal:
            checkpoint.load(path)
        assert "\n" not in str(refusal.value)


def test_a_text_is_one_or_is_refused():
    assert checkpoint.text({"recipe": "r"}, "recipe") == "r"
    assert checkpoint.text({}, "recipe") == ""
    with pytest.raises(ModelError, match="recipe is a list of 1; text is allowed"):
        checkpoint.text({"recipe": ["r"]}, "recipe")


def test_what_was_put_in_8_bits_comes_back_but_for_half_a_scale():
    random = np.random.default_rng(0)
    arrays = {"w": random.normal(size=(4, 3, 3, 3)), "zero": np.zeros((2, 5)), "b": random.normal(size=4)}
    packed = checkpoint.in_8_bits(arrays)
    assert {packed[name].dtype for name in ("w", "zero")} == {np.dtype(np.int8)}
    whole = checkpoint.from_8_bits(packed)
    assert whole.keys() == arrays.keys()
    assert np.abs(whole["w"] - arrays["w"]).max() <= 0.51 * float(packed["w:scale"].max())
    assert not whole["zero"].any()
    np.testing.assert_allclose(whole["b"], arrays["b"], rtol=1e-3)
    assert checkpoint.from_8_bits(arrays) == arrays


@pytest.mark.parametrize(
    "changes",
    [
        {"w:scale": np.ones((3, 1))},
        {"w:scale": np.ones(4)},
        {"v:scale": np.ones((4, 1))},
        {"w:scale": np.full((4, 1), 3e38)},
    ],
)
def test_scales_that_fit_nothing_are_refused(changes):
    packed = checkpoint.in_8_bits({"w": np.ones((4, 3))})
    with pytest.raises(ModelError):
        checkpoint.from_8_bits(packed | changes)
