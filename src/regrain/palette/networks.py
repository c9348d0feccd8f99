"""Networks of diffusers behind the two faces that this room knows: a latent space, and a denoiser of its latents.

    z = (encode(x) - shift) scale        x_hat = decode(z / scale + shift)
    z_t = alpha_t z_0 + sigma_t eps      z_0 = to_x0(network(z_t, n(log_snr)), z_t)

(Rombach et al. 2022; the timestep n, of DDPM's discrete schedule, is interpolated in the log-SNR, so that any noise
level has one.) Invariants: decode undoes encode's normalisation; at the schedule's own levels z_0 is what diffusers'
scheduler says. Nothing is drawn: of a posterior the mode is taken.
"""

import math
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrain import torch_checkpoint
from regrain.diffusion.parametrize import Prediction, to_x0
from regrain.diffusion.schedule import LOG_SNR_MAX

__all__ = ["AUTOENCODERS", "DENOISERS", "PREDICTIONS", "DiffusersDenoiser", "DiffusersSpace", "log_snrs"]

AUTOENCODERS: Final = {"AutoencoderKL": 16, "AutoencoderTiny": 8}
"""The classes of autoencoders, and the latents of context that a window of each needs.

AutoencoderTiny is convolutions alone: 8 give the pixels of the whole to 1e-4 of their deviation. AutoencoderKL has
norms and attention over all that it sees, so that none suffice: 16 cover its convolutions.
"""

DENOISERS: Final = ("UNet2DModel", "UNet2DConditionModel")
PREDICTIONS: Final[dict[str, Prediction]] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


class DiffusersSpace:
    """An AutoencoderKL or AutoencoderTiny: `channels` of latents, `stride` pixels to a latent, `halo` around a window.

    Pictures and latents are NumPy arrays, the network is on `device`.
    """

    def __init__(self, network: Any, device: torch.device) -> None:  # noqa: ANN401 - a class of diffusers
        """Take the network over, for inference; shift and scale are those of its config, 0 and 1 where it has none."""
        config = network.config
        self.channels: int = config["latent_channels"]
        self.stride: int = 2 ** (len(_widths(config)) - 1)
        self.halo: int = AUTOENCODERS[type(network).__name__]
        self.shift = _each(config.get("latents_mean") or config.get("shift_factor") or 0.0)
        self.scale = (config.get("scaling_factor") or 1.0) / _each(config.get("latents_std") or 1.0)
        self.network, self.device = _ready(network, device), device

    def fingerprint(self) -> bytes:
        """4 bytes over the weights and the normalisation: all that latents mean."""
        state: dict[str, Tensor] = self.network.state_dict()
        return torch_checkpoint.fingerprint(
            {**state, "normalisation.shift": self.shift, "normalisation.scale": self.scale}
        )

    @torch.no_grad()
    def encode(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """x (3, H, W) in [-1, 1], sides multiples of the stride -> normalised latents (channels, H', W')."""
        code = self.network.encode(_batch(x, self.device))
        raw: Tensor = code.latents if hasattr(code, "latents") else code.latent_dist.mode()
        latents: NDArray[np.float32] = ((raw[0].cpu() - self.shift) * self.scale).numpy()
        return latents

    @torch.no_grad()
    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents (channels, H', W') -> the picture (3, H, W), clamped to [-1, 1]."""
        raw = torch.from_numpy(latents) / self.scale + self.shift
        x_hat: NDArray[np.float32] = self.network.decode(_on(raw, self.device)).sample[0].clamp(-1, 1).cpu().numpy()
        return x_hat


class DiffusersDenoiser:
    """A UNet2DModel, or a UNet2DConditionModel with the embedding of one prompt; latents are arrays."""

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - a class of diffusers
        levels: NDArray[np.float64],
        prediction: Prediction,
        prompt: Tensor | None,
        device: torch.device,
    ) -> None:
        """Take the network over, for inference; `levels` as of `log_snrs`, `prompt` (tokens, width)."""
        self.network, self.device = _ready(network, device), device
        self.levels, self.prediction = levels, prediction
        self.given = {} if prompt is None else {"encoder_hidden_states": prompt[None].to(device)}
        self.multiple = 2 ** (len(_widths(network.config)) - 1)

    @torch.no_grad()
    def denoise(self, latents: NDArray[np.float32], log_snr: float) -> NDArray[np.float32]:
        """The estimate of z_0 from z_t = alpha_t z_0 + sigma_t eps, (channels, h, w) both, of any size."""
        level = min(max(log_snr, -LOG_SNR_MAX), LOG_SNR_MAX)
        alpha, sigma = (1 + math.exp(-level)) ** -0.5, (1 + math.exp(level)) ** -0.5
        height, width = latents.shape[1:]
        beyond = (0, -width % self.multiple, 0, -height % self.multiple)
        z_t = torch.nn.functional.pad(_batch(latents, self.device), beyond, mode="replicate")
        time = torch.tensor([self.timestep(level)], dtype=torch.float32, device=self.device)
        output = self.network(z_t, time, **self.given).sample
        z_0: NDArray[np.float32] = to_x0(self.prediction, output, z_t, alpha, sigma)[0].cpu().numpy()
        return z_0[:, :height, :width]

    def timestep(self, log_snr: float) -> float:
        """The timestep, 0 to N - 1, at which the schedule has this log-SNR; the nearest end beyond the ends."""
        return float(np.interp(-log_snr, -self.levels, np.arange(len(self.levels))))


def log_snrs(alphas_cumprod: Tensor) -> NDArray[np.float64]:
    """Log-SNR, falling, of a scheduler's timesteps, (N,), clamped as everywhere: the noisiest may have no picture."""
    kept = alphas_cumprod.double().numpy()
    with np.errstate(divide="ignore"):
        levels: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return levels.clip(-LOG_SNR_MAX, LOG_SNR_MAX)


def _each(values: float | list[float]) -> Tensor:
    """A number for all channels, or one for each: (1 or C, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)


def _widths(config: Any) -> list[int]:  # noqa: ANN401 - a mapping of diffusers' own
    widths: list[int] = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return widths


def _ready(network: Any, device: torch.device) -> Any:  # noqa: ANN401 - a class of diffusers
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def _batch(picture: NDArray[np.float32], device: torch.device) -> Tensor:
    return _on(torch.from_numpy(picture), device)


def _on(picture: Tensor, device: torch.device) -> Tensor:
    return picture[None].to(device).contiguous(memory_format=torch.channels_last)
