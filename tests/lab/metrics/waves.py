"""Weights and pictures that are the same everywhere, from no generator: what other programs made of them can be kept.

wave_i = sin(0.739 (k + 1) (1 + i mod PERIOD)^2) ,   k the number of the tensor in order of names
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

PERIOD = 65_521
VGG16 = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)} | {
    17: (256, 512),
    **dict.fromkeys((19, 21, 24, 26, 28), (512, 512)),
}
PIEAPP = (3, 64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512)


def wave(shape: tuple[int, ...], number: int = 0) -> Tensor:
    """float32 in [-1, 1]."""
    count = torch.Size(shape).numel()
    place = torch.arange(1, min(count, PERIOD) + 1, dtype=torch.float64)
    values = torch.sin(0.739 * (number + 1) * place.square()).float()
    return values.repeat(-(-count // PERIOD))[:count].reshape(shape)


def pictures() -> tuple[Tensor, Tensor]:
    """Two batches of (1, 3, 96, 131) in [-1, 1] that differ by a third."""
    first = wave((1, 3, 96, 131), 2)
    return first, (first * 0.8 + 0.2 * wave((1, 3, 96, 131), 6))


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Waves of these shapes: kernels over the root of half their inputs, the rest a tenth."""
    made = {}
    for number, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        values = wave(shape, number)
        fan = torch.Size(shape[1:]).numel()
        made[name] = values * (2 / fan**0.5 if len(shape) > 1 else 0.1)
    return made


def vgg16() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's file without its classifier."""
    kernels = {f"features.{n}.weight": (outputs, inputs, 3, 3) for n, (inputs, outputs) in VGG16.items()}
    return kernels | {f"features.{n}.bias": (outputs,) for n, (_, outputs) in VGG16.items()}


def pieapp() -> dict[str, tuple[int, ...]]:
    """Names and shapes of PieAPPv0.1.pth."""
    shapes: dict[str, tuple[int, ...]] = {}
    for n, (inputs, outputs) in enumerate(pairwise(PIEAPP), start=1):
        shapes |= {f"conv{n}.weight": (outputs, inputs, 3, 3), f"conv{n}.bias": (outputs,)}
    for name, (inputs, outputs) in {"score": (120_832, 512), "weight": (2048, 512)}.items():
        shapes |= {f"fc1_{name}.weight": (outputs, inputs), f"fc1_{name}.bias": (outputs,)}
        shapes |= {f"fc2_{name}.weight": (1, outputs), f"fc2_{name}.bias": (1,)}
    return shapes | {"ref_score_subtract.weight": (1,), "ref_score_subtract.bias": (1,)}
