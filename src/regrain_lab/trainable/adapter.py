"""An adapter that trains: the conditional codec with low-rank additions to its kernels, and all its vectors free.

Of the file's tensors (`regrain.adapter`) kernels have factors; vectors, gains and offsets are whole; the tables of z
and the kernels of the integer wall stay the base's.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from regrain import adapter
from regrain.conditional.config import ModelConfig
from regrain_lab.trainable.codec import NETWORKS, ConditionalCodec, freeze, thaw

__all__ = ["Adapter"]

FIXED = ("latents.z_tables",)
PARAMETRIZED = ".parametrizations."


class LowRank(nn.Module):
    """W -> W + left right, zero at first."""

    def __init__(self, kernel: Tensor, rank: int) -> None:
        """`kernel` is (out, in, h, w)."""
        super().__init__()
        rows = kernel.flatten(1)
        self.left = nn.Parameter(0.3 * torch.randn(len(rows), rank))
        self.right = nn.Parameter(torch.zeros(rank, rows.shape[1]))

    def forward(self, kernel: Tensor) -> Tensor:
        """The sum, in the kernel's shape."""
        return kernel + (self.left @ self.right).view_as(kernel)


class Adapter(nn.Module):
    """A codec of which little trains; `codec` is the whole."""

    def __init__(self, config: ModelConfig, tensors: Mapping[str, Tensor], rank: int) -> None:
        """Begin as the weights with these tensors. Raises ModelError where they have another shape."""
        super().__init__()
        self.config, self.base = config, dict(tensors)
        self.codec = ConditionalCodec(config)
        thaw(self.codec, self.base)
        self.kernels = {}
        for name, module in self.codec.named_modules():
            if isinstance(module, nn.Conv2d) and name.startswith(NETWORKS):
                self.kernels[f"{name}.weight"] = module
        for name, parameter in self.codec.named_parameters():
            parameter.requires_grad_(parameter.dim() == 1 or name.startswith(("latents.gain.", "latents.offset")))
        for module in self.kernels.values():
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))

    def arrays(self) -> dict[str, Tensor]:
        """The tensors of the file."""
        arrays = {}
        for name, tensor in freeze(self.codec).items():
            if PARAMETRIZED not in name and name not in FIXED and not torch.equal(tensor, self.base[name]):
                arrays[name] = tensor.detach()
        for name, module in self.kernels.items():
            (factors,) = cast(Any, module).parametrizations["weight"]
            arrays[name + adapter.LEFT] = factors.left.detach().half()
            arrays[name + adapter.RIGHT] = factors.right.detach().half()
        return arrays
