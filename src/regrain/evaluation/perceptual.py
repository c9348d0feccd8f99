"""LPIPS v0.1, the learned perceptual distance (Zhang et al., CVPR 2018, arXiv:1801.03924, equation 1).

    d(a, b) = sum_l  mean_hw  sum_c  w_lc (f_lc(a) / |f_l(a)| - f_lc(b) / |f_l(b)|)^2 ,   w_lc >= 0

f_l is the l-th tap of a frozen classifier (AlexNet, or SqueezeNet 1.1) and |.| the norm over its channels, so that
d(a, a) = 0 and d(a, b) = d(b, a) >= 0. The weights come from a local safetensors file and are never fetched.
"""

from pathlib import Path
from typing import Self

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.checkpoint import mismatch
from regrain.errors import ModelError, UsageError

__all__ = ["Lpips"]

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPS = 1e-10
_ALEX_TAPS = (1, 4, 7, 9, 11)
_SQUEEZE_TAPS = (1, 4, 7, 9, 10, 11, 12)
_SOURCE = "convert the v0.1 weights of the lpips package (github.com/richzhang/PerceptualSimilarity) to safetensors"


class _Fire(nn.Module):
    """SqueezeNet's block: 1x1 `squeeze`, then 1x1 and 3x3 `expand` side by side, a ReLU after each."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 2 expanded, H, W)."""
        x = torch.relu(self.squeeze(x))
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1).relu_()


def _alexnet() -> nn.Sequential:
    """The convolutions of AlexNet (Krizhevsky 2014, arXiv:1404.5997) up to its fifth ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _squeezenet() -> nn.Sequential:
    """The feature stack of SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360); its pools round sizes up."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(64, 16, 64),
        _Fire(128, 16, 64),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(128, 32, 128),
        _Fire(256, 32, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(256, 48, 192),
        _Fire(384, 48, 192),
        _Fire(384, 64, 256),
        _Fire(512, 64, 256),
    )


def _unit(features: Tensor) -> Tensor:
    """`features` (B, C, H, W) over their norm along C, in float32 at least; smooth where all channels are 0."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    norm: Tensor = (wide.square().sum(dim=1, keepdim=True) + _EPS).sqrt()
    return wide / norm


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"no LPIPS weights at {path}; {_SOURCE}") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} is not a readable safetensors file of LPIPS weights; {_SOURCE}") from error


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
    def load(cls, path: str | Path) -> Self:
        """Read weights from a safetensors file; its tensors say whether they are for AlexNet or SqueezeNet 1.1.

        The file holds `features.N...` and `linN.weight` in torchvision's numbering. Draws no random number.
        Raises ModelError when the file is missing, unreadable, or holds other tensors.
        """
        path = Path(path)
        tensors = _tensors(path)
        with torch.device("meta"):
            if "features.3.squeeze.weight" in tensors:
                model = cls(_squeezenet(), _SQUEEZE_TAPS, (64, 128, 256, 384, 384, 512, 512))
            else:
                model = cls(_alexnet(), _ALEX_TAPS, (64, 192, 384, 256, 256))
        wrong = _mismatch(model.state_dict(), tensors)
        if wrong:
            raise ModelError(f"{path} does not hold LPIPS weights: {wrong}; {_SOURCE}")
        model.load_state_dict(tensors, assign=True)
        model.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        model.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        return model.requires_grad_(False).eval()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (B,) between RGB batches `a` and `b`, each (B, 3, H, W) in [-1, 1], sides of 32 pixels at least.

        Differentiable in both; an input that needs no gradient is run without a graph.
        Raises UsageError for other or unequal shapes.
        """
        if a.shape != b.shape or a.dim() != 4 or a.shape[1] != 3 or min(a.shape[2:]) < self.smallest:
            raise UsageError(
                f"LPIPS of {tuple(a.shape)} and {tuple(b.shape)}: only equal (B, 3, H, W), sides >= {self.smallest}, do"
            )
        total = torch.zeros(a.shape[0], device=a.device)
        for index, (ours, theirs) in enumerate(zip(self._units(a), self._units(b), strict=True)):
            weights = self.get_submodule(f"lin{index}").get_parameter("weight").flatten()
            total = total + ((ours - theirs).square().mean(dim=(2, 3)) * weights).sum(dim=1)
        return total

    def _units(self, x: Tensor) -> list[Tensor]:
        """Unit-normalised taps of `x`, shallowest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
            x = (x - self.shift) / self.scale
            units = []
            for index, layer in enumerate(self.features):
                x = layer(x)
                if index in self.taps:
                    units.append(_unit(x))
            return units


def _mismatch(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """What keeps `found` from being `wanted`, in a few words; empty when nothing does."""
    negative = (name for name in wanted if name.startswith("lin") and name in found and bool((found[name] < 0).any()))
    return mismatch(wanted, found) or next((f"{name} has negative weights" for name in negative), "")
