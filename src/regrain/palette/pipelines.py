"""Any Stable Diffusion as the model: AutoencoderKL, AutoencoderTiny, UNet2DModel, UNet2DConditionModel of diffusers.

    folder or hub id -> find -> read -> load: autoencoder, its fingerprint, and a denoiser where there is one

A U-Net that wants a prompt is given the empty one: from `empty_prompt.safetensors` in the folder, or from text_encoder/
and tokenizer/ where transformers is installed, or else zeros. Invariants: a loaded network is the one that was saved;
loading writes nothing to stderr, draws no random number and leaves log levels and the default dtype as they were.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from regrain import torch_checkpoint
from regrain.errors import ModelError, quote
from regrain.palette import configs, folders
from regrain.palette.folders import Part
from regrain.palette.networks import PREDICTIONS, DiffusersDenoiser, DiffusersSpace, log_snrs

log = logging.getLogger(__name__)

__all__ = ["Pipeline", "load"]

TOKENS_MOST: Final = 1024
EMPTY_PROMPT: Final = "empty_prompt.safetensors"
TALKERS: Final = ("diffusers", "transformers", "huggingface_hub")


@dataclass(frozen=True)
class Pipeline:
    """Networks ready for use; `fingerprint`, 4 bytes, is the autoencoder's: the denoiser may change under a file."""

    autoencoder: DiffusersSpace
    denoiser: DiffusersDenoiser | None
    fingerprint: bytes
    name: str


def load(place: str | Path, device: str | None = None) -> Pipeline:
    """The networks in a local folder, or under a hub id such as "stabilityai/sd-turbo" in the local cache.

    Raises ModelError where they are missing, damaged, pickled, not supported or do not fit each other, and where
    diffusers is not installed. Logs a warning where nothing gives the empty prompt that a U-Net was trained with.
    """
    folder, where = folders.find(str(place)), torch.device(device or "cpu")
    contents = folders.read(folder)
    autoencoder, denoiser = DiffusersSpace(_network(contents.vae), where), None
    if contents.unet is not None and contents.scheduler is not None:
        denoiser = _denoiser(folder, contents.unet, contents.scheduler, where)
    name = folder.resolve().name if Path(place).is_dir() else str(place)
    return _try_pipeline(Pipeline(autoencoder, denoiser, autoencoder.fingerprint(), name), folder)


def _denoiser(folder: Path, unet: Part, scheduler: Mapping[str, Any], device: torch.device) -> DiffusersDenoiser:
    """DDPMScheduler reads the levels, whatever sampler the config was written for: it knows every schedule of betas."""
    with _quiet_library("diffusers", folder / "scheduler") as diffusers:
        levels = log_snrs(diffusers.DDPMScheduler(**scheduler).alphas_cumprod)
    if not np.isfinite(levels).all() or (np.diff(levels) > 0).any():
        raise ModelError(f"{folder / 'scheduler'}: its betas give no levels of noise that rise")
    prompt = _prompt(folder, unet) if unet.config["_class_name"] == "UNet2DConditionModel" else None
    return DiffusersDenoiser(_network(unet), levels, PREDICTIONS[scheduler["prediction_type"]], prompt, device)


def _network(part: Part) -> Any:  # noqa: ANN401 - a class of diffusers
    """The network with its weights, float32, on the CPU. Raises ModelError where they do not fit its config."""
    with _quiet_library("diffusers", part.folder) as diffusers:
        kind = getattr(diffusers, part.config["_class_name"])
        found = {
            _current_name(name): one for file in folders.tensor_files(part) for name, one in load_file(file).items()
        }
        with torch.device("meta"):
            wanted = kind.from_config({**part.config}).state_dict()
    if missing := sorted(wanted.keys() - found.keys()):
        raise ModelError(f"{part.folder}: weights lack {len(missing)} tensors of the config, such as {missing[0]}")
    found = {name: tensor for name, tensor in found.items() if name in wanted}
    if endless := [name for name, tensor in found.items() if not bool(tensor.float().isfinite().all())]:
        raise ModelError(f"{part.folder}: {endless[0]} holds numbers that are not finite")
    with _quiet_library("diffusers", part.folder):
        network = torch_checkpoint.network(lambda: kind.from_config({**part.config}), found)
        if any(one.is_meta for one in network.buffers()):
            raise ModelError("it holds numbers that no file stores")
    return network


