"""The denoiser: (x_t, t, cond) -> the network's output, a prediction of x_0, eps or v by `parametrize`.

A U-Net on patches: 1/4, 1/8 and 1/16 of the resolution, dense 3x3 convolutions, no norm, no attention, no pooling.
The latents enter at 1/16; t, quality and realism modulate every block (FiLM).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regrain.layers import Embedding, FilmBlock, Upsample, conv, icnr_

__all__ = ["Denoiser", "DenoiserConfig"]

PATCH = 4


@dataclass(frozen=True)
class DenoiserConfig:
    """Widths and depths at 1/4, 1/8 and 1/16 of the resolution."""

    widths: tuple[int, int, int] = (72, 144, 224)
    depths: tuple[int, int, int] = (2, 3, 3)
    embedding: int = 128


class Denoiser(nn.Module):
    """X(x_t, t, cond): the conditional diffusion decoder's network (Yang & Mandt 2023, sec. 3), sized for a CPU."""

    def __init__(self, config: DenoiserConfig, cond_channels: int) -> None:
        """Build for latents of `cond_channels` at 1/16."""
        super().__init__()
        quarter, eighth, sixteenth = config.widths
        self.embed = Embedding(3, config.embedding)
        self.patch = nn.PixelUnshuffle(PATCH)
        self.enter = conv(3 * PATCH * PATCH, quarter)
        self.down8 = conv(quarter, eighth, stride=2)
        self.down16 = conv(eighth, sixteenth, stride=2)
        self.cond = conv(cond_channels, sixteenth)
        self.blocks16 = self._stack(sixteenth, config.depths[2], config.embedding)
        self.up8 = Upsample(sixteenth, eighth)
        self.blocks8 = self._stack(eighth, config.depths[1], config.embedding)
        self.up4 = Upsample(eighth, quarter)
        self.blocks4 = self._stack(quarter, config.depths[0], config.embedding)
        self.leave = conv(quarter, 3 * PATCH * PATCH)
        nn.init.normal_(self.leave.weight, std=0.01)
        icnr_(self.leave, PATCH)
        self.unpatch = nn.PixelShuffle(PATCH)

    @staticmethod
    def _stack(width: int, depth: int, embedding: int) -> nn.ModuleList:
        return nn.ModuleList(FilmBlock(width, embedding) for _ in range(depth))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """Predict.

        x_t (B, 3, H, W), H and W multiples of 16; t, quality, realism (B,) in [0, 1]; cond (B, C, H/16, W/16).
        Returns (B, 3, H, W).
        """
        embedding = self.embed(torch.stack([t, quality, realism], dim=1))
        at4 = self.enter(self.patch(x_t))
        at8 = self.down8(nn.functional.silu(at4))
        h = self.down16(nn.functional.silu(at8)) + self.cond(cond)
        h = self._run(self.blocks16, h, embedding)
        h = self._run(self.blocks8, self.up8(h) + at8, embedding)
        h = self._run(self.blocks4, self.up4(h) + at4, embedding)
        out: Tensor = self.unpatch(self.leave(nn.functional.silu(h)))
        return out

    @staticmethod
    def _run(blocks: nn.ModuleList, x: Tensor, embedding: Tensor) -> Tensor:
        for block in blocks:
            x = block(x, embedding)
        return x
