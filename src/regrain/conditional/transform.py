"""Learned transforms of the conditional codec: g_a, h_a, the mean branch of h_s, and the gains.

    y = dct(x) + g(x) at 1/16,   z = h_a(asinh(gain y)) at 1/64,   mean = gain h_s(z_hat, y_hat of earlier passes)
    symbols = round(gain y - mean),   y_hat = (symbols + mean) / gain

g_a is a whitened DCT (`basis`) and what a network adds to it, nothing before training. So y has about unit variance,
and a channel's gain starts as its spread over one quantiser step for all, as in any transform codec.

One gain a channel, interpolated in the log domain over quality (gained VAE, Cui et al. 2021), makes one set of weights
serve every rate.
"""

import torch
from torch import Tensor, nn

from regrain.conditional import basis
from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import TransformConfig
from regrain.errors import ModelError
from regrain.layers import PixelNorm, ResidualBlock, Upsample, conv

__all__ = ["Analysis", "Gain", "HyperAnalysis", "MeanBranch", "TransformConfig", "interpolate"]

PATCH = 4
RISE_TOP = 100.0
"""Of log-gains from an anchor to the next: far beyond what any weights have."""


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
        return self._added(x) + basis.project(x, self.latent)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the network adds to the DCT, and the DCT, whose sum is `forward`."""
        return self._added(x), basis.project(x, self.latent)

    def _added(self, x: Tensor) -> Tensor:
        """What the network adds to the DCT."""
        added: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return added


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


class MeanBranch(nn.Module):
    """The mean branch of h_s, before the gain: what z says, and what the context of each later pass adds."""

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths; contexts start at zero."""
        super().__init__()
        width, self.slices = config.hyper_width, config.slices
        self.hyper = nn.Sequential(
            conv(config.hyper, width), Upsample(width, width), nn.SiLU(), conv(width, width), Upsample(width, width),
            nn.SiLU(),
        )  # fmt: skip
        self.leave = conv(width, config.latent)
        nn.init.zeros_(self.leave.weight)
        self.share = conv(width, config.shared)
        _, *later = coding_order(config.latent, config.slices)
        self.contexts = nn.ModuleList(_mean_context(config, part) for part in later)

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """z_hat (B, hyper, H, W) -> means (B, latent, 4H, 4W), and features (B, shared, 4H, 4W) for the contexts."""
        features = self.hyper(z_hat)
        return self.leave(features), nn.functional.silu(self.share(features))

    def context(self, number: int, y_hat: Tensor, features: Tensor) -> Tensor:
        """What pass `number` >= 1 adds to its means: y_hat (B, known, H, W) -> (B, last - first, H, W)."""
        added: Tensor = self.contexts[number - 1](torch.cat([y_hat, features], 1))
        return added


def _mean_context(config: TransformConfig, part: CodingStep) -> nn.Sequential:
    width, last = config.context, conv(config.context, part.last - part.first, kernel=1)
    nn.init.zeros_(last.weight)
    first = conv(part.context_channels + config.shared, width)
    return nn.Sequential(first, nn.SiLU(), conv(width, width, kernel=1), nn.SiLU(), last)


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

    @torch.no_grad()
    def set_anchors(self, log_anchors: Tensor) -> None:
        """The inverse of `log_anchors`. Raises ModelError for another shape, and for gains that do not rise."""
        if log_anchors.shape != (len(self.rise) + 1, *self.first.shape):
            raise ModelError(
                f"gains of shape {tuple(log_anchors.shape)}, not {(len(self.rise) + 1, *self.first.shape)}"
            )
        rise = log_anchors.double().diff(dim=0)
        if not bool(((rise > 0) & (rise < RISE_TOP)).all()):
            raise ModelError("gains do not rise with quality")
        self.first.copy_(log_anchors[0])
        self.rise.copy_(rise.expm1().log())

    def forward(self, quality: Tensor) -> Tensor:
        """quality (B,) in [0, 1] -> gains (B, channels, 1, 1), > 0."""
        return torch.exp(interpolate(self.log_anchors(), quality))[:, :, None, None]


def interpolate(anchors: Tensor, quality: Tensor) -> Tensor:
    """Piecewise linear in quality: anchors (A, C), quality (B,) in [0, 1] -> (B, C)."""
    position = quality * (anchors.shape[0] - 1)
    left = position.floor().long().clamp(max=anchors.shape[0] - 2)
    part = (position - left)[:, None]
    return torch.lerp(anchors.index_select(0, left), anchors.index_select(0, left + 1), part)
