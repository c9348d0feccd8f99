import logging
import os
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import regrain

pytest.importorskip("diffusers")
from palette import stable
from palette.stable import load


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def folder(tmp_path):
    """A pipeline that wants no prompt."""
    return stable.pipeline(tmp_path / "photos")


@pytest.fixture
def prompted(tmp_path):
    """A pipeline that wants a prompt."""
    return stable.pipeline(tmp_path / "prompted", "conditional")


@pytest.mark.parametrize("kind", stable.AUTOENCODERS)
def test_an_autoencoder_alone_is_a_model(tmp_path, kind):
    stable.AUTOENCODERS[kind]().save_pretrained(tmp_path / "alone")
    stable.lay_out(tmp_path / "part", stable.AUTOENCODERS[kind]())
    for place in (tmp_path / "alone", str(tmp_path / "part")):
        pipeline = load(place)
        assert pipeline.denoiser is None
        assert (pipeline.recipe, len(pipeline.fingerprint)) == (str(place).rpartition("/")[2], 4)
        assert (pipeline.space.channels, pipeline.space.stride) == (4, 8)


def test_torch_runs_it_where_no_device_is_named(folder):
    assert (regrain.load(folder).device, regrain.load(folder, "cpu").device) == ("cpu", "cpu")


def test_the_fingerprint_is_the_autoencoders(tmp_path, folder):
    ours = load(folder).fingerprint
    stable.edit(folder / "unet" / "config.json", attention_head_dim=8)
    assert load(folder).fingerprint == ours
    stable.edit(folder / "vae" / "config.json", scaling_factor=0.2)
    assert load(folder).fingerprint != ours
    torch.manual_seed(1)
    other = load(stable.lay_out(tmp_path / "other", stable.kl()))
    assert other.fingerprint != ours


@pytest.mark.parametrize("shape", [(7, stable.PROMPT_WIDTH), (1, 7, stable.PROMPT_WIDTH)])
def test_the_empty_prompt_is_read_from_its_file(prompted, caplog, shape):
    prompt = stable.latents(*shape)
    save_file({"prompt": prompt}, prompted / "empty_prompt.safetensors")
    given = load(prompted).denoiser.network.given["encoder_hidden_states"]
    assert torch.equal(given, prompt.reshape(1, 7, -1))
    assert not caplog.records


def test_without_a_prompt_there_are_zeros_and_a_warning(prompted, caplog):
    assert not load(prompted).denoiser.network.given["encoder_hidden_states"].any()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "empty_prompt.safetensors" in caplog.text


def test_an_unconditional_network_wants_no_prompt(folder, caplog):
    assert load(folder).denoiser.network.given == {}
    assert not caplog.records


def test_the_text_encoder_is_asked_where_transformers_is_there(prompted, monkeypatch, caplog):
    """By a stand-in that has the two classes and answers with the number of tokens it was given."""

    def tokenizer(text, *, padding, max_length, return_tensors):
        assert (text, padding, return_tensors) == ("", "max_length", "pt")
        return types.SimpleNamespace(input_ids=torch.zeros(1, max_length, dtype=torch.long))

    class Encoder(torch.nn.Module):
        def forward(self, ids):
            return (torch.full((1, ids.shape[1], stable.PROMPT_WIDTH), float(ids.shape[1])),)

    def reading(value):
        def from_pretrained(folder, *, local_files_only, use_safetensors=True, variant=None):
            assert os.path.isdir(folder)
            assert local_files_only
            assert use_safetensors
            assert variant is None
            return value

        return types.SimpleNamespace(from_pretrained=from_pretrained)

    tokenizer.model_max_length = 5
    stand_in = types.ModuleType("transformers")
    stand_in.__spec__ = types.SimpleNamespace(name="transformers")
    stand_in.CLIPTokenizer, stand_in.CLIPTextModel = reading(tokenizer), reading(Encoder())
    (prompted / "tokenizer").mkdir()
    (prompted / "text_encoder").mkdir()
    save_file({"weight": torch.zeros(1)}, prompted / "text_encoder" / "model.safetensors")
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    given = load(prompted).denoiser.network.given["encoder_hidden_states"]
    assert torch.equal(given, torch.full((1, 5, stable.PROMPT_WIDTH), 5.0))
    assert not caplog.records


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, stable.PROMPT_WIDTH), (stable.PROMPT_WIDTH,)])
def test_a_prompt_of_another_shape_is_refused(prompted, shape):
    save_file({"prompt": torch.zeros(shape)}, prompted / "empty_prompt.safetensors")
    stable.refused(prompted, "empty_prompt.safetensors", f"(tokens, {stable.PROMPT_WIDTH})")


