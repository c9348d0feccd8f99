"""LPIPS v0.1, the learned perceptual distance (Zhang et al., CVPR 2018, arXiv:1801.03924, equation 1).

    d(a, b) = sum_l  mean_hw  sum_c  w_lc (f_lc(a) / |f_l(a)| - f_lc(b) / |f_l(b)|)^2 ,   w_lc >= 0

f_l is the l-th tap of a frozen classifier (AlexNet, SqueezeNet 1.1, VGG16) and |.| the norm over its channels, so that
d(a, a) = 0 and d(a, b) = d(b, a) >= 0. The weights come from a local safetensors file and are never fetched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from regrain.errors import ModelError
from regrain_lab.metrics.backbones import ALEX_CHANNELS, SQUEEZE_CHANNELS, VGG_CHANNELS, alexnet, squeezenet, vgg16
from regrain_lab.metrics.pretrained import check_pair, load_weights, read, read_convolutions

__all__ = ["Lpips", "unit"]

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPS = 1e-10
_ALEX_TAPS = (1, 4, 7, 9, 11)
_SQUEEZE_TAPS = (1, 4, 7, 9, 10, 11, 12)
_VGG_TAPS = (3, 8, 15, 22, 29)
_SOURCE = "the v0.1 weights of the lpips package, github.com/richzhang/PerceptualSimilarity, as safetensors"


def unit(features: Tensor) -> Tensor:
    """Divide `features` (B, C, H, W) by their norm along C, in float32 at least; smooth where all channels are 0."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    norm: Tensor = (wide.square().sum(dim=1, keepdim=True) + _EPS).sqrt()
    return wide / norm


class Lpips(nn.Module):
    """LPIPS v0.1 as a frozen module: parameters take no gradient, inputs do. Build it with `Lpips.load`."""

    smallest = 32
    """Shortest side in pixels that it takes."""

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: nn.Sequential, taps: tuple[int, ...], channels: tuple[int, ...]) -> None:
        """`taps` are positions in `backbone` whose outputs, of `channels` each, are compared."""
        super().__init__()
        self.features = backbone
        self.taps = taps
        for index, width in enumerate(channels):
            self.add_module(f"lin{index}", nn.Conv2d(width, 1, 1, bias=False))

    @classmethod
    def load(cls, path: str | Path, backbone: str | Path | None = None) -> Self:
        """Read weights from a safetensors file; its tensors say whether they are for AlexNet or SqueezeNet 1.1.

        The file holds `features.N...` and `linN.weight` in torchvision's numbering; for VGG16, `linN.weight` alone,
        and `backbone` has the features (a classifier may be there and is not used). Draws no random number.
        Raises ModelError when a file is missing, unreadable, or holds other tensors.
        """
        tensors = read(path) | ({} if backbone is None else read_convolutions(backbone))
        if any(name.startswith("lin") and bool((tensor < 0).any()) for name, tensor in tensors.items()):
            raise ModelError(f"{path} does not hold LPIPS weights ({_SOURCE}): a head has negative weights")
        with torch.device("meta"):
            if backbone is not None:
                model = cls(vgg16(), _VGG_TAPS, VGG_CHANNELS)
            elif "features.3.squeeze.weight" in tensors:
                model = cls(squeezenet(), _SQUEEZE_TAPS, SQUEEZE_CHANNELS)
            else:
                model = cls(alexnet(), _ALEX_TAPS, ALEX_CHANNELS)
        load_weights(model, tensors, f"{path} does not hold LPIPS weights ({_SOURCE})")
        model.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        model.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        return model

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (B,) between RGB batches `a` and `b`, each (B, 3, H, W) in [-1, 1], sides of 32 pixels at least.

        Differentiable in both; an input that needs no gradient is run without a graph.
        Raises UsageError for other or unequal shapes.
        """
        check_pair("LPIPS", a, b, self.smallest)
        return self.distance(self.units(a), self.units(b))

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor], first: int = 0) -> Tensor:
        """Distances (B,) between two batches, given the `units` of each, from the tap numbered `first` on."""
        total = torch.zeros(a[0].shape[0], device=a[0].device)
        for index, (ours, theirs) in enumerate(zip(a, b, strict=True), start=first):
            weights = self.get_submodule(f"lin{index}").get_parameter("weight").flatten()
            total = total + ((ours - theirs).square().mean(dim=(2, 3)) * weights).sum(dim=1)
        return total

    def units(self, x: Tensor) -> list[Tensor]:
        """The `stages` of `x`, with norm 1 along C."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
            return [unit(features) for features in self.stages(x)]

    def stages(self, x: Tensor) -> list[Tensor]:
        """Taps (B, C, h, w) of `x`, (B, 3, H, W) in [-1, 1], shallowest first."""
        x, stages = (x - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                stages.append(x)
        return stages
