"""What tells decoded pictures from originals on frozen features: a discriminator, patch by patch, and their drift.

    L_D = mean max(0, 1 - D(f(x))) + mean max(0, 1 + D(f(x_hat)))        L_G = -mean D(f(x_hat))
    L_drift = v . m(x_hat)                          v the moving average of m(x_hat) - m(x)
    L_spectrum = mean_b (s_b(x_hat) / S_b(x)) (S_b(x_hat) / S_b(x) - 1)       S the moving average of s

f is a frozen classifier (Projected GANs, Sauer et al. 2021): small heads on its stages are enough, and they are stable.
Both losses are of one forward and one backward pass: L_D sees features without their gradient, and L_G heads without
theirs. m are first moments of the features of a picture, and second ones of their first stage; s_b is the energy of
a band of its DCT. A distance of each picture to its original forbids noise; v is what stays of the differences of many
pictures, which noise has no part in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regrain.layers import conv
from regrain_lab.metrics.lpips import unit

__all__ = ["Discriminator", "Drift", "SpectrumDrift"]

WIDTH = 64


class Discriminator(nn.Module):
    """A head of three convolutions for each stage of the features."""

    def __init__(self, channels: Sequence[int]) -> None:
        """`channels` has the number of channels of each stage."""
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(conv(count, WIDTH, kernel=1), nn.SiLU(), conv(WIDTH, WIDTH), nn.SiLU(), conv(WIDTH, 1))
            for count in channels
        )

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, C, H, W) of each stage -> logits (B, 1, H, W), above 0 for originals."""
        return [head(features) for head, features in zip(self.heads, stages, strict=True)]

    def losses(self, decoded: Sequence[Tensor], originals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """L_D, whose gradient reaches the heads alone, and L_G, (B,), whose gradient reaches the pictures alone."""
        fake, real = self([stage.detach() for stage in decoded]), self(originals)
        pairs = zip(fake, real, strict=True)
        mistakes = torch.stack([(1 + low).relu().mean() + (1 - high).relu().mean() for low, high in pairs]).mean()
        constants = {name: parameter.detach() for name, parameter in self.named_parameters()}
        logits: list[Tensor] = functional_call(self, constants, (decoded,))
        return mistakes, -torch.stack([logit.mean((1, 2, 3)) for logit in logits]).mean(0)


class Drift(nn.Module):
    """v: how the moments of decoded pictures differ from those of originals on the whole."""

    DECAY = 0.98

    def __init__(self, channels: Sequence[int]) -> None:
        """`channels` has the number of channels of each stage."""
        super().__init__()
        self.register_buffer("average", torch.zeros(sum(channels) + channels[0] ** 2))
        self.average: Tensor

    def forward(self, decoded: Sequence[Tensor], originals: Sequence[Tensor]) -> Tensor:
        """L_drift of each picture (B,), by stages (B, C, H, W) of both; the average moves first."""
        moments = _moments(decoded)
        with torch.no_grad():
            self.average.lerp_((moments - _moments(originals)).mean(0), 1 - self.DECAY)
        return moments @ self.average.clone()


class SpectrumDrift(nn.Module):
    """S: how loud the bands of decoded pictures are beside those of originals on the whole."""

    BANDS = 3 * 63
    """Of an 8 x 8 DCT, by colour, the mean left out."""

    def __init__(self) -> None:
        """With averages that the first pictures give."""
        super().__init__()
        self.register_buffer("averages", torch.zeros(2, self.BANDS))
        self.averages: Tensor

    def forward(self, decoded: Tensor, originals: Tensor) -> Tensor:
        """L_spectrum of each picture (B,), by energies (B, BANDS) of both; the averages move first."""
        with torch.no_grad():
            latest = torch.stack([decoded.mean(0), originals.mean(0)])
            self.averages.copy_(torch.where(self.averages == 0, latest, self.averages.lerp(latest, 1 - Drift.DECAY)))
        ours, theirs = self.averages.clone()
        loss: Tensor = (decoded / theirs * (ours / theirs - 1)).mean(1)
        return loss


def _moments(stages: Sequence[Tensor]) -> Tensor:
    """Means of all stages, whose places have norm 1 along the channels, and the Gram matrix of the first: (B, N)."""
    units = [unit(stage).flatten(2).float() for stage in stages]
    first = units[0]
    gram = first @ first.mT / first.shape[2]
    return torch.cat([*(stage.mean(2) for stage in units), gram.flatten(1)], 1)
