"""Three ways from a real latent to an integer one: rounding, rounding with a straight-through gradient, additive noise.

``round`` is what the file holds; ``straight_through`` shows the decoder the same values and lets gradients pass;
``noisy`` adds U(-1/2, 1/2), whose density at integers is the quantised probability (Balle et al. 2017, eq. 13).
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["clamp_inward", "noisy", "straight_through", "straight_through_floor"]


def straight_through(x: Tensor) -> Tensor:
    """Round half to even; the gradient is that of the identity."""
    return x + (x.round() - x).detach()


def straight_through_floor(x: Tensor) -> Tensor:
    """Floor; the gradient is that of the identity."""
    return x + (x.floor() - x).detach()


def noisy(x: Tensor) -> Tensor:
    """Add independent U(-1/2, 1/2) to every element."""
    return x + torch.rand_like(x) - 0.5


class _ClampInward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x)
        ctx.bounds = (low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        stuck = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(stuck, 0), None, None


def clamp_inward(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp to [low, high]; outside, only gradients that lead back inside pass."""
    out: Tensor = _ClampInward.apply(x, low, high)  # type: ignore[no-untyped-call]
    return out
