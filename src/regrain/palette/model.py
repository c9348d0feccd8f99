"""The palette codec's weights, ready for use: an autoencoder, and a denoiser of its latents.

Whatever has the faces below will do: the small networks of this package, on ONNX Runtime (`onnx_backend`) or on torch
(`torch_backend`), or those of a Stable Diffusion pipeline (`pipelines`). Pictures and latents are float32 NumPy arrays.
Latents are normalised: about N(0, 1) in each channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Method
from regrain.errors import UsageError

__all__ = ["KIND", "SIDE", "Image", "LatentDenoiser", "LatentSpace", "Model", "Moments"]

Image = NDArray[np.float32]
KIND: Final = "palette"
MOMENT_MOST: Final = 1e4
SIDE: Final = 4
"""Sides of latents that the denoiser of this package takes are multiples of this."""


class LatentSpace(Protocol):
    """An autoencoder."""

    @property
    def channels(self) -> int:
        """Of latents."""

    @property
    def stride(self) -> int:
        """Pixels to a latent."""

    @property
    def halo(self) -> int:
        """Latents around a window that suffice."""

    def encode(self, x: Image) -> Image:
        """x (3, H, W) in [-1, 1], sides multiples of the stride -> normalised latents (channels, H', W')."""

    def decode(self, latents: Image) -> Image:
        """Latents (channels, H', W') -> the picture (3, H, W), clamped to [-1, 1]."""


class LatentDenoiser(Protocol):
    """A denoiser of normalised latents."""

    def denoise(self, latents: Image, log_snr: float) -> Image:
        """The estimate of z_0 from z_t = alpha_t z_0 + sigma_t eps, (channels, h, w) both."""


@dataclass(frozen=True)
class Moments:
    """normalised = (raw - shift) / scale, float32 (channels, 1, 1) both."""

    shift: Image
    scale: Image

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], channels: int) -> Self:
        """`moments.shift` and `moments.scale` of a weights file. Raises UsageError where they are out of range."""
        shift, scale = (arrays.get(f"moments.{name}", np.zeros(0)).astype(np.float32) for name in ("shift", "scale"))
        if not shift.shape == scale.shape == (channels,):
            raise UsageError(f"moments of {shift.shape} channels for latents of {channels}")
        if not ((np.abs(shift) < MOMENT_MOST) & (scale > 1 / MOMENT_MOST) & (scale < MOMENT_MOST)).all():
            raise UsageError(
                f"moments out of range: shifts within {MOMENT_MOST:g}, scales 1 / {MOMENT_MOST:g} to as much"
            )
        return cls(shift[:, None, None], scale[:, None, None])

    def normalise(self, raw: Image) -> Image:
        """The autoencoder's latents -> latents of about N(0, 1)."""
        latents: Image = (raw - self.shift) / self.scale
        return latents

    def restore(self, latents: Image) -> Image:
        """The inverse."""
        raw: Image = latents * self.scale + self.shift
        return raw


@dataclass(frozen=True)
class Model:
    """Weights as `regrain.load` returns them; the fingerprint, 4 bytes, is that of the autoencoder.

    `device` is "onnx", or one of torch's.
    """

    space: LatentSpace
    denoiser: LatentDenoiser | None
    recipe: str
    fingerprint: bytes
    device: str
    method = Method.PALETTE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"
