"""Pipelines on disk, in diffusers' layout, trusting nothing, and before anything heavy is done.

    vae/        config.json, diffusion_pytorch_model*.safetensors; or the folder is an autoencoder itself
    unet/       the same; without it nothing denoises
    scheduler/  scheduler_config.json

A place is a local folder, or a hub id whose files lie in the local Hugging Face cache: nothing is ever downloaded.
Invariants: what cannot be used is refused here, in one line that says what can, or how to get it; of a config that is
accepted every number is finite and at most CONFIG_MOST, those that say how large a network is, or that latents are
divided by, are within ranges of their own, and there are no more layers than its files have tensors. Only regular files
are read, and of those that hold weights only safetensors: an index of shards leads to nothing else.
"""

import json
import math
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

from regrain.diffusion.parametrize import Prediction
from regrain.errors import ModelError, escape, quote

__all__ = [
    "AUTOENCODERS", "DENOISERS", "PREDICTIONS", "WIDTH_MOST", "Part", "check_text_encoder", "count_tensors",
    "find", "library", "read", "reason", "weight_files", "whole_number",
]  # fmt: skip

AUTOENCODERS: Final = {"AutoencoderKL": 16, "AutoencoderTiny": 8}
"""The classes of autoencoders, and the latents of context that a window of each needs.

AutoencoderTiny is convolutions alone: 8 give the pixels of the whole to 1e-4 of their deviation. AutoencoderKL has
norms and attention over all that it sees, so that none suffice: 16 cover its convolutions.
"""
DENOISERS: Final = ("UNet2DModel", "UNet2DConditionModel")
PREDICTIONS: Final[dict[str, Prediction]] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
STEM: Final = "diffusion_pytorch_model"
CONFIG_MOST: Final = 2**20
"""Bytes of a config, and the largest number in one."""
INDEX_MOST, MOMENT_MOST, LAYERS_MOST = 2**24, 1e4, 64
LIST_MOST, NESTED_MOST, WIDTH_MOST, LEVELS_MOST, CHANNELS_MOST, TIMESTEPS_MOST = 4096, 4, 8192, 8, 64, 65536
WIDTHS: Final = ("block_out_channels", "encoder_block_out_channels", "decoder_block_out_channels")
CONDITIONS: Final = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim")
"""Inputs that a U-Net may have besides latents, time and a prompt, and that nothing here gives it."""


@dataclass(frozen=True)
class Part:
    """A network on disk: its config is read and its weights are whole, but not loaded."""

    folder: Path
    config: Mapping[str, Any]
    files: Collection[Path]


def find(place: str) -> Path:
    """The folder that a place is. Raises ModelError where it is not on this machine."""
    if (folder := Path(place)).is_dir():
        return folder
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", place):
        raise ModelError(f"{place}: no such folder; a folder or a hub id, such as stabilityai/sd-turbo, is allowed")
    hub = library("huggingface_hub")
    with suppress(ValueError):
        for config in ("vae/config.json", "config.json"):
            if isinstance(path := hub.try_to_load_from_cache(place, config), str):
                return Path(path.removesuffix(config))
    raise ModelError(
        f"{place}: no such folder, and not in the local Hugging Face cache; nothing is downloaded here, "
        f"`hf download {place}` does it"
    )


def read(folder: Path) -> tuple[Part, tuple[Part, dict[str, Any]] | None]:
    """The autoencoder and, if there is one, the U-Net with the config of its scheduler.

    Raises ModelError for what is missing, damaged, pickled, not supported or does not fit.
    """
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe may never end
            raise ModelError(f"{path}: cannot be read: it is no regular file")
    places = [path for path in (folder / "vae", folder) if (path / "config.json").exists()]
    if not places:
        raise ModelError(f"{folder}: no autoencoder: neither vae/config.json nor config.json is there")
    vae = _part(places[0], AUTOENCODERS, 3, "3 and 3 are allowed")
    channels = _check_latents(vae.folder, vae.config)
    if not (folder / "unet").is_dir():
        return vae, None
    unet = _part(folder / "unet", DENOISERS, channels, f"the latents have {channels}")
    if more := [key for key in CONDITIONS if unet.config.get(key) is not None]:
        value = quote(unet.config[more[0]])
        raise ModelError(f"{unet.folder}: {more[0]} is {value}: only U-Nets without it are supported")
    if (time := unet.config.get("time_embedding_type", "positional")) != "positional":
        raise ModelError(f"{unet.folder}: time_embedding_type is {quote(time)}: positional is supported")
    return vae, (unet, _scheduler(folder / "scheduler" / "scheduler_config.json"))