def _current_name(name: str) -> str:
    """The present name of a tensor: attention of autoencoders had others once."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        name = re.sub(rf"(\.attentions\.\d+)\.{old}\.(?=(weight|bias)$)", rf"\1.{new}.", name)
    return name


def _try_pipeline(pipeline: Pipeline, folder: Path) -> Pipeline:
    """The pipeline, once a few latents have gone through. Raises ModelError where what comes out cannot be right."""
    space, denoiser = pipeline.autoencoder, pipeline.denoiser
    try:
        latents = space.encode(np.zeros((3, 2 * space.stride, 2 * space.stride), np.float32))
        outcomes = [(latents, (space.channels, 2, 2)), (space.decode(latents), (3, 2 * space.stride, 2 * space.stride))]
        if denoiser is not None:
            outcomes.append((denoiser.denoise(latents, 0.0), (space.channels, 2, 2)))
    except Exception as error:  # a network of a hostile config may fail in any way
        raise ModelError(f"{folder}: its networks do not run: {configs.reason(error)}") from None
    for outcome, shape in outcomes:
        if tuple(outcome.shape) != shape or not np.isfinite(outcome).all():
            raise ModelError(f"{folder}: its networks give {tuple(outcome.shape)} or no numbers, not {shape}")
    return pipeline


def _prompt(folder: Path, unet: Part) -> Tensor:
    """The embedding of the empty prompt, (tokens, width)."""
    wide = unet.config.get("cross_attention_dim", 1280)
    width = wide[0] if isinstance(wide, list) and wide else wide
    if type(width) is not int or not 1 <= width <= configs.WIDTH_MOST:
        raise ModelError(f"{unet.folder}: cross_attention_dim is {quote(wide)}: 1 to {configs.WIDTH_MOST} is allowed")
    if (path := folder / EMPTY_PROMPT).exists():
        if not folders.check_whole(path):
            raise ModelError(f"{path}: no tensor in it")
        prompt = next(iter(load_file(path).values())).float().squeeze(0)
    elif (folder / "text_encoder").is_dir() and (folder / "tokenizer").is_dir() and find_spec("transformers"):
        path, prompt = folder / "text_encoder", _encode_prompt(folder / "tokenizer", folder / "text_encoder")
    else:
        log.warning("%s: zeros in place of the empty prompt: install transformers, or add %s", folder, EMPTY_PROMPT)
        prompt = torch.zeros(1, width, dtype=torch.float32)
    if prompt.ndim != 2 or prompt.shape[1] != width or not 1 <= len(prompt) <= TOKENS_MOST:
        raise ModelError(f"{path}: an embedding of shape {tuple(prompt.shape)}: (tokens, {width}) is allowed")
    return prompt


@torch.no_grad()
def _encode_prompt(tokenizer: Path, encoder: Path) -> Tensor:
    """What CLIP makes of no text."""
    variant = folders.variant(encoder, "model")
    configs.check_text_encoder(encoder)
    with _quiet_library("transformers", encoder) as transformers:
        tokens = transformers.CLIPTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
        network = transformers.CLIPTextModel.from_pretrained(
            str(encoder), variant=variant, use_safetensors=True, local_files_only=True
        )
        if tokens.model_max_length > TOKENS_MOST:
            raise ModelError(f"{tokens.model_max_length} tokens: up to {TOKENS_MOST} are allowed")
        empty = tokens("", padding="max_length", max_length=tokens.model_max_length, return_tensors="pt").input_ids
        prompt: Tensor = network.float().eval()(empty)[0][0]
    return prompt


@contextmanager
def _quiet_library(name: str, folder: Path) -> Iterator[Any]:
    """A library to load `folder` with: mute, its errors ModelErrors, and all as it was when it is done."""
    library, dtype = folders.library(name), torch.get_default_dtype()
    levels = {talker: logging.getLogger(talker).level for talker in TALKERS}
    try:
        for talker in levels:
            logging.getLogger(talker).setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield library
    except Exception as error:
        raise ModelError(f"{folder}: cannot be loaded: {configs.reason(error)}") from None
    finally:
        torch.set_default_dtype(dtype)
        for talker, level in levels.items():
            logging.getLogger(talker).setLevel(level)
