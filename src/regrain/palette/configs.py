"""The configs of a pipeline in diffusers' layout, trusting nothing.

Invariant: of a config that is accepted every number is finite and at most CONFIG_MOST, and those that say how large a
network is, or that latents are divided by, are within ranges of their own.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from regrain.errors import ModelError, escape, quote
from regrain.palette.networks import PREDICTIONS

__all__ = [
    "WIDTH_MOST", "check_autoencoder", "check_denoiser", "check_text_encoder", "layers", "read", "reason",
    "scheduler",
]  # fmt: skip

CONFIG_MOST: Final = 2**20
"""Bytes of a config, and the largest number in one."""
LIST_MOST, NESTED_MOST, WIDTH_MOST, LEVELS_MOST, CHANNELS_MOST, TIMESTEPS_MOST = 4096, 4, 8192, 8, 64, 65536
WIDTHS: Final = ("block_out_channels", "encoder_block_out_channels", "decoder_block_out_channels")
LEVELS: Final = (
    "prediction_type", "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
    "rescale_betas_zero_snr",
)  # fmt: skip
"""What of a scheduler's config the levels of noise follow from."""
LAYERS_MOST: Final = 64
MOMENT_MOST: Final = 1e4
UNTOLD: Final = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim")
"""What a U-Net may be built to be told, besides latents, time and a prompt, and is not told here."""


def read(path: Path) -> dict[str, Any]:
    """A JSON object all of whose numbers are finite and at most CONFIG_MOST, and whose lists are short."""
    try:
        if path.is_file() and path.stat().st_size > CONFIG_MOST:
            raise ModelError(f"{path}: {path.stat().st_size} bytes: a config of up to {CONFIG_MOST} is allowed")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read: {reason(error)}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a config: a JSON object is allowed")
    for name, value in data.items():
        _check_value(value, f"{path}: {escape(name)}")
    return data


def _check_value(value: Any, where: str, inner: int = NESTED_MOST) -> None:  # noqa: ANN401 - JSON
    if isinstance(value, list | dict):
        if len(value) > LIST_MOST or not inner:
            raise ModelError(f"{where} has {len(value)} values or more: up to {LIST_MOST} are allowed")
        for one in value if isinstance(value, list) else value.values():
            _check_value(one, where, inner - 1)
    elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= CONFIG_MOST):
        raise ModelError(f"{where} is {quote(value)}: finite numbers up to {CONFIG_MOST} are allowed")


def layers(config: Mapping[str, Any]) -> int:
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


def check_autoencoder(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse an autoencoder of other than colour pictures, and sizes and moments that no latents have."""
    if (ends := _ends(config)) != (3, 3):
        raise ModelError(f"{folder}: an autoencoder from {_of(ends)} channels: 3 and 3 are allowed")
    channels = config.get("latent_channels")
    if type(channels) is not int or not 1 <= channels <= CHANNELS_MOST:
        raise ModelError(f"{folder}: latent_channels is {quote(channels)}: 1 to {CHANNELS_MOST} is allowed")
    _check_widths(folder, config)
    for name in ("scaling_factor", "shift_factor", "latents_mean", "latents_std"):
        value = config.get(name)
        many: list[Any] = value if name.startswith("latents") and isinstance(value, list) else [value]
        least = 1 / MOMENT_MOST if name in ("scaling_factor", "latents_std") else -MOMENT_MOST
        if value is None:
            continue
        if len(many) not in (1, channels) or not all(type(v) in (int, float) and least < v < MOMENT_MOST for v in many):
            raise ModelError(f"{folder}: {name} is {quote(value)}: a number, or one for each channel, is allowed")


def _check_widths(folder: Path, config: Mapping[str, Any]) -> None:
    names = [name for name in WIDTHS if config.get(name)]
    for name in names:
        widths = config[name]
        if not isinstance(widths, list) or not 1 <= len(widths) <= LEVELS_MOST:
            raise ModelError(f"{folder}: {name} is {quote(widths)}: a list of 1 to {LEVELS_MOST} is allowed")
        if not all(type(width) is int and 1 <= width <= WIDTH_MOST for width in widths):
            raise ModelError(f"{folder}: {name} has more than numbers from 1 to {WIDTH_MOST}")
    if not names:
        raise ModelError(f"{folder}: {' and '.join(WIDTHS)} are missing")


def check_text_encoder(folder: Path) -> None:
    """Raise ModelError for the config of a text encoder that no file of weights fills."""
    layers = read(path).get("num_hidden_layers", 12) if (path := folder / "config.json").exists() else 12
    if type(layers) is not int or not 1 <= layers <= LAYERS_MOST:
        raise ModelError(f"{folder}: num_hidden_layers is {quote(layers)}: 1 to {LAYERS_MOST} is allowed")


def check_denoiser(folder: Path, config: Mapping[str, Any], channels: int) -> None:
    """Refuse a U-Net that cannot be run on these latents, told of the time and a prompt alone."""
    ends = _ends(config)
    _check_widths(folder, config)
    if ends != (channels, channels):
        raise ModelError(f"{folder}: a denoiser from {_of(ends)} channels: the latents have {channels}")
    if told := [key for key in UNTOLD if config.get(key) is not None]:
        raise ModelError(f"{folder}: {told[0]} is {quote(config[told[0]])}: only U-Nets without it are supported")
    if (time := config.get("time_embedding_type", "positional")) != "positional":
        raise ModelError(f"{folder}: time_embedding_type is {quote(time)}: positional is supported")


def _of(ends: tuple[Any, Any]) -> str:
    return f"{quote(ends[0])} to {quote(ends[1])}"


def _ends(config: Mapping[str, Any]) -> tuple[Any, Any]:
    return config.get("in_channels"), config.get("out_channels")


def scheduler(path: Path) -> dict[str, Any]:
    """What of a scheduler's config the levels of noise follow from. Raises ModelError where they do not."""
    config = {"prediction_type": "epsilon", **read(path)}
    if "beta_schedule" not in config:
        raise ModelError(
            f"{path}: {escape(str(config.get('_class_name')))} has no beta_schedule: schedules of betas are supported"
        )
    prediction, steps = config["prediction_type"], config.get("num_train_timesteps", 1000)
    if not isinstance(prediction, str) or prediction not in PREDICTIONS:
        raise ModelError(f"{path}: prediction_type is {quote(prediction)}: {', '.join(PREDICTIONS)} are allowed")
    if type(steps) is not int or not 1 <= steps <= TIMESTEPS_MOST:
        raise ModelError(f"{path}: num_train_timesteps is {quote(steps)}: 1 to {TIMESTEPS_MOST} is allowed")
    return {name: config[name] for name in LEVELS if name in config}


def reason(error: Exception) -> str:
    """The first line of what an error says, escaped and shortened: it may quote a file."""
    return escape(next(iter(str(error).strip().splitlines()), type(error).__name__))