def _part(folder: Path, allowed: Collection[str], channels: int, which: str) -> Part:
    config = _config(folder / "config.json")
    if not isinstance(name := config.get("_class_name"), str) or name not in allowed:
        raise ModelError(f"{folder}: {escape(str(name))} is not supported: {', '.join(allowed)} are")
    files = weight_files(folder, STEM)
    if (layers := _layers(config)) > (tensors := sum(files.values())):
        raise ModelError(f"{folder}: a config of {layers} layers, and {tensors} tensors for them")
    if (ends := (config.get("in_channels"), config.get("out_channels"))) != (channels, channels):
        raise ModelError(f"{folder}: {name} from {quote(ends[0])} to {quote(ends[1])} channels: {which}")
    _check_widths(folder, config)
    return Part(folder, config, files)


def weight_files(folder: Path, stem: str) -> dict[Path, int]:
    """The files of the weights, of full precision or else of half, and how many tensors each has.

    Raises ModelError where they are missing, cut short or pickled.
    """
    names = sorted(path.name for path in folder.iterdir())
    for kind in ("", r"\.fp16"):
        form = re.compile(rf"{stem}{kind}(-\d+-of-\d+)?\.safetensors")
        if files := {folder / name: count_tensors(folder / name) for name in names if form.fullmatch(name)}:
            _check_index(folder, {path.name for path in files})
            return files
    if pickled := [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]:
        raise ModelError(f"{folder}: {escape(pickled[0])} is pickled, and may run code: safetensors are allowed")
    raise ModelError(f"{folder}: no weights: {stem}.safetensors is missing")


def count_tensors(path: Path) -> int:
    """How many tensors a safetensors file has. Raises ModelError unless it is as long as its header says."""
    try:
        with safe_open(path, framework="pt") as file:
            return len(file.keys())
    except Exception as error:  # OSError, SafetensorError, and what libraries say to types that they do not have
        raise ModelError(f"{path}: weights cannot be read: {reason(error)}") from None


def _check_index(folder: Path, files: Collection[str]) -> None:
    """Raise ModelError for an index of shards that leads to anything but these files."""
    for path in sorted(folder.glob("*.safetensors*.index.json")):
        if not isinstance(shards := _json(path, INDEX_MOST).get("weight_map"), dict):
            raise ModelError(f"{path}: no index of shards")
        if wrong := [shard for shard in shards.values() if not isinstance(shard, str) or shard not in files]:
            raise ModelError(f"{path}: {escape(str(wrong[0]))} is none of the safetensors files beside it")


def _json(path: Path, most: int = CONFIG_MOST) -> dict[str, Any]:
    """The JSON object in a file of at most so many bytes. Raises ModelError for any other file."""
    try:
        if path.is_file() and path.stat().st_size > most:
            raise ModelError(f"{path}: {path.stat().st_size} bytes: a config of up to {most} is allowed")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read: {reason(error)}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a config: a JSON object is allowed")
    return data


def _config(path: Path) -> dict[str, Any]:
    """A config all of whose numbers are finite and at most CONFIG_MOST, and whose lists are short."""
    config = _json(path)
    for name, value in config.items():
        _check_value(value, f"{path}: {escape(name)}")
    return config


def _check_value(value: Any, where: str, inner: int = NESTED_MOST) -> None:  # noqa: ANN401 - JSON
    if isinstance(value, list | dict):
        if len(value) > LIST_MOST or not inner:
            raise ModelError(f"{where} has {len(value)} values or more: up to {LIST_MOST} are allowed")
        for entry in value if isinstance(value, list) else value.values():
            _check_value(entry, where, inner - 1)
    elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= CONFIG_MOST):
        raise ModelError(f"{where} is {quote(value)}: finite numbers up to {CONFIG_MOST} are allowed")


