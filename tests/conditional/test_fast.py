"""The fast decoder: one step of latents, quality and realism by a smaller network; both backends give the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import regrain
from conditional.test_denoising import FAITHFUL, SIZE
from conditional.tiny import DEVICES, arrays, built
from conditional.tiny import codec as small_codec
from regrain import torch_checkpoint
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.decode import reconstruct
from regrain.conditional.denoising import FastDenoiser
from regrain.conditional.torch_backend import TorchNetworks
from regrain.conditional.transform import build_fast
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.errors import ModelError, UsageError
from regrain.options import DecodeOptions
from regrain_lab.trainable.codec import freeze

FAST = "fast."
SHAPE = replace(FAITHFUL, fast=DenoiserConfig(widths=(8, 12, 8), depths=(1, 2, 1), half=8, embedding=8))


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Of a codec with a fast decoder, drawn at random."""
    codec, state = small_codec(FAITHFUL), build_fast(SHAPE).state_dict()
    mine = {f"{FAST}{name}": (value + 0.1 * torch.randn_like(value)).half() for name, value in state.items()}
    return freeze(codec) | mine


@pytest.fixture(scope="module")
def y_hat() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((12, 5, 7)).astype(np.float32)


def pixels(model, y_hat, **options) -> np.ndarray:
    denoiser = FastDenoiser.of(model.denoiser)
    return reconstruct(denoiser, y_hat, SIZE, 12800, DecodeOptions(fast=True, **options), grey=False).astype(int)


@pytest.mark.parametrize("taken", ["cond", "quality", "realism"])
def test_latents_quality_and_realism_are_read(tensors, taken):
    network = TorchNetworks.build(arrays(tensors), SHAPE).fast
    inputs = {"cond": torch.randn(1, 12, 2, 2), "quality": torch.ones(1) / 2, "realism": torch.ones(1)}
    before, after = network(**inputs), network(**inputs | {taken: 0 * inputs[taken]})
    assert float((before - after).abs().mean()) > 1e-3


def test_both_backends_give_the_same(tensors, y_hat):
    first, second = (pixels(built(tensors, SHAPE, device), y_hat) for device in DEVICES)
    assert np.abs(first - second).max() <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_the_picture_is_another_network_s_and_no_seed_changes_it(tensors, y_hat, device):
    model = built(tensors, SHAPE, device)
    fast = pixels(model, y_hat)
    plain = reconstruct(model.denoiser, y_hat, SIZE, 12800, DecodeOptions(), grey=False).astype(int)
    assert np.abs(fast - plain).mean() > 1
    assert np.array_equal(fast, pixels(model, y_hat, seed=9))
    assert np.abs(fast - pixels(model, y_hat, realism=0)).mean() > 0.1
    assert np.abs(fast - pixels(model, y_hat, realism=0.5)).mean() > 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_fast_decoders_of_another_shape_are_refused_when_they_are_loaded(tensors, device):
    for name in ("enter.weight", "embed.mlp.0.weight", "blocks8.1.conv1.bias"):
        for other in (tensors[FAST + name][:-1], tensors[FAST + name][None], torch.zeros(3, 5)):
            with pytest.raises(ModelError):
                built({**tensors, FAST + name: other}, SHAPE, device)
        with pytest.raises((ModelError, KeyError)):
            built({n: t for n, t in tensors.items() if n != FAST + name}, SHAPE, device)
    deep = replace(SHAPE, fast=replace(SHAPE.fast, depths=(1024, 1, 1)))
    with pytest.raises((ModelError, KeyError)):
        built(tensors, deep, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_file_of_weights_says_whether_it_has_a_fast_decoder(tensors, tmp_path, device):
    torch_checkpoint.save(tmp_path / "weights.safetensors", tensors, {"recipe": "small", "config": SHAPE.to_dict()})
    model = ConditionalModel.load(tmp_path / "weights.safetensors", device)
    assert model.config.fast == SHAPE.fast
    assert "fast" not in FAITHFUL.to_dict()
    with pytest.raises(UsageError, match="have no fast decoder"):
        FastDenoiser.of(built(tensors, FAITHFUL, device).denoiser)


def test_fast_is_one_step_of_the_default_method(tensors):
    photo = np.random.default_rng(1).integers(0, 255, (40, 56, 3), np.uint8)
    model = built(tensors, SHAPE, "onnx")
    file = regrain.encode(photo, model=model)
    fast, plain = (np.asarray(regrain.decode(file, model=model, fast=fast)).astype(int) for fast in (True, False))
    assert np.abs(fast - plain).mean() > 1
    parts = regrain.latents(photo, model=model)
    assert np.array_equal(fast, np.asarray(regrain.from_latents(parts, model=model, fast=True)))
    (many,) = regrain.decode_many([file], model=model, fast=True)
    assert np.array_equal(fast, np.asarray(many))
    for knobs in ({"steps": 2}, {"steps": "auto"}):
        with pytest.raises(UsageError, match="the fast decoder takes one step"):
            regrain.decode(file, model=model, fast=True, **knobs)
    with pytest.raises(UsageError, match="the fast decoder takes one step"):
        regrain.deviation_map(file, model=model, fast=True)
    with pytest.raises(UsageError, match="fast and denoiser are given together"):
        regrain.from_latents(parts, model=model, fast=True, denoiser=lambda x_t, t, y_hat: x_t)
    with pytest.raises(UsageError, match="fast is for the conditional method"):
        regrain.decode(regrain.encode(photo, method="palette"), fast=True)


def test_what_ships_has_a_fast_decoder_near_the_large_one():
    with Image.open(Path(__file__).parents[2] / "demo" / "photo.png") as photo:
        pixels = np.asarray(photo.convert("RGB"))[:128, :192]
    file = regrain.encode(pixels, quality=40)
    for realism in (0, 1):
        large, fast = (
            np.asarray(regrain.decode(file, realism=realism, fast=fast)).astype(float) for fast in (False, True)
        )
        errors = [float(((decoded - pixels) ** 2).mean()) for decoded in (large, fast)]
        assert 0.2 < np.abs(large - fast).mean() < 4
        assert errors[1] < 1.3 * errors[0]
