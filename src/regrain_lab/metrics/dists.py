"""DISTS, structure and texture of deep features (Ding, Ma, Wang and Simoncelli, 2020, arXiv:2004.07728).

    D(a, b) = 1 - sum_lc  alpha_lc (2 m_a m_b + c) / (m_a^2 + m_b^2 + c)  +  beta_lc (2 v_ab + c) / (v_a + v_b + c)

m, v and v_ab are mean, variance and covariance over the pixels of channel c of tap l; sum alpha + beta = 1, c = 1e-6.
Tap 0 is the picture itself in [0, 1], the others are the last ReLUs of VGG16's five stages (Simonyan and Zisserman
2015), with each max-pool replaced by sqrt(h * x^2), h a Hann window, so that no frequency is folded over.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regrain_lab.metrics.backbones import VGG_CHANNELS, vgg16
from regrain_lab.metrics.pretrained import check_pair, load_weights, read, read_convolutions

__all__ = ["Dists"]

_CHANNELS = [3, *VGG_CHANNELS]
_MEAN = (0.485, 0.456, 0.406)
_SPREAD = (0.229, 0.224, 0.225)
_C = 1e-6
_EPS = 1e-12


class _Pool(nn.Module):
    """Halves the sides: the root of a windowed mean of squares, the window the outer product of (1, 2, 1) / 4."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        window = x.new_tensor([0.25, 0.5, 0.25])
        kernel = torch.outer(window, window).expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + _EPS).sqrt()


class Dists(nn.Module):
    """DISTS as a frozen module. Build it with `Dists.load`."""

    smallest = 32
    """Shortest side in pixels: the deepest tap has two on it."""

    def __init__(self) -> None:
        """Without weights."""
        super().__init__()
        self.features = vgg16(_Pool)
        self.alpha = nn.Parameter(torch.empty(1, sum(_CHANNELS), 1, 1))
        self.beta = nn.Parameter(torch.empty(1, sum(_CHANNELS), 1, 1))

    @classmethod
    def load(cls, backbone: str | Path, weights: str | Path) -> Self:
        """Read torchvision's VGG16 (its classifier may be there and is not used) and DISTS' own alpha and beta.

        Raises ModelError when a file is missing, unreadable, or holds other tensors.
        """
        with torch.device("meta"):
            model = cls()
        tensors = read_convolutions(backbone) | read(weights)
        return load_weights(model, tensors, f"{backbone} and {weights} are not the weights of DISTS")

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (B,) between RGB batches (B, 3, H, W) in [-1, 1], at full size; 0 for equal ones, about 1 at most.

        Raises UsageError for unequal or other shapes, and for sides under 32 pixels.
        """
        check_pair("DISTS", a, b, self.smallest)
        return self.distance(self.taps(a), self.taps(b))

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distances (B,) between two batches, given the `taps` of each."""
        total = self.alpha.sum() + self.beta.sum()
        alphas, betas = (torch.split((weights / total).flatten(), _CHANNELS) for weights in (self.alpha, self.beta))
        likeness = torch.zeros(a[0].shape[0], device=a[0].device)
        for x, y, alpha, beta in zip(a, b, alphas, betas, strict=True):
            texture, structure = _similarities(x, y)
            likeness = likeness + texture @ alpha + structure @ beta
        return 1 - likeness

    def taps(self, x: Tensor) -> list[Tensor]:
        """Taps of `x`, (B, 3, H, W) in [-1, 1]: `x` itself in [0, 1], and the last ReLU of each stage."""
        x = (x + 1) / 2
        taps = [x]
        x = (x - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_SPREAD).view(3, 1, 1)
        for layer in self.features:
            if isinstance(layer, _Pool):
                taps.append(x)
            x = layer(x)
        return [*taps, x]


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Likeness (B, C) of the means of two taps (B, C, H, W), and of their deviations from the means."""
    mean_x, mean_y = (tap.mean(dim=(2, 3), keepdim=True) for tap in (x, y))
    x, y = x - mean_x, y - mean_y
    covariance, *variances = ((p * q).mean(dim=(2, 3)) for p, q in ((x, y), (x, x), (y, y)))
    mean_x, mean_y = mean_x[..., 0, 0], mean_y[..., 0, 0]
    texture = (2 * mean_x * mean_y + _C) / (mean_x.square() + mean_y.square() + _C)
    return texture, (2 * covariance + _C) / (variances[0] + variances[1] + _C)
