"""The Inception network of 2015 (Szegedy et al., arXiv:1512.00567) whose last features FID and KID are defined on.

It is TensorFlow's `inception-2015-12-05` in the names of torchvision, whose own Inception is another: this one leaves
the border out of its average pools, has a maximum in the last block, and enlarges as TensorFlow 1 did, where pixel i
of 299 is read at i n / 299, without a shift by half a pixel. Pixels enter as (v - 128) / 128.

A block is its branches, a branch its steps: convolutions by name, `/2` for one that halves, `+` between two that read
the same, and pools. Widths and kernels are those of the weights. At stride 1 a block keeps the size.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from regrain.errors import ModelError, UsageError
from regrain.evaluation.weights import read

__all__ = ["FEATURES", "Inception"]

FEATURES = 2048
_SIDE = 299
_EPS = 0.001
_SIZE = 21_820_000  # numbers in the weights but for the classifier
_CLASSES = 1008

_A = (
    "branch1x1",
    "branch5x5_1 branch5x5_2",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3",
    "mean branch_pool",
)
_B = ("branch3x3/2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/2", "halve")
_C = (
    "branch1x1",
    "branch7x7_1 branch7x7_2 branch7x7_3",
    "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
    "mean branch_pool",
)
_D = ("branch3x3_1 branch3x3_2/2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/2", "halve")
_E = (
    "branch1x1",
    "branch3x3_1 branch3x3_2a+branch3x3_2b",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a+branch3x3dbl_3b",
    "mean branch_pool",
)
_BLOCKS = {"5b": _A, "5c": _A, "5d": _A, "6a": _B, "6b": _C, "6c": _C, "6d": _C, "6e": _C, "7a": _D, "7b": _E}
_BLOCKS |= {"7c": (*_E[:-1], "highest branch_pool")}


class Inception:
    """The network up to its last mean, for inference alone; batch norms are folded into the convolutions."""

    def __init__(self, path: str | Path) -> None:
        """Read the weights that were ported from TensorFlow, classifier and all.

        Raises ModelError when they are missing, unreadable or others, as those of torchvision's own Inception are.
        """
        tensors = {name: tensor for name, tensor in read(path).items() if "num_batches_tracked" not in name}
        classifier = [tensors.pop(f"fc.{name}", torch.empty(0)) for name in ("weight", "bias")]
        if len(classifier[0]) != _CLASSES or sum(tensor.numel() for tensor in tensors.values()) != _SIZE:
            raise ModelError(f"{path} does not hold the weights of FID's Inception: it has other sizes")
        names = [name.removesuffix(".conv.weight") for name in tensors if name.endswith(".conv.weight")]
        self._convolutions = {name: _folded(tensors, name) for name in names}

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """RGB pictures, uint8 (B, 3, H, W), to features (B, 2048), none below 0. Raises UsageError for others."""
        if pictures.dtype != torch.uint8 or pictures.dim() != 4 or pictures.shape[1] != 3:
            raise UsageError(f"pictures are {pictures.dtype} {tuple(pictures.shape)}: only uint8 (B, 3, H, W) does")
        rows, columns = map(_reading, pictures.shape[2:])
        x = (rows @ pictures.float() @ columns.T - 128) / 128
        x = self._convolved(x, "Conv2d_1a_3x3", stride=2, padded=False)
        x = self._convolved(self._convolved(x, "Conv2d_2a_3x3", padded=False), "Conv2d_2b_3x3")
        x = self._convolved(F.max_pool2d(x, 3, stride=2), "Conv2d_3b_1x1")
        x = F.max_pool2d(self._convolved(x, "Conv2d_4a_3x3", padded=False), 3, stride=2)
        for block, branches in _BLOCKS.items():
            x = torch.cat([self._branch(x, f"Mixed_{block}", branch) for branch in branches], dim=1)
        return x.mean(dim=(2, 3))

    def _branch(self, x: Tensor, block: str, branch: str) -> Tensor:
        for step in branch.split():
            match step:
                case "mean":
                    x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
                case "highest":
                    x = F.max_pool2d(x, 3, stride=1, padding=1)
                case "halve":
                    x = F.max_pool2d(x, 3, stride=2)
                case _:
                    names, _, stride = step.partition("/")
                    parts = [
                        self._convolved(x, f"{block}.{name}", int(stride or 1), not stride) for name in names.split("+")
                    ]
                    x = torch.cat(parts, dim=1)
        return x

    def _convolved(self, x: Tensor, name: str, stride: int = 1, padded: bool = True) -> Tensor:
        weight, bias = self._convolutions[name]
        padding = [side // 2 if padded else 0 for side in weight.shape[2:]]
        return F.conv2d(x, weight, bias, stride, padding).relu_()


def _folded(tensors: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it."""
    gain = tensors[f"{name}.bn.weight"] / (tensors[f"{name}.bn.running_var"] + _EPS).sqrt()
    bias = tensors[f"{name}.bn.bias"] - gain * tensors[f"{name}.bn.running_mean"]
    return tensors[f"{name}.conv.weight"] * gain[:, None, None, None], bias


def _reading(side: int) -> Tensor:
    """The matrix (299, side) that reads a line of `side` pixels at i side / 299, linearly between two neighbours."""
    place = torch.arange(_SIDE) * (side / _SIDE)
    low = place.long().clamp(max=side - 1)
    part = (place - low)[:, None]
    unit = torch.eye(side)
    return (1 - part) * unit[low] + part * unit[(low + 1).clamp(max=side - 1)]
