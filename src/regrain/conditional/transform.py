"""The conditional codec's networks as torch's modules: g_a, h_a, the mean branch of h_s, and the denoisers.

    y = dct(x) + g(x) at 1/16,   z = h_a(asinh(gain y)) at 1/64,   mean = gain h_s(z_hat, y_hat of earlier passes)
    sketch = dct^-1(y_hat),      x_0 = denoiser(x_t, t, y_hat)

g_a is a whitened DCT (`dct`) and what a network adds to it, nothing before training. So y has about unit variance, an
untrained codec is already a block transform codec, and the networks learn only what they add to it.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import SAMPLING_SCHEDULE, ModelConfig, TransformConfig
from regrain.conditional.dct import BLOCK, dct_basis
from regrain.diffusion import schedule
from regrain.diffusion.unet import Denoiser, FastDecoder, SamplingDenoiser
from regrain.layers import PixelNorm, ResidualBlock, Upsample, conv

__all__ = [
    "Analysis", "HyperAnalysis", "MeanBranch", "build_denoiser", "build_fast", "build_sampler", "project", "sketch",
]  # fmt: skip

PATCH = 4


@lru_cache(maxsize=8)
def _matrices(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What `project` and `sketch` multiply with, on a device, so that nothing travels there again."""
    with torch.inference_mode(False):
        basis, std = (torch.from_numpy(array) for array in dct_basis(channels))
        return (basis / std[:, None]).to(device), (basis * std[:, None]).T.to(device)


def project(x: Tensor, channels: int) -> Tensor:
    """x (B, 3, H, W) in [-1, 1], H and W multiples of 16 -> whitened coefficients (B, channels, H/16, W/16)."""
    return _mix(nn.functional.pixel_unshuffle(x, BLOCK), _matrices(channels, x.device)[0])


def sketch(y: Tensor) -> Tensor:
    """The inverse of `project` on its range: y (B, C, H, W) -> a blocky picture (B, 3, 16H, 16W), about in [-1, 1]."""
    return nn.functional.pixel_shuffle(_mix(y, _matrices(y.shape[1], y.device)[1]), BLOCK)


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix times the channels of every place, never under autocast: 8 bits would show."""
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.conv2d(x, matrix[:, :, None, None].to(x))


class Analysis(nn.Sequential):
    """g_a: x (B, 3, H, W) in [-1, 1] -> y (B, latent, H/16, W/16); H and W multiples of 16."""

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths."""
        quarter, eighth, sixteenth = config.widths
        last = conv(sixteenth, config.latent)
        nn.init.zeros_(last.weight)
        super().__init__(
            nn.PixelUnshuffle(PATCH), conv(3 * PATCH * PATCH, quarter), ResidualBlock(quarter), nn.SiLU(),
            conv(quarter, eighth, stride=2), PixelNorm(), ResidualBlock(eighth), ResidualBlock(eighth), nn.SiLU(),
            conv(eighth, sixteenth, stride=2), PixelNorm(), ResidualBlock(sixteenth), PixelNorm(), nn.SiLU(), last,
        )  # fmt: skip
        self.latent = config.latent

    def forward(self, x: Tensor) -> Tensor:
        """The DCT and what the network adds."""
        added, ground = self.parts(x)
        return added + ground

    def features(self, x: Tensor) -> list[Tensor]:
        """Hidden layers of x (B, 3, H, W): (B, width, H/k, W/k) for k of 4, 8 and 16, the last of each size."""
        layers = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.SiLU):
                layers.append(x)
        return layers

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the network adds to the DCT, and the DCT, whose sum is `forward`."""
        return super().forward(x), project(x, self.latent)  # type: ignore[no-untyped-call]


class HyperAnalysis(nn.Sequential):
    """h_a: gained y (B, latent, H, W) -> z (B, hyper, H/4, W/4); H and W multiples of 4.

    Gained latents span three decades: they come in through asinh, linear near 0 and logarithmic beyond.
    """

    def __init__(self, config: TransformConfig) -> None:
        """Build from the widths."""
        width = config.hyper_width
        super().__init__(
            conv(config.latent, width), nn.SiLU(),
            conv(width, width, stride=2), nn.SiLU(),
            conv(width, config.hyper, stride=2),
        )  # fmt: skip

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


def build_denoiser(config: ModelConfig) -> Denoiser:
    """The denoiser of these latents, untrained. An x_0-prediction is the DCT's sketch and what the network adds."""
    return Denoiser(config.denoiser, config.transform.latent, sketch, corrects=config.prediction == "x0")


def build_fast(config: ModelConfig) -> FastDecoder:
    """The fast decoder of these latents, untrained, of a configuration that has one."""
    assert config.fast is not None
    return FastDecoder(config.fast, config.transform.latent, sketch)


def build_sampler(config: ModelConfig) -> SamplingDenoiser:
    """The sampling denoiser of these latents, untrained."""
    return SamplingDenoiser(config.denoiser, config.transform.latent, schedule.get(SAMPLING_SCHEDULE))
