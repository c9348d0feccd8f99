"""How far apart the textures of two pictures are, by features of networks of which no judge is made.

    statistics   sum_l mean_p ((mu(a) - mu(b))^2 + (s(a) - s(b))^2)
    likeness     sum_l mean_c (1 - (2 m_a m_b + k) / (m_a^2 + m_b^2 + k)) + (1 - (2 v_ab + k) / (v_a + v_b + k))

mu and s are means and deviations, in squares of four places, of features whose norm is 1 at each place: of what the
unconditional prior sees in the picture under some noise, at a half, a quarter and an eighth of its sides, and of the
hidden layers of g_a. m, v and v_ab are means, variances and covariances over the picture (DISTS, Ding et al. 2020,
arXiv:2004.07728, eq. 3 to 5) of the picture and of four layers of a network of random weights. By statistics another
sample of a texture is nearer than a smooth place, which by squared error is nearer than both.

Who descends by features that stay the same learns to please them, and no judge is pleased. So the noise and its level,
the random weights, a shift and a flip are drawn anew for every comparison, by its number.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from regrain.conditional.config import STRIDE
from regrain.conditional.transform import Analysis
from regrain.diffusion.prior import Prior, levels

__all__ = ["TERMS", "Features", "Texture"]

Moments: TypeAlias = list[Tensor]

TERMS: Final = 3
"""Statistics of the prior, those of g_a, and likeness."""
LOG_SNR: Final = (1.0, 5.0)
"""The range of noise levels under which the prior sees a picture."""
SQUARE: Final = 4
WIDTHS: Final = (3, 32, 48, 64, 96)
FLOOR: Final = 1e-6
SPREAD_FLOOR: Final = 1e-4


class Features(NamedTuple):
    """Of one picture: moments of what the prior and g_a see, layer by layer, and layers of the random network."""

    prior: Moments
    analysis: Moments
    layers: list[Tensor]


class Texture(nn.Module):
    """What the networks see in a picture, and how far two pictures are apart by it."""

    def __init__(self, prior: Prior, g_a: Analysis) -> None:
        """Take the networks, whose weights stay as they are."""
        super().__init__()
        self.prior, self.g_a = prior, g_a
        self.requires_grad_(False)

    def features(self, x: Tensor, draw: int) -> Features:
        """Of a picture (1, 3, H, W) in [-1, 1], of any size; it is repeated at its edges to multiples of 16.

        The number `draw`, 0 or more, makes what is random: a flip and a shift, noise and its level, a random network.
        """
        source = torch.Generator().manual_seed(draw)
        x = _moved(x, source)
        least, most = LOG_SNR
        log_snr = least + (most - least) * torch.rand(1, generator=source, dtype=torch.float32, device="cpu").to(x)
        alpha, sigma = levels(log_snr)
        prior = self.prior.features(alpha * x + sigma * _normal(x.shape, source, x), log_snr)
        layers = [(1 + x) / 2]
        for inputs, width in pairwise(WIDTHS):
            kernel = _normal((width, inputs, 3, 3), source, x) * (2 / (9 * inputs)) ** 0.5
            below = layers[-1] if len(layers) == 1 else _halved(layers[-1])
            layers.append(nn.functional.relu(nn.functional.conv2d(below, kernel, padding=1)))
        return Features(_moments(prior), _moments(self.g_a.features(x)), layers)

    def distances(self, picture: Tensor, target: Tensor, draw: int) -> Tensor:
        """Of two pictures as `features` takes them: (TERMS,), 0 for equal ones; gradients are the first's alone."""
        with torch.no_grad():
            theirs = self.features(target, draw)
        ours = self.features(picture, draw)
        statistics = [
            torch.stack([(a - b).square().sum(1).mean() for a, b in zip(*pair, strict=True)]).sum()
            for pair in zip(ours[:2], theirs[:2], strict=True)
        ]
        unlike = torch.stack([_unlike(a, b) for a, b in zip(ours.layers, theirs.layers, strict=True)]).sum()
        return torch.stack([*statistics, unlike])


def _normal(shape: Sequence[int], source: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers, whatever the caller's default device and dtype are."""
    return torch.randn(shape, generator=source, dtype=torch.float32, device="cpu").to(like)


def _moved(x: Tensor, source: torch.Generator) -> Tensor:
    """The picture flipped or not, less up to 15 of its first rows and columns, and repeated to multiples of 16.

    Small ones lose a quarter of a side at most.
    """
    flip, *shift = torch.randint(0, STRIDE, (3,), generator=source, device="cpu").tolist()
    x = x.flip(3) if flip % 2 else x
    top, left = (min(places, side // 4) for places, side in zip(shift, x.shape[2:], strict=True))
    x = x[:, :, top:, left:]
    return nn.functional.pad(x, (0, -x.shape[3] % STRIDE, 0, -x.shape[2] % STRIDE), mode="replicate")


def _halved(x: Tensor) -> Tensor:
    """Roots of the mean squares of two by two places."""
    return (nn.functional.avg_pool2d(x.square(), 2) + FLOOR).sqrt()


def _moments(layers: Sequence[Tensor]) -> Moments:
    """Means and deviations of each layer, (1, 2 C, h, w), in squares that overlap by half."""
    return [_moments_of(layer.float()) for layer in layers]


def _moments_of(layer: Tensor) -> Tensor:
    unit = layer * (layer.square().sum(1, keepdim=True) + FLOOR).rsqrt()
    square = [min(SQUARE, side) for side in layer.shape[2:]]
    pooled = nn.functional.avg_pool2d(torch.cat([unit, unit.square()], 1), square, SQUARE // 2)
    mean, energy = pooled.chunk(2, 1)
    return torch.cat([mean, ((energy - mean.square()).clamp(min=0) + SPREAD_FLOOR).sqrt()], 1)


def _unlike(a: Tensor, b: Tensor) -> Tensor:
    """What means, and what structures, lack of being alike, over the channels."""
    a, b = a.float(), b.float()
    mean_a, mean_b = a.mean((2, 3), keepdim=True), b.mean((2, 3), keepdim=True)
    a, b = a - mean_a, b - mean_b
    covariance, *variances = ((p * q).mean((2, 3)) for p, q in ((a, b), (a, a), (b, b)))
    means = (2 * mean_a * mean_b + FLOOR) / (mean_a.square() + mean_b.square() + FLOOR)
    structure = (2 * covariance + FLOOR) / (variances[0] + variances[1] + FLOOR)
    return 2 - means.mean() - structure.mean()
