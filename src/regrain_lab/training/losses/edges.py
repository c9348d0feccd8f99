"""Where a picture has a strong edge: a decoder that samples may draw texture anew, and must leave edges in place.

The structure tensor J is the mean of g g^T over a square around a pixel, with g the gradient of the luma by central
differences; of its eigenvalues l >= m the coherence is c = (l - m) / (l + m), the slope s = sqrt(l + m):

    edge = clamp((c - 0.5) / 0.3) clamp(s / 16)        in [0, 1], clamp to [0, 1], s in levels of 255 a pixel
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

__all__ = ["edge_map"]

SQUARE = 9
_LUMA = (0.299, 0.587, 0.114)


def edge_map(x: Tensor) -> Tensor:
    """The edges (B, 1, H, W), in [0, 1], of pictures (B, 3, H, W) in [-1, 1]; it has no gradient."""
    with torch.no_grad():
        luma = (127.5 * x.float() * x.new_tensor(_LUMA).float()[:, None, None]).sum(1, keepdim=True)
        across, down = (pad(step, sides, mode="replicate") for step, sides in _steps(luma))
        means = (
            avg_pool2d(pad(product, [SQUARE // 2] * 4, mode="replicate"), SQUARE, stride=1)
            for product in (across * across, down * down, across * down)
        )
        a, b, c = means
        energy = a + b
        coherence = torch.hypot(a - b, 2 * c) / energy.clamp_min(1e-6)
        return ((coherence - 0.5) / 0.3).clamp(0, 1) * (energy.sqrt() / 16).clamp(0, 1)


def _steps(luma: Tensor) -> tuple[tuple[Tensor, list[int]], tuple[Tensor, list[int]]]:
    """Central differences across and down, each with the margins that its ends lack."""
    across = (luma[..., 2:] - luma[..., :-2]) / 2
    down = (luma[..., 2:, :] - luma[..., :-2, :]) / 2
    return (across, [1, 1, 0, 0]), (down, [0, 0, 1, 1])
