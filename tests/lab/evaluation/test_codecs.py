"""Codecs under test: encoders at their settings, and regrain with all its ways to decode."""

import os
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain.bitstream import Method
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.codecs import AS_STORED, DecodeSetting, regrain_codec

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def model(recipe: str = "default", device: str = "onnx") -> types.SimpleNamespace:
    about = {"fingerprint": b"\1\2\3\4", "method": Method.CONDITIONAL}
    return types.SimpleNamespace(**about, device=device, recipe=recipe)


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
    assert all(options.pop("model").model is weights for _, options in calls)
    assert calls == [((24, 40, 3), {"quality": 20.0}), (b"file", {"seed": 0, "steps": 4, "realism": 0.5})]
    assert codec.series(setting)[3:6] == (0, 4, 0.5)


def test_weights_have_the_fingerprint_of_their_latents_and_of_their_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    a, b = (regrain_codec(model(), [50.0], [AS_STORED], tmp_path / name).fingerprint for name in ("a", "b"))
    assert a.startswith("01020304-")
    assert a != b
    assert regrain_codec(model(), [50.0], [AS_STORED]).fingerprint == "01020304"


@pytest.mark.parametrize("method", ["conditional", "progressive", "palette"])
def test_stages_are_timed_and_nothing_else_is_changed(method):
    weights = regrain.load(method)
    codec = regrain_codec(weights, [30.0], [DecodeSetting(0, 1, 1.0)])
    latents, _, file = codec.fingerprint.partition("-")
    assert (latents, len(file)) == (weights.fingerprint.hex(), 8)
    data = codec.encode(NOISE, 30.0)
    assert data == regrain.encode(NOISE, quality=30, model=weights)
    assert (codec.decode(data, DecodeSetting(7, 2, 0.5)) == decoded_plainly(data, weights)).all()
    assert set(codec.stages) == {"analyse"} | ({"symbols"} if method == "conditional" else set())


def decoded_plainly(data: bytes, weights: object) -> np.ndarray:
    return np.asarray(regrain.decode(data, seed=7, steps=2, realism=0.5, model=weights).convert("RGB"))


@pytest.mark.parametrize(
    ("recipe", "device", "options"),
    [("default", "onnx", ""), ("default", "cpu", ""), ("ms-hyper", "cpu", "ms-hyper"), ("default", "cuda", "cuda")],
)
def test_options_name_another_recipe_and_a_device_that_is_no_cpu(recipe, device, options):
    codec = regrain_codec(model(recipe, device), [28], [AS_STORED])
    assert (codec.name, codec.options) == ("regrain", options)
