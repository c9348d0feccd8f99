import json
import os
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
from palette import stable
from regrain.palette import diffusers_folder


@pytest.fixture
def folder(tmp_path):
    """A pipeline that wants no prompt."""
    return stable.pipeline(tmp_path / "photos")


def cut(folder):
    path = stable.weights(folder / "vae")
    path.write_bytes(path.read_bytes()[:-100])


def scrambled(folder):
    stable.weights(folder / "unet").write_bytes(b"\xff" * 1000)


def pickled(folder):
    stable.weights(folder / "vae").rename(folder / "vae" / "diffusion_pytorch_model.bin")


def lacking(folder):
    tensors = load_file(stable.weights(folder / "unet"))
    del tensors["conv_in.weight"], tensors["conv_out.bias"]
    save_file(tensors, stable.weights(folder / "unet"), {"format": "pt"})


def misshapen(folder):
    tensors = load_file(stable.weights(folder / "vae"))
    save_file(
        {**tensors, "decoder.conv_in.weight": torch.zeros(8, 5, 3, 3)}, stable.weights(folder / "vae"), {"format": "pt"}
    )


def edited(part, **changes):
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    return lambda folder: stable.edit(folder / part / name, **changes)


def raw(part, text):
    return lambda folder: (folder / part / "config.json").write_text(text)


def piped(folder):
    (folder / "vae" / "config.json").unlink()
    os.mkfifo(folder / "vae" / "config.json")


def weights_piped(folder):
    stable.weights(folder / "vae").unlink()
    os.mkfifo(stable.weights(folder / "vae"))


def index_of_pickles(folder):
    name = "diffusion_pytorch_model.safetensors.index.json"
    (folder / "vae" / name).write_text(json.dumps({"weight_map": {"a": "x.bin"}, "metadata": {}}))


def endless(folder):
    tensors = load_file(stable.weights(folder / "unet"))
    tensors["conv_in.bias"][0] = float("nan")
    save_file(tensors, stable.weights(folder / "unet"), {"format": "pt"})


HOSTILE = {
    "deep": (edited("vae", layers_per_block=10**9), ["finite numbers up to"]),
    "layers": (edited("unet", layers_per_block=10**5), ["layers, and"]),
    "wide": (edited("vae", block_out_channels=[10**6] * 4), ["block_out_channels", "1 to 8192"]),
    "levels": (edited("vae", block_out_channels=[8] * 3000), ["a config of 3000 layers"]),
    "word": (edited("unet", block_out_channels="wide"), ["block_out_channels", "a list"]),
    "real": (edited("unet", block_out_channels=[8.5, 8, 8]), ["block_out_channels"]),
    "nan": (edited("vae", scaling_factor=float("nan")), ["scaling_factor", "finite"]),
    "zero": (edited("vae", scaling_factor=0), ["scaling_factor"]),
    "text": (edited("vae", shift_factor="\x1b[2J"), ["shift_factor", "\\x1b"]),
    "means": (edited("vae", latents_mean=[0.0] * 3), ["latents_mean"]),
    "true": (edited("vae", latent_channels=True), ["latent_channels", "1 to 64"]),
    "many": (edited("vae", latent_channels=10**5), ["latent_channels"]),
    "class": (edited("vae", _class_name=["AutoencoderKL"]), ["not supported"]),
    "escapes": (edited("vae", _class_name="\x1b]0;\x07" * 99), ["not supported", "\\x1b"]),
    "nested": (raw("vae", "[" * 10**5), ["cannot be read"]),
    "inner": (raw("vae", '{"a": ' + "[" * 500 + "]" * 500 + "}"), ["config.json: a has"]),
    "long": (raw("vae", '{"a": "' + "x" * 2**21 + '"}'), ["bytes: a config of up to"]),
    "number": (raw("vae", '{"a": ' + "9" * 5000 + "}"), ["config.json"]),
    "timesteps": (edited("scheduler", num_train_timesteps=10**6), ["num_train_timesteps"]),
    "flat": (edited("scheduler", beta_start=float("nan")), ["scheduler_config.json", "finite"]),
    "negative": (edited("scheduler", beta_start=1.5, beta_end=2.0), ["no levels of noise"]),
    "names": (edited("scheduler", prediction_type=["epsilon"]), ["prediction_type"]),
    "pipe": (piped, ["no regular file"]),
    "weights": (weights_piped, ["no regular file"]),
    "index": (index_of_pickles, ["x.bin", "none of the safetensors"]),
    "endless": (endless, ["conv_in.bias", "not finite"]),
    "upside down": (edited("vae", up_block_types=["AttnUpDecoderBlock2D"] * 4), ["vae"]),
}


