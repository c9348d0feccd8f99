"""Any Stable Diffusion as the model: AutoencoderKL, AutoencoderTiny, UNet2DModel, UNet2DConditionModel of diffusers.

    z = (encode(x) - shift) scale        x_hat = decode(z / scale + shift)
    z_t = alpha_t z_0 + sigma_t eps      z_0 = to_x0(network(z_t, n(log_snr)), z_t)

(Rombach et al. 2022; the timestep n, of DDPM's discrete schedule, is interpolated in the log-SNR, so that any noise
level has one.) A U-Net that wants a prompt is given the empty one: from `empty_prompt.safetensors` in the folder, or
from text_encoder/ and tokenizer/ where transformers is installed, or else zeros. Invariants: a loaded network is the
one that was saved; decode undoes encode's normalisation; at the schedule's own levels z_0 is what diffusers' scheduler
says; of a posterior the mode is taken. Loading writes nothing to stderr, draws no random number and leaves log levels
and the default dtype as they were.
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
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from regrain import torch_checkpoint
from regrain.diffusion.parametrize import Prediction, to_x0
from regrain.diffusion.prior import levels as alpha_sigma
from regrain.diffusion.schedule import LOG_SNR_MAX
from regrain.errors import ModelError
from regrain.layers import on_arrays
from regrain.palette import diffusers_folder as folders
from regrain.palette.diffusers_folder import Part
from regrain.palette.model import Image, LatentDenoiser, LatentSpace, check_networks

log = logging.getLogger(__name__)

__all__ = ["Denoiser", "load"]

STRIDE_MOST: Final = 64
"""Pixels to a latent, that the smallest tile has one."""
TOKENS_MOST: Final = 1024
EMPTY_PROMPT: Final = "empty_prompt.safetensors"
TALKERS: Final = ("diffusers", "transformers", "huggingface_hub")


def load(place: str | Path, device: str) -> tuple[LatentSpace, LatentDenoiser | None, str, bytes]:
    """The networks in a local folder, or under a hub id such as "stabilityai/sd-turbo" in the local cache.

    With them come their name and the autoencoder's fingerprint, 4 bytes over its weights and its normalisation. Raises
    ModelError where they are missing, damaged, pickled, not supported or do not fit each other, and where diffusers is
    not installed. Logs a warning where nothing gives the empty prompt that a U-Net was trained with.
    """
    folder = folders.find(str(place))
    vae, unet = folders.read(folder)
    space, fingerprint = _space(vae, device)
    denoiser = None if unet is None else _denoiser(folder, *unet, device)
    try:
        check_networks(space, denoiser)
    except Exception as error:  # a network of a hostile config may fail in any way
        raise ModelError(f"{folder}: its networks do not run: {folders.reason(error)}") from None
    return space, denoiser, folder.resolve().name if Path(place).is_dir() else str(place), fingerprint


def _space(vae: Part, device: str) -> tuple[LatentSpace, bytes]:
    """The autoencoder and its fingerprint; shift and scale are those of its config, 0 and 1 where it has none."""
    network = _network(vae)
    config = network.config
    if (stride := _multiple(config)) > STRIDE_MOST:
        raise ModelError(f"{vae.folder}: {stride} pixels to a latent: up to {STRIDE_MOST} are allowed")
    shift = _each(config.get("latents_mean") or config.get("shift_factor") or 0.0)
    scale = (config.get("scaling_factor") or 1.0) / _each(config.get("latents_std") or 1.0)
    state = {**network.state_dict(), "normalisation.shift": shift, "normalisation.scale": scale}
    network.to(device, memory_format=torch.channels_last)

    def encode(x: Tensor) -> Tensor:
        code = network.encode(x)
        raw: Tensor = code.latents if hasattr(code, "latents") else code.latent_dist.mode()
        return raw

    return LatentSpace(
        encoder=on_arrays(encode, device),
        decoder=on_arrays(lambda latents: network.decode(latents).sample, device),
        shift=shift.numpy(),
        scale=(1 / scale).numpy(),
        channels=config["latent_channels"],
        stride=stride,
        halo=folders.AUTOENCODERS[vae.config["_class_name"]],
    ), torch_checkpoint.fingerprint(state)


def _denoiser(folder: Path, unet: Part, scheduler: Mapping[str, Any], device: str) -> LatentDenoiser:
    """DDPMScheduler reads the levels, whatever sampler the config was written for: it knows every schedule of betas."""
    with _quiet_library("diffusers", folder / "scheduler") as diffusers:
        alphas = diffusers.DDPMScheduler.from_config(scheduler).alphas_cumprod.double().numpy()
    with np.errstate(all="ignore"):  # at the noisiest level there may be no picture
        levels = (np.log(alphas) - np.log1p(-alphas)).clip(-LOG_SNR_MAX, LOG_SNR_MAX)
    if not np.isfinite(levels).all() or (np.diff(levels) > 0).any():
        raise ModelError(f"{folder / 'scheduler'}: its betas give no levels of noise that rise")
    given = {}
    if unet.config["_class_name"] == "UNet2DConditionModel":
        given["encoder_hidden_states"] = _prompt(folder, unet)[None].to(device)
    network = _network(unet).to(device, memory_format=torch.channels_last)
    estimate = Denoiser(network, levels, folders.PREDICTIONS[scheduler["prediction_type"]], given, device)
    return LatentDenoiser(estimate, _multiple(network.config))


@dataclass(frozen=True)
class Denoiser:
    """A UNet2DModel, or a UNet2DConditionModel with the embedding of one prompt, (1, tokens, width), on a device.

    `levels` (N,) is the log-SNR of the scheduler's timesteps, falling.
    """

    network: Any  # a class of diffusers
    levels: NDArray[np.float64]
    prediction: Prediction
    given: Mapping[str, Tensor]
    device: str

    def __call__(self, latents: Image, log_snr: float) -> Image:
        """The estimate of z_0 from z_t, (channels, h, w) both."""

        def estimate(z_t: Tensor) -> Tensor:
            output = self.network(z_t, z_t.new_tensor([self.timestep(log_snr)]), **self.given).sample
            return to_x0(self.prediction, output, z_t, *alpha_sigma(z_t.new_tensor([log_snr])))

        return on_arrays(estimate, self.device)(latents)

    def timestep(self, log_snr: float) -> float:
        """The timestep, 0 to N - 1, at which the schedule has this log-SNR; the nearest end beyond the ends."""
        return float(np.interp(-log_snr, -self.levels, np.arange(len(self.levels))))


def _network(part: Part) -> Any:  # noqa: ANN401 - a class of diffusers
    """The network with its weights, float32, on the CPU. Raises ModelError where they do not fit its config."""
    with _quiet_library("diffusers", part.folder) as diffusers:
        with torch.device("meta"):
            network = getattr(diffusers, part.config["_class_name"]).from_config({**part.config})
        files = map(load_file, part.files)
        tensors = {_current_name(name): value.float() for file in files for name, value in file.items()}
        missing, _ = network.load_state_dict(tensors, strict=False, assign=True)
        if missing:
            raise ModelError(f"weights lack {len(missing)} tensors of the config, such as {sorted(missing)[0]}")
        if endless := [name for name, value in network.state_dict().items() if not value.isfinite().all()]:
            raise ModelError(f"{endless[0]} holds numbers that are not finite")
    return network.eval().requires_grad_(False)


def _current_name(name: str) -> str:
    """The present name of a tensor: attention of autoencoders had others once."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        name = re.sub(rf"(\.attentions\.\d+)\.{old}\.(?=(weight|bias)$)", rf"\1.{new}.", name)
    return name


