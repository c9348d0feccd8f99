"""Any codec, frozen, is one codec on torch and on ONNX Runtime; what is no weights of it is refused in a line."""

import struct
from importlib.resources import as_file

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conditional.tiny import DEVICES, SMALL, both, built, codec, shipped_tensors
from regrain import codec as files
from regrain import registry, torch_checkpoint
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.errors import ModelError
from regrain.image import Metadata, Picture
from regrain_lab.trainable.codec import freeze, latent_fingerprint

PICTURE = Picture((np.arange(75 * 100 * 3) % 251).astype(np.uint8).reshape(75, 100, 3), None, Metadata())


@settings(max_examples=5, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 6), st.sampled_from([(), (2, 5), (3,), (40,)]), st.integers(2, 4),
    st.sampled_from(["x0", "eps", "v"]), st.floats(0, 100), st.integers(0, 99),
)  # fmt: skip
def test_a_codec_of_any_shape(latent, hyper, slices, anchors, prediction, quality, seed):
    """Each backend decodes what the other has encoded, to the same pixels."""
    transform = TransformConfig((4, 4, 4), latent, hyper, 6, anchors, slices, context=5, shared=3)
    denoiser = DenoiserConfig(widths=(5, 6, 7), depths=(1, 0, 2), half=2, embedding=4)
    models = both(codec(ModelConfig(transform, denoiser, prediction), seed, noise=0.05, offset=0.2))
    assert models[0].fingerprint == models[1].fingerprint
    for writer in models:
        data = files.encode(PICTURE, quality=quality, tile=64, model=writer)
        one, other = (files.decode(data, steps=2, seed=seed, model=reader).pixels.astype(int) for reader in models)
        assert one.shape == (75, 100, 3)
        assert np.abs(one - other).max() <= 1


def test_a_model_is_one_line_and_knows_its_device(onnx_model, torch_model):
    assert repr(onnx_model) == f"<conditional model, latents {onnx_model.fingerprint.hex()}, on onnx>"
    assert repr(torch_model) == f"<conditional model, latents {onnx_model.fingerprint.hex()}, on cpu>"


def test_the_shipped_model_says_the_same_of_itself(torch_model, onnx_model):
    tensors, about = shipped_tensors()
    assert onnx_model.fingerprint == torch_model.fingerprint == registry.shipped_fingerprint(Method.CONDITIONAL)
    assert onnx_model.fingerprint == latent_fingerprint(tensors)
    assert onnx_model.recipe == torch_model.recipe == about["recipe"]
    assert onnx_model.method == torch_model.method == Method.CONDITIONAL
    assert onnx_model.config == torch_model.config == ModelConfig.from_dict(about["config"])


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_no_file_of_weights_is_refused(tmp_path, device):
    path = tmp_path / "w.safetensors"
    refused = {None: "reinstall", b"no weights": "cannot be read", struct.pack("<Q", 2) + b"{}": "not weights of"}
    for data, word in refused.items():
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ModelError, match=word):
            ConditionalModel.load(path, device)
    torch_checkpoint.save(path, {"a": torch.zeros(3)}, {})
    with pytest.raises(ModelError, match="not weights of the conditional codec"):
        ConditionalModel.load(path, device)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        ConditionalModel.load(path, device)


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, torch.Tensor], dict]:
    return shipped_tensors()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("changes", "about", "word"),
    [
        ({"latents.offset": None}, {}, "latents.offset is missing"),
        ({"latents.log_gain": None}, {}, "latents.log_gain is missing"),
        ({"latents.scale.1.bias": torch.full((64,), 2**24)}, {}, "2\\^24"),
        ({"latents.scale.1.weight": torch.zeros(64, 63, 3, 3, dtype=torch.int8)}, {}, "shape"),
        ({"latents.offset": torch.zeros(5, 256, dtype=torch.int32)}, {}, "shape"),
        ({"denoiser.attention.weight": torch.zeros(3, 3)}, {}, "attention"),
        ({"denoiser.enter.bias": torch.zeros(81)}, {}, "enter.bias"),
        ({"analysis.14.bias": torch.zeros(255)}, {}, "14.bias"),
        ({"analysis.2.conv1.weight": None}, {}, "2.conv1.weight"),
        ({"hyper_analysis.4.weight": torch.zeros(())}, {}, "4.weight"),
        ({"latents.mean.share.weight": torch.zeros(2, 2, 2)}, {}, "share.weight"),
        ({"latents.mean.contexts.0.0.weight": torch.zeros(48, 3, 3, 3)}, {}, "0.weight"),
        ({"latents.mean.contexts.9.0.weight": torch.zeros(48, 3, 3, 3)}, {}, "contexts.9"),
        ({"sampler.enter_x.weight": None}, {}, "missing|no |enter_x"),
        ({}, {"schedule": "linea"}, "linea"),
        ({}, {"guided": True}, "guided"),
        ({}, {"transform": {"slices": []}}, "contexts"),
        ({}, {"denoiser": {"widths": [9, 9, 9]}}, " is "),
    ],
)
def test_weights_of_another_shape_are_refused(stored, changes, about, word, device, tmp_path):
    tensors, metadata = stored
    changed = {name: value for name, value in {**tensors, **changes}.items() if value is not None}
    path = tmp_path / "w.safetensors"
    torch_checkpoint.save(path, changed, metadata | {"config": metadata["config"] | about})
    with pytest.raises(ModelError, match=word) as refusal:
        ConditionalModel.load(path, device)
    assert str(refusal.value).startswith(f"{path}: not weights of the conditional codec: ")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("device", DEVICES)
def test_weights_of_another_method_are_refused(device):
    for method in (Method.PROGRESSIVE, Method.PALETTE):
        with (
            as_file(registry.shipped_weights(method)) as path,
            pytest.raises(ModelError, match="not weights of the conditional codec"),
        ):
            ConditionalModel.load(path, device)


SHAPES = {
    "no axes": lambda tensor: tensor.reshape(-1)[0],
    "flat": lambda tensor: tensor.reshape(-1),
    "one axis more": lambda tensor: tensor[None],
    "short": lambda tensor: tensor[:-1],
    "empty": lambda tensor: tensor[:0],
    "missing": lambda tensor: None,
}


@pytest.mark.parametrize("change", SHAPES)
def test_every_tensor_has_its_shape_or_ends_in_a_model_error(change):
    """Weights are checked when they are loaded, before any network runs; torch's modules are slower to make."""
    tensors = freeze(codec())
    for number, (name, tensor) in enumerate(tensors.items()):
        other = SHAPES[change](tensor)
        if other is None or other.shape != tensor.shape:
            changed = {n: t for n, t in (tensors | {name: other}).items() if t is not None}
            for device in DEVICES if number % 11 == 0 else ("onnx",):
                with pytest.raises((ModelError, KeyError)):
                    built(changed, SMALL, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("room", ["analysis.", "hyper_analysis.", "latents.mean.", "denoiser."])
def test_weights_that_lead_to_infinity_give_a_picture_without_a_warning(room, device):
    """Warnings are errors here."""
    tensors = freeze(codec())
    broken = {n: 1e30 * torch.randn(t.shape) if n.startswith(room) else t for n, t in tensors.items()}
    model = built(broken, SMALL, device)
    data = files.encode(PICTURE, model=model)
    assert files.decode(data, steps=2, eta=0.5, model=model).pixels.shape == (75, 100, 3)
