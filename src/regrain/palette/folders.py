"""Pipelines on disk, in diffusers' layout, looked at before anything heavy is done: configs and file headers alone.

    vae/        config.json, diffusion_pytorch_model*.safetensors; or the folder is an autoencoder itself
    unet/       the same; without it nothing denoises
    scheduler/  scheduler_config.json

A place is a local folder, or a hub id whose files lie in the local Hugging Face cache: nothing is ever downloaded.
Invariant: what cannot be used is refused here, in one line that says what can, or how to get it.
"""

import json
import re
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from regrain.errors import ModelError
from regrain.palette.networks import AUTOENCODERS, DENOISERS, PREDICTIONS

__all__ = ["Contents", "Part", "check_whole", "find", "installed", "library", "read", "reason", "variant"]

STEM: Final = "diffusion_pytorch_model"
UNTOLD: Final = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim")
"""What a U-Net may be built to be told, besides latents, time and a prompt, and is not told here."""


@dataclass(frozen=True)
class Part:
    """A network on disk: its config is read and its weights are whole, but not loaded."""

    folder: Path
    config: Mapping[str, Any]
    variant: str | None


@dataclass(frozen=True)
class Contents:
    """What is of use in a folder: an autoencoder and, both or neither, a U-Net and the config of its scheduler."""

    vae: Part
    unet: Part | None
    scheduler: Mapping[str, Any] | None


def find(place: str) -> Path:
    """The folder that a place is. Raises ModelError where it is not on this machine, or diffusers is not installed."""
    installed("diffusers")
    if (folder := Path(place)).is_dir():
        return folder
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", place):
        raise ModelError(f"{place}: no such folder; a folder or a hub id, such as stabilityai/sd-turbo, is allowed")
    hub = library("huggingface_hub")
    with suppress(ValueError):
        for config in ("vae/config.json", "config.json"):
            if isinstance(found := hub.try_to_load_from_cache(place, config), str):
                return Path(found.removesuffix(config))
    raise ModelError(
        f"{place}: no such folder, and not in the local Hugging Face cache; nothing is downloaded here, "
        f"`hf download {place}` does it"
    )


def read(folder: Path) -> Contents:
    """All but the weights. Raises ModelError for what is missing, damaged, pickled, not supported or does not fit."""
    places = [path for path in (folder / "vae", folder) if (path / "config.json").exists()]
    if not places:
        raise ModelError(f"{folder}: no autoencoder: neither vae/config.json nor config.json is there")
    vae = _part(places[0], AUTOENCODERS)
    _check_autoencoder(vae)
    if not (folder / "unet").is_dir():
        return Contents(vae, None, None)
    unet = _part(folder / "unet", DENOISERS)
    _check_denoiser(unet, vae.config["latent_channels"])
    return Contents(vae, unet, _scheduler(folder / "scheduler" / "scheduler_config.json"))


def _part(folder: Path, allowed: Collection[str]) -> Part:
    config = _json(folder / "config.json")
    if (name := config.get("_class_name")) not in allowed:
        raise ModelError(f"{folder}: {name} is not supported: {', '.join(allowed)} are")
    return Part(folder, config, variant(folder, STEM))


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {reason(error)}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a config: a JSON object is allowed")
    return data


def variant(folder: Path, stem: str) -> str | None:
    """Which weights to load: None for full precision, or else "fp16". Raises ModelError without whole safetensors."""
    names = sorted(path.name for path in folder.iterdir())
    for kind, dotted in ((None, ""), ("fp16", r"\.fp16")):
        if files := [name for name in names if re.fullmatch(rf"{stem}{dotted}(-\d+-of-\d+)?\.safetensors", name)]:
            for name in files:
                check_whole(folder / name)
            return kind
    if pickled := [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]:
        raise ModelError(f"{folder}: {pickled[0]} is pickled, and may run code when read: safetensors are allowed")
    raise ModelError(f"{folder}: no weights: {stem}.safetensors is missing")


def check_whole(path: Path) -> None:
    """Raise ModelError unless a safetensors file is as long as its header says."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: weights cannot be read: {reason(error)}") from None


def _check_autoencoder(vae: Part) -> None:
    if (ends := _ends(vae)) != (3, 3):
        raise ModelError(f"{vae.folder}: an autoencoder from {ends[0]} to {ends[1]} channels: 3 and 3 are allowed")
    if not isinstance(channels := vae.config.get("latent_channels"), int):
        raise ModelError(f"{vae.folder}: latent_channels is {channels!r}: a number is allowed")


def _check_denoiser(unet: Part, channels: int) -> None:
    """Refuse a U-Net that cannot be run on these latents, told of the time and a prompt alone."""
    config, ends = unet.config, _ends(unet)
    if ends != (channels, channels):
        raise ModelError(f"{unet.folder}: a denoiser from {ends[0]} to {ends[1]} channels: the latents have {channels}")
    if told := [key for key in UNTOLD if config.get(key) is not None]:
        raise ModelError(f"{unet.folder}: {told[0]} is {config[told[0]]!r}: only U-Nets without it are supported")
    if (time := config.get("time_embedding_type", "positional")) != "positional":
        raise ModelError(f"{unet.folder}: time_embedding_type is {time!r}: positional is supported")


def _ends(part: Part) -> tuple[Any, Any]:
    return part.config.get("in_channels"), part.config.get("out_channels")


def _scheduler(path: Path) -> dict[str, Any]:
    config = {"prediction_type": "epsilon", **_json(path)}
    if "beta_schedule" not in config:
        raise ModelError(
            f"{path}: {config.get('_class_name')} has no beta_schedule: only schedules of betas are supported"
        )
    if (prediction := config["prediction_type"]) not in PREDICTIONS:
        raise ModelError(f"{path}: prediction_type is {prediction!r}: {', '.join(PREDICTIONS)} are allowed")
    return config


def installed(name: str) -> None:
    """Raise ModelError unless a package of the extra is there; it is not imported."""
    if find_spec(name) is None:
        raise ModelError(f"{name} is not installed: `pip install 'regrain[stable-diffusion]'` does it")


def library(name: str) -> Any:  # noqa: ANN401 - a module
    """A package of the extra. Raises ModelError where it is not installed, or not as its own imports want it."""
    installed(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise ModelError(f"{name} cannot be imported: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
