"""The context model of `conditional.context_model` on torch: of batches, on any device, with gradients.

Tests hold that its scale indices are those of encoding and decoding.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.transform import MeanBranch
from regrain_lab.trainable.wall import ScaleBranch, scale_index

__all__ = ["Coded", "Read", "code_steps"]


class Coded(NamedTuple):
    """All passes together, each (B, C, H, W): symbols and means of gained y, and scale indices."""

    symbols: Tensor
    mean: Tensor
    scale_index: Tensor


Read = Callable[[CodingStep, Tensor, Tensor], Tensor]
"""Gives a pass's symbols, (B, last - first, H, W), from its means and indices; they count in its places alone."""


def code_steps(
    scale: ScaleBranch, mean: MeanBranch, z_hat: Tensor, gain: Tensor, offset: Tensor, size: tuple[int, int], read: Read
) -> Coded:
    """Take all passes in order.

    z_hat: integers (B, Z, ceil(H/4), ceil(W/4)); gain (B, C, 1, 1); offset: integers (B, C), in 1/16 of an index;
    size: (H, W). What is decoded passes no gradient to what it predicts.
    """
    inside = ..., slice(size[0]), slice(size[1])
    base, features = (part[inside] for part in mean(z_hat))
    total, hidden = (part[inside] for part in scale(z_hat.to(scale.dtype)))
    total = total + offset.to(total)[:, :, None, None]
    symbols, y_hat = torch.zeros_like(base).detach(), torch.zeros_like(base).detach()
    means: dict[int, Tensor] = {}
    indices: dict[int, Tensor] = {}
    for number, part in enumerate(coding_order(base.shape[1], mean.slices)):
        chosen, place = part.channels, _places(part, size, base.device)
        centre, level = base[:, chosen], total[:, chosen]
        if part.context_channels:
            centre = centre + mean.context(number, y_hat[:, : part.context_channels], features)
            level = level + scale.context(number, symbols[:, : part.context_channels].to(total), hidden)
        centre, index = gain[:, chosen] * centre, scale_index(level)
        means[part.first] = torch.where(place, centre, means.get(part.first, centre))
        indices[part.first] = torch.where(place, index, indices.get(part.first, index))
        with torch.no_grad():
            values = read(part, centre, index)
            symbols[:, chosen] = torch.where(place, values, symbols[:, chosen])
            latent = ((values + centre) / gain[:, chosen]).clamp(-LATENT_MAX, LATENT_MAX)
            y_hat[:, chosen] = torch.where(place, latent, y_hat[:, chosen])
    return Coded(symbols, torch.cat([*means.values()], 1), torch.cat([*indices.values()], 1))


@lru_cache(maxsize=64)
def _places(part: CodingStep, size: tuple[int, int], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(part.mask(*size)).to(device)
