"""The progressive codec's weights, ready for use: an unconditional prior and its fingerprint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from regrain import checkpoint
from regrain.bitstream import Method
from regrain.diffusion.prior import Prior

__all__ = ["Model"]


@dataclass(frozen=True)
class Model:
    """Weights as `regrain.load` returns them; the fingerprint, 4 bytes, covers all of them."""

    prior: Prior
    recipe: str
    fingerprint: bytes
    device: torch.device
    method = Method.PROGRESSIVE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
        tensors, metadata = checkpoint.load(path)
        prior, where = Prior.build(tensors, metadata, path), torch.device(device or "cpu")
        return cls(prior.to(where), str(metadata.get("recipe", "")), checkpoint.fingerprint(tensors), where)

    def estimate(self, x_t: Tensor, log_snr: float) -> Tensor:
        """x_hat in [-1, 1] of x_t (3, H, W), multiples of 8, both on the CPU."""
        batch = x_t[None].to(self.device).contiguous(memory_format=torch.channels_last)
        return self.prior.denoise(batch, batch.new_full((1,), log_snr))[0].clamp(-1, 1).cpu()
