"""Pipelines on disk, in diffusers' layout, looked at before anything heavy is done: configs and file headers alone.

    vae/        config.json, diffusion_pytorch_model*.safetensors; or the folder is an autoencoder itself
    unet/       the same; without it nothing denoises
    scheduler/  scheduler_config.json

A place is a local folder, or a hub id whose files lie in the local Hugging Face cache: nothing is ever downloaded.
Invariants: what cannot be used is refused here, in one line that says what can, or how to get it; a config that is
returned has numbers that are finite and small, and no more layers than its file has tensors. Only regular files are
read, and of those that hold weights only safetensors: an index of shards leads to nothing else.
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

from safetensors import safe_open

from regrain.errors import ModelError, escape
from regrain.palette import configs
from regrain.palette.configs import reason
from regrain.palette.networks import AUTOENCODERS, DENOISERS

__all__ = [
    "Contents",
    "Part",
    "check_whole",
    "find",
    "installed",
    "library",
    "read",
    "tensor_files",
    "variant",
]

STEM: Final = "diffusion_pytorch_model"
PARTS: Final = ("vae", "unet", "scheduler", "text_encoder", "tokenizer")
INDEX_MOST: Final = 2**24


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
    for part in (folder, *(folder / name for name in PARTS)):
        _check_regular(part)
    places = [path for path in (folder / "vae", folder) if (path / "config.json").exists()]
    if not places:
        raise ModelError(f"{folder}: no autoencoder: neither vae/config.json nor config.json is there")
    vae = _part(places[0], AUTOENCODERS)
    configs.check_autoencoder(vae.folder, vae.config)
    if not (folder / "unet").is_dir():
        return Contents(vae, None, None)
    unet = _part(folder / "unet", DENOISERS)
    configs.check_denoiser(unet.folder, unet.config, vae.config["latent_channels"])
    return Contents(vae, unet, configs.scheduler(folder / "scheduler" / "scheduler_config.json"))


def _part(folder: Path, allowed: Collection[str]) -> Part:
    config = configs.read(folder / "config.json")
    if not isinstance(name := config.get("_class_name"), str) or name not in allowed:
        raise ModelError(f"{folder}: {escape(str(name))} is not supported: {', '.join(allowed)} are")
    part = Part(folder, config, variant(folder, STEM))
    layers, tensors = configs.layers(config), sum(check_whole(file) for file in tensor_files(part))
    if layers > tensors:
        raise ModelError(f"{folder}: a config of {layers} layers, and {tensors} tensors for them")
    return part


def tensor_files(part: Part, stem: str = STEM) -> list[Path]:
    """The files of the weights of a part, of the variant to be loaded."""
    return [part.folder / name for name in _named(part.folder, stem, part.variant)]


def _named(folder: Path, stem: str, kind: str | None) -> list[str]:
    form = re.compile(rf"{stem}{f'[.]{kind}' if kind else ''}(-\d+-of-\d+)?\.safetensors")
    return sorted(path.name for path in folder.iterdir() if form.fullmatch(path.name))


def _check_regular(folder: Path) -> None:
    """Raise ModelError for a pipe or a device in a folder: reading one may never end."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path}: cannot be read: it is no regular file")


def variant(folder: Path, stem: str) -> str | None:
    """Which weights to load: None for full precision, or else "fp16". Raises ModelError without whole safetensors."""
    for kind in (None, "fp16"):
        if files := _named(folder, stem, kind):
            for name in files:
                check_whole(folder / name)
            _check_index(folder, {*files})
            return kind
    names = sorted(path.name for path in folder.iterdir())
    if pickled := [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]:
        raise ModelError(f"{folder}: {escape(pickled[0])} is pickled, and may run code: safetensors are allowed")
    raise ModelError(f"{folder}: no weights: {stem}.safetensors is missing")


def _check_index(folder: Path, files: Collection[str]) -> None:
    """Raise ModelError for an index of shards that leads to anything but these files."""
    for path in sorted(folder.glob("*.safetensors*.index.json")):
        if path.is_file() and path.stat().st_size > INDEX_MOST:
            raise ModelError(f"{path}: {path.stat().st_size} bytes: an index of up to {INDEX_MOST} is allowed")
        try:
            shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{path}: no index of shards") from None
        if wrong := [shard for shard in shards if not isinstance(shard, str) or shard not in files]:
            raise ModelError(f"{path}: {escape(str(wrong[0]))} is none of the safetensors files beside it")


def check_whole(path: Path) -> int:
    """How many tensors a safetensors file has. Raises ModelError unless it is a file as long as its header says."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: weights cannot be read: it is no regular file")
    try:
        with safe_open(path, framework="pt") as file:
            return len(file.keys())
    except Exception as error:  # OSError, SafetensorError, and what libraries say to types that they do not have
        raise ModelError(f"{path}: weights cannot be read: {reason(error)}") from None


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
