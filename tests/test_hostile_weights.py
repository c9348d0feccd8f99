"""Weights are input too: whatever a file says of itself, it loads and runs, or ends in one line, soon and cheaply."""

import json
import math
import os
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import regrain
from regrain import codec, registry, torch_checkpoint
from regrain.conditional.config import ModelConfig, TransformConfig
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.diffusion.unet import DenoiserConfig
from regrain.errors import ModelError, RegrainError
from regrain.image import Metadata, Picture
from regrain.palette.autoencoder import Autoencoder, AutoencoderConfig
from regrain.palette.autoencoder import freeze as freeze_autoencoder
from regrain_lab.trainable.codec import ConditionalCodec
from regrain_lab.trainable.codec import freeze as freeze_codec

SECONDS = 2
ESCAPE = "\x1b[31mred\n"
CODEC = ModelConfig(
    TransformConfig((4, 4, 4), 12, 4, 8, 3, (2, 6), context=4, shared=4),
    DenoiserConfig((8, 8, 8), (1, 1, 1), half=4, embedding=8),
)
PRIOR = PriorConfig((8, 8, 8), (1, 1, 1), embedding=8)
LATENT_PRIOR = PriorConfig((8, 8, 8), (1, 1, 1), embedding=8, channels=4, patch=1)
AUTOENCODER = AutoencoderConfig(encoder=(8, 8), encoder_depths=(1, 1), decoder=(8, 8), decoder_depths=(1, 1), half=6)
PICTURE = Picture((np.arange(24 * 20 * 3) % 251).astype(np.uint8).reshape(24, 20, 3), None, Metadata())


def small(kind):
    """Tensors and metadata of small weights of each kind."""
    torch.manual_seed(3)
    if kind == "conditional":
        return freeze_codec(ConditionalCodec(CODEC)), {"recipe": "x", "config": CODEC.to_dict()}
    if kind == "prior":
        tensors = {name: tensor.half() for name, tensor in Prior(PRIOR).state_dict().items()}
        return tensors, {"recipe": "x", "kind": "prior", "config": PRIOR.to_dict()}
    tensors, about = freeze_autoencoder(Autoencoder(AUTOENCODER), torch.zeros(4), torch.ones(4))
    tensors |= {f"denoiser.{name}": tensor.half() for name, tensor in Prior(LATENT_PRIOR).state_dict().items()}
    return tensors, {**about, "config": LATENT_PRIOR.to_dict(), "recipe": "x"}


SMALL = {kind: small(kind) for kind in ("conditional", "prior", "palette")}
DEVICES = [None, "cpu"]
"""ONNX Runtime and torch: both refuse the same."""


def written(path, tensors, about):
    """A weights file with its checksum right, whatever it says; what JSON cannot hold is left to `json`."""
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    marked = {**about, "checksum": torch_checkpoint.fingerprint(whole).hex()}
    save_file(whole, path, {"regrain": json.dumps(marked)})
    return path


def refused(path, device=None, *words):
    """Hold that weights are refused in one clean line, soon."""
    start = time.thread_time()
    with pytest.raises(RegrainError) as caught:
        regrain.load(path, device=device)
    assert time.thread_time() - start < SECONDS
    said = str(caught.value)
    assert isinstance(caught.value, ModelError) or device
    assert said.isprintable()
    assert len(said) < 600 + len(str(path))
    assert [word for word in words if word not in said] == [], said


def edited(about, path, value):
    """Metadata with the value at a path of names and places replaced."""
    about = json.loads(json.dumps(about))
    inner = about
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return about


