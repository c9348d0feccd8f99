"""Codecs under test: encoders at their settings, and regrain with all its ways to decode."""

import os
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import regrain
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.codecs import AS_STORED, DecodeSetting, regrain_codec

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def model(bias: float = 0.0, recipe: str = "default") -> types.SimpleNamespace:
    denoiser = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(denoiser.weight)
    torch.nn.init.constant_(denoiser.bias, bias)
    return types.SimpleNamespace(
        fingerprint=b"\1\2\3\4", denoiser=denoiser, device=torch.device("cpu"), config=None, recipe=recipe
    )


def test_an_encoder_is_a_codec():
    codec = replace(baselines.JPEG, settings=[10, 90])
    series = codec.series(AS_STORED)
    assert (series.codec, series.version, series.options) == ("JPEG", codec.version(), codec.options)
    assert series[3:] == (None, None, None, "")
    assert codec.thread_count == 1
    assert baselines.AVIF.thread_count == os.cpu_count()
    assert codec.decode(codec.encode(NOISE, 90), AS_STORED).shape == NOISE.shape


def test_regrain_is_asked_for_each_quality_and_each_way_to_decode(monkeypatch):
    calls = []

    def encode(pixels, **options):
        calls.append((pixels.shape, options))
        return b"file"

    def decode(data, **options):
        calls.append((data, options))
        return Image.new("L", (40, 24), 7)

    monkeypatch.setattr(regrain, "encode", encode)
    monkeypatch.setattr(regrain, "decode", decode)
    weights, setting = model(), DecodeSetting(0, 4, 0.5)
    codec = regrain_codec(weights, [60.0, 20.0, 20.0], [setting])
    assert list(codec.settings) == [20.0, 60.0]
    assert codec.encode(NOISE, 20.0) == b"file"
    decoded = codec.decode(b"file", setting)
    assert (decoded == 7).all()
    assert decoded.shape == (24, 40, 3)
    assert calls == [
        ((24, 40, 3), {"quality": 20.0, "model": weights}),
        (b"file", {"seed": 0, "steps": 4, "realism": 0.5, "model": weights}),
    ]
    assert codec.series(setting)[3:6] == (0, 4, 0.5)


def test_another_denoiser_of_the_same_latents_has_another_fingerprint():
    first, again, other = (regrain_codec(model(bias), [50.0], [AS_STORED]).fingerprint for bias in (0.0, 0.0, 1.0))
    assert first == again != other
    assert first.startswith("01020304-")


def test_weights_without_networks_of_torch_have_the_fingerprint_of_their_file(tmp_path):
    bare = types.SimpleNamespace(fingerprint=b"\1\2\3\4", device="onnx", recipe="default")
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    a, b = (regrain_codec(bare, [50.0], [AS_STORED], tmp_path / name) for name in ("a", "b"))
    assert a.fingerprint.startswith("01020304-")
    assert a.fingerprint != b.fingerprint
    assert a.options == ""


@pytest.mark.parametrize("method", ["conditional", "progressive", "palette"])
def test_the_weights_of_the_package_have_a_fingerprint(method):
    weights = regrain.load(method)
    codec = regrain_codec(weights, [50.0], [AS_STORED])
    latents, _, networks = codec.fingerprint.partition("-")
    assert (latents, len(networks)) == (weights.fingerprint.hex(), 8)


def test_weights_of_another_recipe_say_so():
    default, other = (regrain_codec(model(recipe=name), [28], [AS_STORED]) for name in ("default", "ms-hyper"))
    assert (default.name, default.options) == ("regrain", "")
    assert (other.name, other.options) == ("regrain", "ms-hyper")
