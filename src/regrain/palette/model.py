"""The palette codec's networks, whatever runs them: an autoencoder, and a denoiser of its latents.

    normalised = (raw - shift) / scale        z_0 = denoise(z_t, log_snr),  z_t = alpha_t z_0 + sigma_t eps

They are the small networks of this package, on ONNX Runtime or on torch (`codec` chooses), or those of a Stable
Diffusion pipeline (`diffusers_adapter`). Pictures and latents are float32 NumPy arrays, (3, H, W) in [-1, 1] and
(C, h, w). Latents are normalised: about N(0, 1) in each channel.

A side of a single latent is flat: the networks were trained on crops of many latents and give other colours to one that
has zeros on both sides. So what a single latent covers is its mean along that side, and while networks run it is
repeated: MARGIN times on each side. Whatever has two latents or more on both sides stays as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regrain.errors import ModelError, UsageError
from regrain.image import pad_edge

__all__ = [
    "HALO", "MARGIN", "STRIDE", "AutoencoderConfig", "Image", "LatentDenoiser", "LatentSpace", "Network",
    "check_networks", "moments",
]  # fmt: skip

Image = NDArray[np.float32]
Network = Callable[[Image], Image]
STRIDE: Final = 8
"""Pixels to a latent of this package's autoencoder."""
HALO: Final = 8
"""Latents around a window of it beyond which nothing that matters comes in."""
MOMENT_MOST: Final = 1e4
MARGIN: Final = 4
"""Latents on each side of a single one; 8 give the same colours."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of this package's autoencoder, on torch (`autoencoder`) and as graphs (`onnx.palette`).

    Channels of the latents; widths of the encoder and the decoder at 1/4 and 1/8, and how many blocks of each.
    """

    channels: int = 4
    encoder: tuple[int, int] = (48, 96)
    encoder_depths: tuple[int, int] = (1, 2)
    decoder: tuple[int, int] = (80, 144)
    decoder_depths: tuple[int, int] = (3, 4)
    half: int = 24
    """Channels at 1/2, on the way out."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class LatentSpace:
    """An autoencoder: its networks, and the moments of its raw latents, (channels or 1, 1, 1) both.

    `stride` is pixels to a latent, `halo` the latents around a window that suffice.
    """

    encoder: Network
    decoder: Network
    shift: Image
    scale: Image
    channels: int
    stride: int = STRIDE
    halo: int = HALO

    def encode(self, x: Image) -> Image:
        """x (3, H, W) in [-1, 1], sides multiples of the stride -> normalised latents (channels, H', W')."""
        return (self.encoder(x)[: self.channels] - self.shift) / self.scale

    def decode(self, latents: Image) -> Image:
        """Normalised latents (channels, H', W') -> the picture (3, H, W), clamped to [-1, 1]."""
        return self.decoder(latents * self.scale + self.shift).clip(-1, 1)


@dataclass(frozen=True)
class LatentDenoiser:
    """A denoiser of normalised latents, whose network takes sides that are multiples of `multiple`."""

    network: Callable[[Image, float], Image]
    multiple: int

    def denoise(self, latents: Image, log_snr: float) -> Image:
        """The estimate of z_0 from z_t = alpha_t z_0 + sigma_t eps, (channels, h, w) both, of any size."""
        height, width = latents.shape[1:]
        return self.network(pad_edge(latents, self.multiple), log_snr)[:, :height, :width]


def moments(arrays: Mapping[str, NDArray[Any]], channels: int) -> tuple[Image, Image]:
    """Shift and scale, float32 (channels, 1, 1), of a weights file. Raises UsageError where they are out of range."""
    shift, scale = (arrays.get(f"moments.{name}", np.zeros(0)).astype(np.float32) for name in ("shift", "scale"))
    if not shift.shape == scale.shape == (channels,):
        raise UsageError(f"moments of {shift.shape} channels for latents of {channels}")
    if not ((np.abs(shift) < MOMENT_MOST) & (scale > 1 / MOMENT_MOST) & (scale < MOMENT_MOST)).all():
        raise UsageError(f"moments out of range: shifts within {MOMENT_MOST:g}, scales 1 / {MOMENT_MOST:g} to as much")
    return shift[:, None, None], scale[:, None, None]


def check_networks(space: LatentSpace, denoiser: LatentDenoiser | None) -> None:
    """Run every network once, on a few latents. Raises ModelError where one gives another shape, or no numbers."""
    side = 2 * space.stride
    latents = space.encode(np.zeros((3, side, side), np.float32))
    outcomes = [(latents, (space.channels, 2, 2)), (space.decode(latents), (3, side, side))]
    if denoiser is not None:
        outcomes.append((denoiser.denoise(latents, 0.0), (space.channels, 2, 2)))
    for outcome, shape in outcomes:
        if outcome.shape != shape or not np.isfinite(outcome).all():
            raise ModelError(f"its networks give {outcome.shape} or no numbers, not {shape}")
