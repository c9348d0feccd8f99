"""Differentiable likelihoods: latents -> estimated bits, for training and for rate control.

bits(y | scale) = -log2( Phi((y + 1/2) / scale) - Phi((y - 1/2) / scale) )        (Balle et al. 2018, eq. 10)
bits(z) = -log2( F_c(z + 1/2) - F_c(z - 1/2) ),  F_c a mixture of logistics per channel c and quality anchor
"""

from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regrain_lab.trainable.quantize import clamp_inward

__all__ = ["HyperPrior", "gaussian_bits"]

REACH = -NormalDist().inv_cdf(2.0**-17)
"""Half-width of the frozen tables in standard deviations: 2^-16 lies outside."""
LIKELIHOOD_MIN = 2.0**-16
"""The frozen tables give every symbol at least 1 count in 2^16. Below it a gradient passes that leads back up."""


def gaussian_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """Bits of a zero-mean Gaussian's unit bin around each residual.

    residual, scale: same shape, scale > 0. Returns bits, >= 0, same shape. The tail is taken on the side away from
    zero, where the difference of two CDFs keeps its digits. What lies beyond the frozen table of its scale is charged
    the bytes of its escape as well, without a gradient.
    """
    magnitude = residual.abs()
    upper = _normal_cdf((0.5 - magnitude) / scale)
    lower = _normal_cdf((-0.5 - magnitude) / scale)
    return -torch.log2(clamp_inward(upper - lower, LIKELIHOOD_MIN, 1.0)) + _escape_bits(magnitude, scale)


@torch.no_grad()
def _escape_bits(magnitude: Tensor, scale: Tensor) -> Tensor:
    """8 bits for each 7 of twice the distance to the table's edge; 0 inside, and tables reach to 2 at least."""
    beyond = magnitude - 0.5 - REACH * scale
    escaped = (beyond > 0) & (magnitude >= 2.5)
    return 8 * (1 + (2 * beyond).clamp_min(1).log2().div(7).floor()) * escaped


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-(2**-0.5) * x)


class HyperPrior(nn.Module):
    """The distribution of each hyper-latent channel at each quality anchor: a mixture of two logistics."""

    COMPONENTS = 2

    def __init__(self, anchors: int, channels: int) -> None:
        """Set the number of quality anchors and of channels."""
        super().__init__()
        self.shape = (anchors, channels, self.COMPONENTS)
        self.location = nn.Parameter(torch.zeros(self.shape))
        self.log_scale = nn.Parameter(torch.tensor([-0.5, 1.0]).expand(self.shape).clone())
        self.logit = nn.Parameter(torch.zeros(self.shape))

    def probability(self, z: Tensor, anchor: Tensor, *, learn: bool = True) -> Tensor:
        """P(z - 1/2 < Z < z + 1/2). z (B, C, H, W); anchor (B,) integers. Returns (B, C, H, W) in (0, 1).

        Without `learn` z alone gets a gradient, the distributions none.
        """
        parameters = [p if learn else p.detach() for p in (self.location, self.log_scale, self.logit)]
        pick = [p.index_select(0, anchor)[:, :, :, None, None] for p in parameters]
        centred = z[:, :, None] - pick[0]
        inverse = torch.exp(-pick[1])
        # sigmoid differences on the side away from zero keep their digits in the tail
        flip = -torch.sign(centred).detach() + (centred == 0)
        bins = torch.sigmoid(flip * (centred + 0.5) * inverse) - torch.sigmoid(flip * (centred - 0.5) * inverse)
        return (pick[2].softmax(2) * bins.abs()).sum(2)

    def bits(self, z: Tensor, anchor: Tensor, *, learn: bool = True) -> Tensor:
        """Bits of each hyper-latent; shapes as for `probability`."""
        return -torch.log2(clamp_inward(self.probability(z, anchor, learn=learn), LIKELIHOOD_MIN, 1.0))

    @torch.no_grad()
    def tabulate(self, reach: int) -> NDArray[np.float64]:
        """Probabilities of the integers -reach..reach: (anchors, channels, 2 reach + 1), float64."""
        anchors, channels, _ = self.shape
        values = torch.arange(-reach, reach + 1, dtype=torch.float64)
        z = values[None, None, None, :].expand(anchors, channels, 1, -1)
        double = HyperPrior(anchors, channels).double()
        double.load_state_dict(self.state_dict())
        table: NDArray[np.float64] = double.probability(z, torch.arange(anchors))[:, :, 0].numpy()
        return table

    def fit(self, table: Tensor, reach: int, steps: int = 1500) -> None:
        """Come close to a table of -reach..reach, (anchors, channels, 2 reach + 1) of sums > 0: `tabulate`'s inverse.

        By gradient descent on the cross-entropy, from the table's own means and spreads. A table that this prior made
        is met within 0.01 bits a symbol.
        """
        values, fitted = torch.arange(-reach, reach + 1, dtype=torch.float32), HyperPrior(*self.shape[:2])
        share = (table / table.sum(2, keepdim=True)).float()
        mean = (share * values).sum(2, keepdim=True)
        spread = ((share * values.square()).sum(2, keepdim=True) - mean.square()).clamp_min(0.01).sqrt()
        with torch.no_grad():
            fitted.location.copy_(mean.expand(self.shape))
            fitted.log_scale.copy_(torch.cat([spread / 4, spread], 2).log())
        used = share.sum((0, 1)) > 0
        values, share = values[used], share[:, :, used]
        z, anchor = values[None, None, None].expand(*table.shape[:2], 1, -1), torch.arange(table.shape[0])
        optimizer = torch.optim.Adam(fitted.parameters(), lr=0.02)
        for _ in range(steps):
            optimizer.zero_grad()
            (share * fitted.bits(z, anchor)[:, :, 0]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.load_state_dict(fitted.state_dict())