def test_half_precision_is_loaded_where_there_is_no_other(tmp_path):
    network = stable.kl()
    network.save_pretrained(tmp_path / "vae", variant="fp16")
    half = tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    save_file({name: value.half() for name, value in load_file(half).items()}, half, {"format": "pt"})
    space, x = load(tmp_path).space, stable.picture()
    assert space.encode(x.numpy()).dtype == np.float32
    torch.testing.assert_close(
        stable.encoded(space, x), 0.18215 * stable.raw_latents(network.eval(), x), rtol=1e-2, atol=1e-3
    )


def test_weights_may_lie_in_several_files(tmp_path, capfd):
    network = stable.kl()
    network.save_pretrained(tmp_path / "vae", max_shard_size="20KB")
    assert not stable.weights(tmp_path / "vae").exists()
    space, x = load(tmp_path).space, stable.picture()
    assert capfd.readouterr() == ("", "")
    torch.testing.assert_close(
        stable.encoded(space, x), 0.18215 * stable.raw_latents(network.eval(), x), rtol=1e-4, atol=1e-5
    )


def test_without_accelerate_all_is_the_same(tmp_path, monkeypatch, capfd):
    stable.hide_accelerate(monkeypatch)
    network, generator = stable.kl().eval(), torch.get_rng_state()
    space, x = load(stable.lay_out(tmp_path, network)).space, stable.picture()
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(stable.encoded(space, x), 0.18215 * stable.raw_latents(network, x), rtol=1e-4, atol=1e-5)
    assert capfd.readouterr() == ("", "")


def test_a_hub_id_is_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stable.cached(tmp_path, "house/photos", vae=stable.kl(), unet=stable.unconditional(), scheduler=stable.ddpm())
    pipeline = load("house/photos")
    assert pipeline.recipe == "house/photos"
    assert pipeline.denoiser is not None


def traces():
    talkers = [logging.getLogger(name).level for name in ("diffusers", "huggingface_hub", "transformers")]
    return talkers, torch.get_default_dtype(), torch.get_rng_state().tolist(), list(warnings.filters)


@pytest.fixture
def _in_double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_in_double_precision")
def test_loading_leaves_no_trace(folder):
    pipeline, before = load(folder), traces()
    z = pipeline.denoiser.denoise(pipeline.space.encode(stable.picture().float().numpy()), 1.0)
    assert (z.dtype, pipeline.space.decode(z).dtype) == (np.float32, np.float32)
    load(folder)
    assert traces() == before
    stable.edit(folder / "vae" / "config.json", norm_num_groups=3)
    stable.refused(folder, "vae: cannot be loaded")
    assert traces() == before


ALONE = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("the network was asked for")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import pathlib
import regrain.palette.diffusers_adapter
from regrain.palette.codec import PaletteModel
assert not {"diffusers", "transformers", "huggingface_hub"} & set(sys.modules)
import numpy
for place in sys.argv[1:]:
    pipeline = PaletteModel.load(pathlib.Path(place))
    z = pipeline.denoiser.denoise(pipeline.space.encode(numpy.zeros((3, 32, 32), "float32")), 1.0)
    assert pipeline.space.decode(z).shape == (3, 32, 32)
import logging
for handler in logging.getLogger("diffusers").handlers:
    assert getattr(handler, "stream", sys.stderr) is sys.stderr
"""


def test_a_process_of_its_own_asks_no_network_and_says_nothing(tmp_path, folder):
    stable.cached(tmp_path, "house/photos", vae=stable.tiny(), unet=stable.unconditional(), scheduler=stable.ddpm())
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", ALONE, str(folder), "house/photos"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_an_autoencoder_that_skips_more_than_the_smallest_tile_is_refused(tmp_path):
    from regrain.errors import ModelError
    from regrain.palette.codec import PaletteModel

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 8, "up_block_types": ("UpDecoderBlock2D",) * 8}
    stable.lay_out(tmp_path / "deep", stable.kl(block_out_channels=(4,) * 8, **blocks))
    with pytest.raises(ModelError, match="128 pixels to a latent: up to 64"):
        PaletteModel.load(tmp_path / "deep")