def _layers(config: Mapping[str, Any]) -> int:
    """How many layers a network has about, at most; those of other networks are within 64."""
    levels = max(1, *(len(v) for name, v in config.items() if "block_" in name and isinstance(v, list)), 1)
    blocks = [_most(v) for name, v in config.items() if re.fullmatch(r"layers_per_block|num_(en|de)coder_blocks", name)]
    inner = [_most(v) for name, v in config.items() if name.endswith("transformer_layers_per_block")]
    return int(levels * max([1, *blocks]) * max([1, *inner]))


def _most(value: Any) -> float:  # noqa: ANN401 - JSON
    """The largest number in a value."""
    if isinstance(value, list | dict):
        return max([0, *map(_most, value if isinstance(value, list) else value.values())])
    return value if isinstance(value, int | float) else 0


def whole_number(where: Path, config: Mapping[str, Any], name: str, most: int, default: int | None = None) -> int:
    """A number of a config. Raises ModelError for one that is not whole and from 1 to `most`."""
    if type(value := config.get(name, default)) is not int or not 1 <= value <= most:
        raise ModelError(f"{where}: {name} is {quote(value)}: 1 to {most} is allowed")
    return value


def _check_widths(folder: Path, config: Mapping[str, Any]) -> None:
    names = [name for name in WIDTHS if config.get(name)]
    allowed = f"a list of 1 to {LEVELS_MOST} numbers from 1 to {WIDTH_MOST}"
    for name in names:
        widths = config[name]
        few = isinstance(widths, list) and 1 <= len(widths) <= LEVELS_MOST
        if not few or not all(type(width) is int and 1 <= width <= WIDTH_MOST for width in widths):
            raise ModelError(f"{folder}: {name} is {quote(widths)}: {allowed} is allowed")
    if not names:
        raise ModelError(f"{folder}: {' and '.join(WIDTHS)} are missing")


def _check_latents(folder: Path, config: Mapping[str, Any]) -> int:
    """The channels of an autoencoder's latents. Refuse numbers and moments that no latents have."""
    channels = whole_number(folder, config, "latent_channels", CHANNELS_MOST)
    for name in ("scaling_factor", "shift_factor", "latents_mean", "latents_std"):
        value = config.get(name)
        many: list[Any] = value if name.startswith("latents") and isinstance(value, list) else [value]
        least = 1 / MOMENT_MOST if name in ("scaling_factor", "latents_std") else -MOMENT_MOST
        fits = len(many) in (1, channels) and all(type(v) in (int, float) and least < v < MOMENT_MOST for v in many)
        if value is not None and not fits:
            raise ModelError(f"{folder}: {name} is {quote(value)}: a number, or one for each channel, is allowed")
    return channels


def _scheduler(path: Path) -> dict[str, Any]:
    """A scheduler's config. Raises ModelError for one that no levels of noise follow from."""
    config = {"prediction_type": "epsilon", **_config(path)}
    if "beta_schedule" not in config:
        name = escape(str(config.get("_class_name")))
        raise ModelError(f"{path}: {name} has no beta_schedule: schedules of betas are supported")
    prediction = config["prediction_type"]
    if not isinstance(prediction, str) or prediction not in PREDICTIONS:
        raise ModelError(f"{path}: prediction_type is {quote(prediction)}: {', '.join(PREDICTIONS)} are allowed")
    whole_number(path, config, "num_train_timesteps", TIMESTEPS_MOST, 1000)
    return config


def check_text_encoder(folder: Path) -> None:
    """Raise ModelError for the config of a text encoder that no file of weights fills."""
    path = folder / "config.json"
    whole_number(folder, _config(path) if path.exists() else {}, "num_hidden_layers", LAYERS_MOST, 12)


def reason(error: Exception) -> str:
    """The first line of what an error says, escaped and shortened: it may quote a file."""
    return escape(next(iter(str(error).strip().splitlines()), type(error).__name__))


def library(name: str) -> Any:  # noqa: ANN401 - a module
    """A package of the extra. Raises ModelError where it is not installed, or not as its own imports want it."""
    if find_spec(name) is None:
        raise ModelError(f"{name} is not installed: `pip install 'regrain[stable-diffusion]'` does it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise ModelError(f"{name} cannot be imported: {reason(error)}") from None
