"""A conditional diffusion U-Net of the size that CDC's has (Yang & Mandt 2023), with random weights.

    x_0 = UNet(x_t, context, t)        53.9 M parameters, 984 kMAC a pixel

Six resolutions down to 1/32, two residual blocks at each on the way down and up, two more at the bottom; the context,
what CDC decodes from the latents, enters beside x_t. Widths are chosen for these two figures and the layers for speed:
there is no attention, and norms are PyTorch's own.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["CONTEXT", "Block", "UNet"]

WIDTHS = (64, 112, 168, 256, 384, 480)
CONTEXT = 34
GROUPS = 8


class Block(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x))) + time(t)))), the skip a 1x1 convolution where the width changes."""

    def __init__(self, channels: int, width: int) -> None:
        """Set the channels that come in and go out."""
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(WIDTHS[0], width)
        self.skip = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, width, H, W)."""
        hidden = self.conv1(nn.functional.silu(self.norm1(x), inplace=True)).add_(self.time(time)[:, :, None, None])
        out: Tensor = self.conv2(nn.functional.silu(self.norm2(hidden), inplace=True)).add_(self.skip(x))
        return out


class UNet(nn.Module):
    """x_t (B, 3, H, W), context (B, CONTEXT, H, W), t (B,) -> (B, 3, H, W); H and W multiples of 32."""

    def __init__(self) -> None:
        """Draw the weights."""
        super().__init__()
        first, last, upwards = WIDTHS[0], WIDTHS[-1], WIDTHS[::-1]
        self.enter = nn.Conv2d(3 + CONTEXT, first, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(1, first), nn.SiLU(), nn.Linear(first, first), nn.SiLU())
        self.down = nn.ModuleList(nn.ModuleList([Block(w, w), Block(w, w)]) for w in WIDTHS)
        self.halve = nn.ModuleList(nn.Conv2d(w, v, 3, stride=2, padding=1) for w, v in pairwise(WIDTHS))
        self.middle = nn.ModuleList([Block(last, last), Block(last, last)])
        self.up = nn.ModuleList(nn.ModuleList([Block(2 * w, w), Block(w, w)]) for w in upwards)
        self.widen = nn.ModuleList(nn.ConvTranspose2d(w, v, 2, stride=2) for w, v in pairwise(upwards))
        self.leave = nn.Conv2d(first, 3, 3, padding=1)

    def forward(self, x_t: Tensor, context: Tensor, t: Tensor) -> Tensor:
        """Predict."""
        time, kept = self.time(t[:, None]), []
        x = self.enter(torch.cat([x_t, context], 1))
        for blocks, halve in zip(self.down, [*self.halve, nn.Identity()], strict=True):
            x = _through(blocks, x, time)
            kept.append(x)
            x = halve(x)
        x = _through(self.middle, x, time)
        for blocks, widen in zip(self.up, [*self.widen, nn.Identity()], strict=True):
            x = widen(_through(blocks, torch.cat([x, kept.pop()], 1), time))
        out: Tensor = self.leave(x)
        return out


def _through(blocks: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, time)
    return x
