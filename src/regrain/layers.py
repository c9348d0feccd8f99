"""Network blocks that the rooms share: residual blocks, FiLM, a norm a pixel, resampling, scalar embeddings.

Every block is shape-preserving and translation-equivariant (no norm over space, no global pooling), so a picture may be
processed in tiles with a halo and give the pixels that it would have given whole.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = [
    "Embedding", "FilmBlock", "PixelNorm", "ResidualBlock", "Upsample", "bfloat16_units", "conv", "film_stack", "icnr_",
    "modulate", "normal_", "on_arrays",
]  # fmt: skip


Array = NDArray[np.float32]
AMPERE: Final = (8, 0)
"""The first generation of NVIDIA's cards with units for bfloat16."""


def on_arrays(network: Callable[[Tensor], Tensor], device: str) -> Callable[[Array], Array]:
    """A network of batches (B, C, H, W) on a device, as a function of one image (C, H, W): an array in, one out."""

    @torch.no_grad()
    def run(x: Array) -> Array:
        """Without gradients, in the layout that convolutions like best."""
        batch = torch.from_numpy(x)[None].to(device).contiguous(memory_format=torch.channels_last)
        return network(batch)[0].contiguous().cpu().numpy()

    return run


def bfloat16_units(device: torch.device, *, training: bool = False) -> bool:
    """Whether the device has units for bfloat16 that are quicker than float32; without units it is many times slower.

    AVX512-BF16 is quicker for networks and gradients of what enters them, and slower for gradients of weights.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    if device.type != "cpu":
        return False
    units: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # which older releases do not have
    return any(units.get(name) for name in ("amx_bf16", *([] if training else ["avx512_bf16"])))


def conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Zero-padded convolution that halves the size exactly at stride 2 (even inputs); He initialised, bias zero."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
    normal_(layer.weight, 2**0.5 / (in_channels * kernel**2) ** 0.5)
    nn.init.zeros_(_bias(layer))
    return layer


def normal_(weight: Tensor, std: float) -> None:
    """Draw N(0, std^2) into a weight, unless it is on the meta device: that imports torch's compiler, most of 1 s."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def icnr_(layer: nn.Conv2d, factor: int) -> nn.Conv2d:
    """Initialise a convolution before a pixel shuffle so that it starts as nearest-neighbour upsampling.

    ICNR of Aitken et al. 2017: the ``factor**2`` sub-kernels of an output channel start equal: no lattice is built in.
    """
    with torch.no_grad():
        seeds = layer.weight[:: factor * factor].clone()
        layer.weight.copy_(seeds.repeat_interleave(factor * factor, dim=0))
    return layer


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias


class Upsample(nn.Module):
    """1x1 convolution and pixel shuffle: (B, in, H, W) -> (B, out, 2H, 2W); starts as nearest-neighbour."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Set the channel counts."""
        super().__init__()
        self.conv = icnr_(conv(in_channels, 4 * out_channels, kernel=1), 2)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        out: Tensor = self.shuffle(self.conv(x))
        return out


class PixelNorm(nn.Module):
    """x / sqrt(mean_c x^2 + 0.01), pixel by pixel: (B, C, H, W) -> the same shape, bounded by sqrt(C).

    One where a resolution begins is enough to keep a deep stack of residual blocks from exploding: what comes before it
    has nothing to gain by growing. It has no parameters and, unlike a norm over space, no borders.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        return x * (x.square().mean(1, keepdim=True) + 0.01).rsqrt()


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution starting at zero: the identity at initialisation."""

    def __init__(self, channels: int) -> None:
        """Set the width."""
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = self.conv1(nn.functional.silu(x))
        out: Tensor = x + self.conv2(nn.functional.silu(hidden))
        return out


class FilmBlock(nn.Module):
    """A residual block whose hidden channels are scaled and shifted by an embedding (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, embedding: int) -> None:
        """Set the width and the embedding's size; the identity at initialisation."""
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)
        nn.init.zeros_(self.conv2.weight)
        self.film = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(_bias(self.film))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, H, W) and an embedding (B, E) or (1, E) -> (B, C, H, W)."""
        hidden = self.conv1(nn.functional.silu(x))
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, hidden, 1 + scale)
        out: Tensor = x + self.conv2(nn.functional.silu(hidden))
        return out


def film_stack(width: int, depth: int, embedding: int) -> nn.ModuleList:
    """So many FilmBlocks in a row, for `modulate`."""
    return nn.ModuleList(FilmBlock(width, embedding) for _ in range(depth))


def modulate(blocks: nn.ModuleList, x: Tensor, embedding: Tensor) -> Tensor:
    """x (B, width, H, W) through a `film_stack`, every block under the same embedding (B, E) or (1, E)."""
    for block in blocks:
        x = block(x, embedding)
    return x


class Embedding(nn.Module):
    """Scalars in [0, 1] -> a vector: cosines of each at 8 frequencies through a two-layer perceptron."""

    FREQUENCIES = 8

    def __init__(self, scalars: int, size: int) -> None:
        """Set how many scalars come in and the size of the vector."""
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(scalars * self.FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU()
        )

    def forward(self, scalars: Tensor) -> Tensor:
        """(B, scalars) -> (B, size)."""
        k = torch.arange(1, self.FREQUENCIES + 1, device=scalars.device, dtype=scalars.dtype)
        features = torch.cos(math.pi * k * scalars[:, :, None])
        out: Tensor = self.mlp(features.flatten(1))
        return out
