"""The progressive codec's weights, ready for use: an unconditional denoiser and its fingerprint."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regrain.bitstream import Method

__all__ = ["Denoiser", "Image", "Model"]

Image = NDArray[np.float32]
"""Float32 (3, H, W); pictures are within [-1, 1]."""


class Denoiser(Protocol):
    """A network that runs, on ONNX Runtime (`onnx_backend`) or on torch (`torch_backend`)."""

    def denoise(self, x_t: Image, log_snr: float) -> Image:
        """The estimate of x_0 from x_t at a log-SNR, both float32 (3, H, W), multiples of 8; not clamped."""


@dataclass(frozen=True)
class Model:
    """Weights as `regrain.load` returns them; the fingerprint, 4 bytes, covers all of them.

    `device` is "onnx" or the name of one of torch's devices.
    """

    denoiser: Denoiser
    recipe: str
    fingerprint: bytes
    device: str
    method = Method.PROGRESSIVE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    def estimate(self, x_t: Image, log_snr: float) -> Image:
        """The estimate x_hat in [-1, 1] from x_t, both (3, H, W), multiples of 8."""
        return self.denoiser.denoise(x_t, log_snr).clip(-1, 1)
