"""Weights and pictures that are the same everywhere, from no generator: what other programs made of them can be kept.

wave_i = sin(0.739 (k + 1) (1 + i mod PERIOD)^2) ,   k the number of the tensor in order of names
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

PERIOD = 65_521
INCEPTION = {
    "5b": (
        "1x1 64 1 1, 5x5_1 48 1 1, 5x5_2 64 5 5, 3x3dbl_1 64 1 1, 3x3dbl_2 96 3 3, 3x3dbl_3 96 3 3, _pool 32 1 1",
        256,
    ),
    "6a": ("3x3 384 3 3, 3x3dbl_1 64 1 1, 3x3dbl_2 96 3 3, 3x3dbl_3 96 3 3", 768),
    "7a": ("3x3_1 192 1 1, 3x3_2 320 3 3, 7x7x3_1 192 1 1, 7x7x3_2 192 1 7, 7x7x3_3 192 7 1, 7x7x3_4 192 3 3", 1280),
    "7b": (
        "1x1 320 1 1, 3x3_1 384 1 1, 3x3_2a 384 1 3, 3x3_2b 384 3 1, "
        "3x3dbl_1 448 1 1, 3x3dbl_2 384 3 3, 3x3dbl_3a 384 1 3, 3x3dbl_3b 384 3 1, _pool 192 1 1",
        2048,
    ),
}
"""Blocks of FID's Inception: convolutions by name, outputs and kernel, and the width of what comes out of the block."""

for _name in ("5c", "5d"):
    INCEPTION[_name] = (INCEPTION["5b"][0].replace("_pool 32", "_pool 64"), 288)
for _name, _inner in {"6b": 128, "6c": 160, "6d": 160, "6e": 192}.items():
    _doubled = "7x7dbl_1 {0} 1 1, 7x7dbl_2 {0} 7 1, 7x7dbl_3 {0} 1 7, 7x7dbl_4 {0} 7 1, 7x7dbl_5 192 1 7"
    _single = "1x1 192 1 1, 7x7_1 {0} 1 1, 7x7_2 {0} 1 7, 7x7_3 192 7 1, "
    INCEPTION[_name] = ((_single + _doubled + ", _pool 192 1 1").format(_inner), 768)
INCEPTION["7c"] = INCEPTION["7b"]
STEM = {
    "1a_3x3": (3, 32, 3),
    "2a_3x3": (32, 32, 3),
    "2b_3x3": (32, 64, 3),
    "3b_1x1": (64, 80, 1),
    "4a_3x3": (80, 192, 3),
}
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
    """Waves of these shapes: kernels over the root of half their inputs, the rest a tenth; variances in [0.5, 1.5]."""
    made = {}
    for number, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        values = wave(shape, number)
        positive = name.endswith(("running_var", "bn.weight"))
        fan = torch.Size(shape[1:]).numel()
        made[name] = 1 + values / 2 if positive else values * (2 / fan**0.5 if len(shape) > 1 else 0.1)
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


def inception() -> dict[str, tuple[int, ...]]:
    """Names and shapes of pt_inception-2015-12-05."""
    kernels = {f"Conv2d_{name}": (outputs, inputs, side, side) for name, (inputs, outputs, side) in STEM.items()}
    entering = 192
    for block in sorted(INCEPTION):
        text, leaving = INCEPTION[block]
        before, last = entering, ""
        for part in text.split(", "):
            name, width, *sides = part.split()
            branch = name.partition("_")[0]
            inputs = before if branch == last else entering
            kernels[f"Mixed_{block}.branch{name}"] = (int(width), inputs, *map(int, sides))
            before, last = (inputs if name.endswith("a") else int(width)), branch
        entering = leaving
    shapes: dict[str, tuple[int, ...]] = {f"{name}.conv.weight": shape for name, shape in kernels.items()}
    for name, shape in kernels.items():
        shapes |= {f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
