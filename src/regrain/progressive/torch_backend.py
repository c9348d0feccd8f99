"""The progressive codec's denoiser on torch, for GPUs. Arrays come in and go out; only this module knows tensors."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regrain import checkpoint
from regrain.diffusion.prior import Prior

__all__ = ["TorchDenoiser", "load"]

Image = NDArray[np.float32]


class TorchDenoiser:
    """The unconditional denoiser on one of torch's devices."""

    def __init__(self, prior: Prior, device: torch.device) -> None:
        """Move the network to the device."""
        self.prior, self.device = prior.to(device), device

    @torch.no_grad()
    def denoise(self, x_t: Image, log_snr: float) -> Image:
        """The estimate of x_0 from x_t at a log-SNR, both float32 (3, H, W), multiples of 8; not clamped."""
        batch = torch.from_numpy(x_t)[None].to(self.device).contiguous(memory_format=torch.channels_last)
        x_0: Image = self.prior.denoise(batch, batch.new_full((1,), log_snr))[0].contiguous().cpu().numpy()
        return x_0


def load(path: Path, device: str) -> tuple[TorchDenoiser, str, bytes]:
    """The denoiser of a weights file, the name of its recipe and its fingerprint.

    Raises ModelError if the file is missing, damaged or of another kind.
    """
    tensors, metadata = checkpoint.load(path)
    denoiser = TorchDenoiser(Prior.build(tensors, metadata, path), torch.device(device))
    return denoiser, str(metadata.get("recipe", "")), checkpoint.fingerprint(tensors)