def _prompt(folder: Path, unet: Part) -> Tensor:
    wide = unet.config.get("cross_attention_dim", 1280)
    one = {"cross_attention_dim": wide[0] if isinstance(wide, list) and wide else wide}
    width = folders.whole_number(unet.folder, one, "cross_attention_dim", folders.WIDTH_MOST)
    if (path := folder / EMPTY_PROMPT).exists():
        if not folders.count_tensors(path):
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
    half = any(".fp16" in path.name for path in folders.weight_files(encoder, "model"))
    folders.check_text_encoder(encoder)
    with _quiet_library("transformers", encoder) as transformers:
        tokens = transformers.CLIPTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
        network = transformers.CLIPTextModel.from_pretrained(
            str(encoder), variant="fp16" if half else None, use_safetensors=True, local_files_only=True
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
        raise ModelError(f"{folder}: cannot be loaded: {folders.reason(error)}") from None
    finally:
        torch.set_default_dtype(dtype)
        for talker, level in levels.items():
            logging.getLogger(talker).setLevel(level)


def _each(values: float | list[float]) -> Tensor:
    """A number for all channels, or one for each: (1 or C, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)


def _multiple(config: Mapping[str, Any]) -> int:
    """What sides of a network's input are multiples of: it halves them from each width to the next."""
    widths: list[int] = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return 1 << len(widths) - 1
