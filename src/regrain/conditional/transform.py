"""Learned transforms of the conditional codec: g_a, h_a, the mean branch of h_s, and the gains.

    y = dct(x) + g(x) at 1/16,   z = h_a(asinh(gain y)) at 1/64,   mean = gain h_s(z_hat)
    symbols = round(gain y - mean),   y_hat = (symbols + mean) / gain

g_a is a whitened DCT (`basis`) and what a network adds to it, nothing before training. So y has about unit variance,
and a channel's gain starts as its spread over one quantiser step for all, as in any transform codec.

One gain a channel, interpolated in the log domain over quality (gained VAE, Cui et al. 2021), makes one set of weights
serve every rate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regrain.conditional import basis
from regrain.layers import PixelNorm, ResidualBlock, Upsample, conv

__all__ = ["Analysis", "Gain", "HyperAnalysis", "HyperMean", "TransformConfig", "interpolate"]

PATCH = 4


@dataclass(frozen=True)
class TransformConfig:
    """Widths of g_a at 1/4, 1/8, 1/16, channels of y and z, and the number of quality anchors."""

    widths: tuple[int, int, int] = (64, 112, 128)
    latent: int = 256
    hyper: int = 48
    hyper_width: int = 96
    anchors: int = 6


class Analysis(nn.Sequential):
    """g_a: x (B, 3, H, W) in [-1, 1] -> y (B, latent, H/16, W/16); H and W multiples of 16."""

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths."""
        quarter, eighth, sixteenth = config.widths
        last = conv(sixteenth, config.latent)
        nn.init.zeros_(last.weight)
        super().__init__(
            nn.PixelUnshuffle(PATCH),
            conv(3 * PATCH * PATCH, quarter),
            ResidualBlock(quarter),
            nn.SiLU(),
            conv(quarter, eighth, stride=2),
            PixelNorm(),
            ResidualBlock(eighth),
            ResidualBlock(eighth),
            nn.SiLU(),
            conv(eighth, sixteenth, stride=2),
            PixelNorm(),
            ResidualBlock(sixteenth),
            PixelNorm(),
            nn.SiLU(),
            last,
        )
        self.latent = config.latent

    def forward(self, x: Tensor) -> Tensor:
        """The DCT and what the network adds."""
        added: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return added + basis.project(x, self.latent)


class HyperAnalysis(nn.Sequential):
    """h_a: gained y (B, latent, H, W) -> z (B, hyper, H/4, W/4); H and W multiples of 4.

    Gained latents span three decades: they come in through asinh, linear near 0 and logarithmic beyond.
    """

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths."""
        width = config.hyper_width
        super().__init__(
            conv(config.latent, width),
            nn.SiLU(),
            conv(width, width, stride=2),
            nn.SiLU(),
            conv(width, config.hyper, stride=2),
        )

    def forward(self, gained: Tensor) -> Tensor:
        """Compress the range, then the network."""
        out: Tensor = super().forward(torch.asinh(gained))  # type: ignore[no-untyped-call]
        return out


class HyperMean(nn.Sequential):
    """The mean branch of h_s: z_hat (B, hyper, H, W) -> (B, latent, 4H, 4W), before the gain."""

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths."""
        width = config.hyper_width
        last = conv(width, config.latent)
        nn.init.zeros_(last.weight)
        super().__init__(
            conv(config.hyper, width), Upsample(width, width), nn.SiLU(), conv(width, width), Upsample(width, width),
            nn.SiLU(), last,
        )  # fmt: skip


class Gain(nn.Module):
    """Gain per channel over quality: log-gains at equidistant anchors, increasing by construction."""

    def __init__(self, anchors: int, spread: Tensor, low: float = 0.45, high: float = 10.0) -> None:
        """Start at spread (channels,) times a factor that is log-linear from `low` at quality 0 to `high` at 100."""
        super().__init__()
        channels = len(spread)
        step = torch.tensor((high / low) ** (1 / (anchors - 1))).log()
        self.first = nn.Parameter((low * spread).log())
        self.rise = nn.Parameter(step.expm1().log().expand(anchors - 1, channels).clone())

    def log_anchors(self) -> Tensor:
        """Natural logarithm of the gains at the anchors, (anchors, channels)."""
        rises = nn.functional.softplus(self.rise).cumsum(0)
        return torch.cat([self.first[None], self.first + rises])

    def forward(self, quality: Tensor) -> Tensor:
        """quality (B,) in [0, 1] -> gains (B, channels, 1, 1), > 0."""
        return torch.exp(interpolate(self.log_anchors(), quality))[:, :, None, None]


def interpolate(anchors: Tensor, quality: Tensor) -> Tensor:
    """Piecewise linear in quality: anchors (A, C), quality (B,) in [0, 1] -> (B, C)."""
    position = quality * (anchors.shape[0] - 1)
    left = position.floor().long().clamp(max=anchors.shape[0] - 2)
    part = (position - left)[:, None]
    return torch.lerp(anchors[left], anchors[left + 1], part)
