"""Classifiers whose features the metrics compare, layer by layer and numbered as torchvision does.

Only the convolutions are here: AlexNet (Krizhevsky 2014, arXiv:1404.5997), SqueezeNet 1.1 (Iandola et al. 2016,
arXiv:1602.07360) and VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["ALEX_CHANNELS", "SQUEEZE_CHANNELS", "VGG_CHANNELS", "alexnet", "squeezenet", "vgg16"]

ALEX_CHANNELS = (64, 192, 384, 256, 256)
"""Output channels of AlexNet's convolutions."""
SQUEEZE_CHANNELS = (64, 128, 256, 384, 384, 512, 512)
"""Output channels of the layers of SqueezeNet 1.1 that LPIPS compares."""
_VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG_CHANNELS = tuple(stage[-1] for stage in _VGG_STAGES)
"""Output channels of VGG16's five stages."""


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


def alexnet() -> nn.Sequential:
    """AlexNet's convolutions, up to the fifth ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip


def squeezenet() -> nn.Sequential:
    """SqueezeNet's whole feature stack; its pools round sizes up."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(64, 16, 64), _Fire(128, 16, 64), nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(128, 32, 128), _Fire(256, 32, 128), nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256),
    )  # fmt: skip


def vgg16(pool: Callable[[], nn.Module] = lambda: nn.MaxPool2d(2)) -> nn.Sequential:
    """VGG16's convolutions, up to the last ReLU; `pool` makes the layer that opens every stage but the first."""
    layers: list[nn.Module] = []
    width = 3
    for stage in _VGG_STAGES:
        layers += [pool()] if layers else []
        for outputs in stage:
            layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            width = outputs
    return nn.Sequential(*layers)
