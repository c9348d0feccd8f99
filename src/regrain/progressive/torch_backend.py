"""The progressive codec's denoiser on torch, for GPUs. Arrays come in and go out; only this module knows tensors."""

from pathlib import Path

import torch

from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior
from regrain.progressive.model import Image, Model

__all__ = ["TorchDenoiser", "load"]


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


def load(path: Path, device: str) -> Model:
    """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
    tensors, metadata = torch_checkpoint.load(path)
    denoiser = TorchDenoiser(Prior.build(tensors, metadata, path), torch.device(device))
    return Model(denoiser, str(metadata.get("recipe", "")), torch_checkpoint.fingerprint(tensors), device)
