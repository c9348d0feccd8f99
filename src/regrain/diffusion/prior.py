"""The unconditional diffusion model: what a picture is likely to be, given it under noise alone.

    v = prior(x_t, log_snr),   x_0 = alpha_t x_t - sigma_t v,   alpha_t^2 = sigmoid(log_snr) = 1 - sigma_t^2

It is told the noise level itself, so that any schedule and any grid of times may be used with it. A U-Net at 1/2, 1/4
and 1/8 of the resolution, dense 3x3 convolutions, no attention, no norm over space: any size, in windows if need be.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from regrain import checkpoint
from regrain.diffusion.schedule import LOG_SNR_MAX
from regrain.errors import ModelError
from regrain.layers import Embedding, FilmBlock, PixelNorm, Upsample, conv, icnr_

__all__ = ["HALO", "STRIDE", "Prior", "PriorConfig"]

STRIDE: Final = 8
"""Sizes must be multiples of this."""
HALO: Final = 64
"""Pixels around a window beyond which nothing that matters comes in."""
KIND: Final = "prior"


@dataclass(frozen=True)
class PriorConfig:
    """Widths and depths at 1/2, 1/4 and 1/8 of the resolution, the way down and the way up alike."""

    widths: tuple[int, int, int] = (32, 96, 160)
    depths: tuple[int, int, int] = (1, 2, 3)
    embedding: int = 128

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on unknown names."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return cls(**plain)


class Prior(nn.Module):
    """v-prediction (Salimans and Ho 2022) by a small U-Net (Ho et al. 2020 without attention)."""

    def __init__(self, config: PriorConfig) -> None:
        """Build untrained; it starts as v = 0, which is the best guess that knows nothing but x_t's scale."""
        super().__init__()
        self.config = config
        half, quarter, eighth = config.widths
        self.embed = Embedding(1, config.embedding)
        self.patch = nn.PixelUnshuffle(2)
        self.enter = conv(12, half)
        self.down2, self.up2 = self._stack(0), self._stack(0)
        self.down4, self.up4 = self._stack(1), self._stack(1)
        self.blocks8 = self._stack(2)
        self.to4 = conv(half, quarter, stride=2)
        self.to8 = conv(quarter, eighth, stride=2)
        self.from8 = Upsample(eighth, quarter)
        self.from4 = Upsample(quarter, half)
        self.leave = conv(half, 12)
        nn.init.zeros_(self.leave.weight)
        icnr_(self.leave, 2)
        self.shuffle = nn.PixelShuffle(2)
        self.norm = PixelNorm()

    def _stack(self, level: int) -> nn.ModuleList:
        width = self.config.widths[level]
        return nn.ModuleList(FilmBlock(width, self.config.embedding) for _ in range(self.config.depths[level]))

    def forward(self, x_t: Tensor, log_snr: Tensor) -> Tensor:
        """x_t (B, 3, H, W), H and W multiples of 8; log_snr (B,), within +-20 -> v (B, 3, H, W)."""
        embedding = self.embed(0.5 + log_snr[:, None] / (2 * LOG_SNR_MAX))
        at2 = _run(self.down2, self.enter(self.patch(x_t)), embedding)
        at4 = _run(self.down4, self.norm(self.to4(nn.functional.silu(at2))), embedding)
        h = _run(self.blocks8, self.norm(self.to8(nn.functional.silu(at4))), embedding)
        h = _run(self.up4, self.norm(self.from8(self.norm(h)) + at4), embedding)
        h = _run(self.up2, self.norm(self.from4(self.norm(h)) + at2), embedding)
        out: Tensor = self.shuffle(self.leave(nn.functional.silu(self.norm(h))))
        return out

    def denoise(self, x_t: Tensor, log_snr: Tensor) -> Tensor:
        """The estimate of x_0 (B, 3, H, W), not clamped; arguments as `forward` has them."""
        alpha, sigma = (level.sigmoid().sqrt()[:, None, None, None] for level in (log_snr, -log_snr))
        x_0: Tensor = alpha * x_t - sigma * self(x_t, log_snr)
        return x_0

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a shipped weights file, on the CPU, for evaluation. Raises ModelError if it is not one of a prior."""
        return cls.build(*checkpoint.load(path), path)

    @classmethod
    def build(cls, tensors: dict[str, Tensor], metadata: dict[str, Any], path: Path) -> Self:
        """The prior of a file's contents; `path` is for the ModelError if they are of something else."""
        if metadata.get("kind") != KIND:
            raise ModelError(f"{path}: not weights of an unconditional prior")
        try:
            prior = cls(PriorConfig.from_dict(metadata["config"]))
            prior.load_state_dict({name: value.float() for name, value in tensors.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise ModelError(f"{path}: not weights of this prior: {str(error).strip().splitlines()[0]}") from None
        return prior.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _run(blocks: nn.ModuleList, x: Tensor, embedding: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, embedding)
    return x