@pytest.fixture(scope="module", autouse=True)
def _warm():
    import diffusers  # noqa: F401 - seconds that are not the folder's


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_are_refused_soon(folder, name):
    spoil, words = HOSTILE[name]
    spoil(folder)
    start = time.thread_time()
    stable.refused(folder, *words)
    assert time.thread_time() - start < 2


REFUSALS = {
    "truncated": (cut, ["vae", "cannot be read"]),
    "scrambled": (scrambled, ["unet", "cannot be read"]),
    "pickled": (pickled, ["diffusion_pytorch_model.bin is pickled", "safetensors are allowed"]),
    "no weights": (lambda folder: stable.weights(folder / "unet").unlink(), ["unet", "no weights"]),
    "lacking": (lacking, ["unet", "lack 2 tensors", "conv_in.weight"]),
    "misshapen": (misshapen, ["vae", "cannot be loaded"]),
    "no scheduler": (
        lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(),
        ["scheduler_config.json"],
    ),
    "no json": (lambda folder: (folder / "vae" / "config.json").write_text("{"), ["config.json", "cannot be read"]),
    "a list": (lambda folder: (folder / "vae" / "config.json").write_text("[]"), ["config.json", "JSON object"]),
    "autoencoder": (edited("vae", _class_name="VQModel"), ["VQModel", "AutoencoderKL, AutoencoderTiny"]),
    "denoiser": (edited("unet", _class_name="SD3"), ["SD3", "UNet2DModel, UNet2DConditionModel"]),
    "nameless": (edited("vae", _class_name=None), ["vae", "not supported"]),
    "colours": (edited("vae", in_channels=1), ["1 to 3 channels", "3 and 3"]),
    "unheard": (edited("vae", latent_channels="four"), ["latent_channels", "four"]),
    "channels": (edited("unet", in_channels=9), ["9 to 4 channels", "the latents have 4"]),
    "classes": (edited("unet", num_class_embeds=10), ["num_class_embeds is 10"]),
    "fourier": (edited("unet", time_embedding_type="fourier"), ["time_embedding_type is 'fourier'", "positional"]),
    "prediction": (edited("scheduler", prediction_type="flow"), ["'flow'", "epsilon, v_prediction, sample"]),
    "no betas": (edited("scheduler", beta_schedule=None), ["DDPMScheduler has no beta_schedule"]),
    "betas": (edited("scheduler", beta_schedule="golden"), ["scheduler: cannot be loaded", "golden"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_used_is_refused_in_one_line(folder, capfd, name):
    spoil, words = REFUSALS[name]
    spoil(folder)
    stable.refused(folder, *words)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["truncated", "pickled", "autoencoder", "channels", "prediction", "no betas"])
def test_a_refusal_comes_before_anything_heavy(folder, monkeypatch, name):
    REFUSALS[name][0](folder)
    monkeypatch.setattr(
        "regrain.palette.diffusers_folder.import_module", lambda name: pytest.fail("a library was imported")
    )
    stable.refused(folder)


@pytest.mark.parametrize("name", ["lacking", "misshapen"])
def test_without_accelerate_it_is_refused_as_well(folder, monkeypatch, name):
    stable.hide_accelerate(monkeypatch)
    spoil, words = REFUSALS[name]
    spoil(folder)
    stable.refused(folder, *words)


def test_an_autoencoder_of_another_size_is_refused_by_the_denoiser(tmp_path):
    wide = stable.kl(latent_channels=16)
    stable.refused(stable.lay_out(tmp_path, wide, stable.unconditional(), stable.ddpm()), "the latents have 16")


def test_a_folder_without_an_autoencoder_is_refused(tmp_path):
    stable.refused(stable.lay_out(tmp_path, unet=stable.unconditional(), scheduler=stable.ddpm()), "no autoencoder")


@pytest.mark.parametrize("place", ["/no/such/folder", "nowhere", "../nowhere/vae", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stable.refused(place, "no such folder", "hub id")


@pytest.mark.parametrize("hub_id", ["stabilityai/sd-turbo", "house/a--b"])
def test_a_hub_id_that_is_not_in_the_cache_is_told_how_to_be(tmp_path, monkeypatch, hub_id):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stable.refused(hub_id, "nothing is downloaded here", f"`hf download {hub_id}`")


def test_without_diffusers_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    stable.refused(folder, "diffusers is not installed", "pip install 'regrain[stable-diffusion]'")


def test_a_diffusers_that_cannot_be_imported_says_why(folder, monkeypatch):
    def broken(name):
        raise ImportError("it wants another\nhub")

    monkeypatch.setattr(diffusers_folder, "import_module", broken)
    stable.refused(folder, "diffusers cannot be imported: it wants another")