def places(value, path=()):
    """Every path in metadata."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[name], (*path, name))


NAMED = {
    "palette-deep": {"kind": "palette", "autoencoder": {"decoder_depths": [10**9, 1]}},
    "palette-wide": {"kind": "palette", "autoencoder": {"decoder": [8000, 8000]}},
    "palette-deeper": {"kind": "palette", "autoencoder": {"decoder_depths": [1024, 1024]}},
    "prior-deep": {"kind": "prior", "config": {"depths": [10**9, 1, 1]}},
    "prior-wide": {"kind": "prior", "config": {"widths": [8000, 8000, 8000]}},
    "prior-wider": {"kind": "prior", "config": {"widths": [4096, 4096, 4096]}},
    "conditional-deep": {"config": {"denoiser": {"depths": [10**9, 1, 1]}}},
    "conditional-wide": {"config": {"transform": {"widths": [4096, 4096, 4096]}}},
    "conditional-anchors": {"config": {"transform": {"anchors": 10**9}}},
    "kind": {"kind": ["palette"]},
    "kinds": {"kind": {}},
    "recipe": {"recipe": {"a": 1}},
    "no config": {},
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("device", DEVICES)
def test_a_network_is_not_built_because_a_file_names_it(tmp_path, name, device):
    refused(written(tmp_path / "w.safetensors", {"x": torch.zeros(1)}, {"recipe": "x", **NAMED[name]}), device)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_may_be_endless(tmp_path, kind, value):
    tensors, about = SMALL[kind]
    for number, name in enumerate(list(tensors)[::7]):
        if tensors[name].dtype.is_floating_point:
            spoilt = tensors[name].clone()
            spoilt.view(-1)[0] = value
            path = written(tmp_path / f"{number}.safetensors", {**tensors, name: spoilt}, about)
            for device in DEVICES:
                refused(path, device, name, "finite")


@pytest.mark.parametrize(
    ("name", "value"),
    [("moments.scale", 0.0), ("moments.scale", -1.0), ("moments.scale", 1e30), ("moments.shift", 1e30)],
)
def test_moments_that_no_latents_have(tmp_path, name, value):
    tensors, about = SMALL["palette"]
    for device in DEVICES:
        refused(
            written(tmp_path / "w.safetensors", {**tensors, name: torch.full((4,), value)}, about), device, "moments"
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("latents.log_gain", lambda tensor: tensor * 0 + 99),
        ("latents.offset", lambda tensor: tensor * 0 + 2**30),
        ("latents.offset", lambda tensor: tensor * 0 - 2**31),
        ("latents.offset", lambda tensor: tensor.long()),
        ("latents.scale.0.weight", lambda tensor: tensor.float() + 0.5),
        ("latents.scale.0.bias", lambda tensor: tensor * 0 + 2**24),
    ],
)
def test_what_would_leave_the_integer_wall(tmp_path, name, change, device):
    tensors, about = SMALL["conditional"]
    refused(written(tmp_path / "w.safetensors", {**tensors, name: change(tensors[name])}, about), device)


@pytest.mark.parametrize("kind", SMALL)
def test_names_do_not_reach_the_terminal_as_they_are(tmp_path, kind):
    tensors, about = SMALL[kind]
    for device in DEVICES:
        extra = {**tensors, f"denoiser.{ESCAPE}{'long' * 999}": torch.zeros(1)}
        refused(written(tmp_path / "extra.safetensors", extra, about), device, "\\x1b")
    refused(written(tmp_path / "name.safetensors", tensors, edited(about, ("config", ESCAPE * 99), 1)), None, "\\x1b")


def test_nested_json_and_long_numbers(tmp_path):
    for number, text in enumerate(
        ("[" * 10**5, '{"config": ' * 10**5, '{"step": ' + "9" * 10**5 + "}", "NaN", '"text"')
    ):
        path = tmp_path / f"{number}.safetensors"
        save_file({"x": torch.zeros(1)}, path, {"regrain": text})
        for device in DEVICES:
            refused(path, device, "not weights of regrain")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("device", DEVICES)
def test_a_pipe_is_no_file_of_weights(tmp_path, device):
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", device, "no regular file")


VALUES = [
    0,
    -1,
    1,
    2,
    3,
    97,
    10**9,
    10**30,
    2**63,
    1.5,
    -0.5,
    1e308,
    True,
    None,
    "x0",
    ESCAPE,
    [],
    [1],
    [3] * 99,
    {},
    [[2]],
]


def spoilt(random, kind):
    """Small weights with one to three of their values, shapes, types, names or numbers changed."""
    tensors, about = SMALL[kind]
    tensors = dict(tensors)
    for _ in range(random.integers(1, 4)):
        name = list(tensors)[random.integers(len(tensors))]
        tensor, way = tensors[name], random.integers(9)
        if way < 4:
            paths = list(places(about))
            about = edited(about, paths[random.integers(len(paths))], VALUES[random.integers(len(VALUES))])
        elif way == 4:
            tensors[name] = tensor.flatten() if tensor.dim() > 1 else tensor[None]
        elif way == 5:
            tensors[name] = tensor.to(
                [torch.int8, torch.int64, torch.float64, torch.bool, torch.complex64][random.integers(5)]
            )
        elif way == 6:
            del tensors[name]
        elif way == 7:
            large = 3e4 if tensor.dtype == torch.float16 else 1e30 if tensor.is_floating_point() else 100
            tensors[name] = torch.full_like(tensor, float(random.choice([1, -1, 0])) * large)
        else:
            tensors[name] = tensor[: len(tensor) // 2] if tensor.dim() else tensor.reshape(1, 1)
    return tensors, about


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("device", DEVICES)
def test_spoilt_weights_run_or_are_refused(tmp_path, kind, device):
    random, path = np.random.default_rng(8), tmp_path / "w.safetensors"
    for _ in range(int(os.environ.get("REGRAIN_FUZZ", 25))):
        tensors, about = spoilt(random, kind)
        start, said = time.thread_time(), "it runs"
        try:
            model = regrain.load(written(path, tensors, about), device=device)
            file = codec.encode(PICTURE, model=model)
            assert codec.decode(file, model=model, steps=2).pixels.shape == (24, 20, 3)
        except RegrainError as error:
            said = str(error)
        assert said.isprintable()
        assert len(said) < 900
        assert time.thread_time() - start < SECONDS


@pytest.mark.parametrize("kind", ["prior", "palette"])
@pytest.mark.parametrize("device", DEVICES)
def test_noise_that_is_overestimated_beyond_all_floats_is_no_warning(tmp_path, kind, device):
    tensors, about = SMALL[kind]
    leave = next(name for name in tensors if name.endswith("leave.bias"))
    huge = {**tensors, leave: torch.full(tensors[leave].shape, 3e38)}
    path = written(tmp_path / "w.safetensors", huge, edited(about, ["config", "prediction"], "eps"))
    model = regrain.load(path, device=device)
    with np.errstate(all="warn"):
        file = codec.encode(PICTURE, model=model)
        assert codec.decode(file, model=model, steps=2, eta=1.0).pixels.shape == (24, 20, 3)


def test_a_caller_whose_numpy_raises_gets_a_picture(tmp_path):
    model = registry.load(written(tmp_path / "w.safetensors", *SMALL["conditional"]))
    with np.errstate(all="raise"):
        file = codec.encode(PICTURE, model=model)
        pixels = codec.decode(file, model=model, steps=2, eta=1.0, init_noise=1e-45).pixels
    assert pixels.shape == (24, 20, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_whole_weights_run(tmp_path, device):
    for kind in SMALL:
        model = registry.load(written(tmp_path / "w.safetensors", *SMALL[kind]), device)
        pixels = codec.decode(codec.encode(PICTURE, model=model), model=model).pixels
        assert pixels.shape == (24, 20, 3)
