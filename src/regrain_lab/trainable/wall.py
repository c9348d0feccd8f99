"""The integer wall: hyper-latents and decoded symbols -> scale indices in exact integers, equal on every machine.

Integers are held in float32, where sums below 2^24 are exact whatever the order of addition:

    a_{l+1} = clamp( floor( (sum w a_l + b) / 2^shift ), 0, 127 ),   |w| <= 127, sum |w| |a_l| + |b| < 2^24
    index   = clamp( floor( (a_L + context + offset(quality, channel)) / 16 + 1/2 ), 0, 63 )

A context is two more such layers, over the logarithms of symbols that are decoded already and over a_2.

This is the wall that trains: rounding and flooring pass gradients straight through. `entropy.integer` is the one that
encodes and decodes, in NumPy, and gives equal integers.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from regrain.conditional.coding_order import coding_order
from regrain.conditional.config import TransformConfig
from regrain.entropy.integer import ACTIVATION_MAX, EXACT_BELOW, INDEX_STEP, LEVEL_MAX, LEVEL_STEP
from regrain.entropy.tables import LEVELS
from regrain.errors import ModelError
from regrain.layers import normal_
from regrain_lab.trainable.quantize import clamp_inward, straight_through, straight_through_floor

__all__ = ["IntegerConv", "ScaleBranch", "build_scale", "level", "scale_index"]

SCALE_WIDTH = 64
"""Hidden channels of the scale branch."""
WEIGHT_MAX = 127
BIAS_MAX = 2**22
BIAS_BITS = 8
"""A bias parameter of 1 adds 2^8 to what comes out: coarse on purpose, or an optimiser could hardly move it."""


class IntegerConv(nn.Module):
    """A 3x3 convolution with 8-bit weights on integers held in floats, requantised by a shift with floor."""

    WEIGHT_BITS = 8
    """weight = integer / 2^8, so real weights span +-0.496."""

    def __init__(self, in_channels: int, out_channels: int, shift: int, most: int = ACTIVATION_MAX) -> None:
        """Set channels, the right shift after the sum, and how large inputs are at most: no sum may reach 2^24."""
        super().__init__()
        assert 9 * in_channels * WEIGHT_MAX * most + BIAS_MAX < EXACT_BELOW
        self.most = most
        self.shift = shift
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        normal_(self.weight, (in_channels * 9 / 2) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def integer_weight(self) -> Tensor:
        """The 8-bit weights as floats, in [-127, 127]."""
        return clamp_inward(straight_through(self.weight * 2**self.WEIGHT_BITS), -WEIGHT_MAX, WEIGHT_MAX)

    def integer_bias(self) -> Tensor:
        """The bias in units of the sum, within +-2^22."""
        return clamp_inward(straight_through(self.bias * 2 ** (self.shift + BIAS_BITS)), -BIAS_MAX, BIAS_MAX)

    @torch.no_grad()
    def set_integers(self, weight: Tensor, bias: Tensor) -> None:
        """Take stored integers. Raises ModelError if shapes differ or a sum could leave what float32 holds exactly."""
        weight, bias = weight.double(), bias.double()
        if weight.shape != self.weight.shape or bias.shape != self.bias.shape:
            raise ModelError(f"scale branch: weights of shape {tuple(weight.shape)}, not {tuple(self.weight.shape)}")
        if not (torch.equal(weight, weight.round()) and torch.equal(bias, bias.round())):
            raise ModelError("scale branch: its weights are no integers")
        if not float((weight.abs().sum((1, 2, 3)) * self.most + bias.abs()).max()) < EXACT_BELOW:
            raise ModelError("scale branch: its sums can reach 2^24, where float32 is no longer exact")
        self.weight.copy_(weight / 2**self.WEIGHT_BITS)
        self.bias.copy_(bias / 2 ** (self.shift + BIAS_BITS))

    def forward(self, x: Tensor) -> Tensor:
        """Integers (B, in, H, W) within +-most -> integers (B, out, H, W)."""
        total = nn.functional.conv2d(x, self.integer_weight(), self.integer_bias(), padding=1)
        return straight_through_floor(total / 2**self.shift)


class ScaleBranch(nn.Module):
    """h_s for scales, integers only: what z_hat (1/64) says of y (1/16), and what the context of each pass adds.

    All results are in 1/16 of a scale index, before the offsets; `scale_index` makes indices of their sums.
    """

    CONTEXT = 24
    """Hidden channels of a context."""

    def __init__(
        self, hyper_channels: int, hidden: int, latent_channels: int, contexts: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Set the widths, hidden and hyper_channels at most 64, and of each context the channels (known, out)."""
        super().__init__()
        layers = [
            IntegerConv(hyper_channels, hidden, shift=4),
            IntegerConv(hidden, hidden, shift=8),
            IntegerConv(hidden, latent_channels, shift=6),
        ]
        for known, out in contexts:
            last = IntegerConv(self.CONTEXT, out, shift=6)
            nn.init.zeros_(last.weight)
            layers += [IntegerConv(known + hidden, self.CONTEXT, shift=8, most=LEVEL_MAX), last]
        self.layers = nn.ModuleList(layers)

    @property
    def convolutions(self) -> list[IntegerConv]:
        """The layers: three of z_hat, then two a context."""
        return cast(list[IntegerConv], list(self.layers))

    def integers(self) -> dict[str, Tensor]:
        """The weights and biases as files hold them."""
        tensors = {}
        for index, layer in enumerate(self.convolutions):
            tensors[f"latents.scale.{index}.weight"] = layer.integer_weight().to(torch.int8)
            tensors[f"latents.scale.{index}.bias"] = layer.integer_bias().to(torch.int32)
        return tensors

    def set_integers(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `integers`. Raises ModelError, and KeyError for one that is missing."""
        for index, layer in enumerate(self.convolutions):
            layer.set_integers(tensors[f"latents.scale.{index}.weight"], tensors[f"latents.scale.{index}.bias"])

    @property
    def dtype(self) -> torch.dtype:
        """The floats that hold the integers."""
        return self.convolutions[0].weight.dtype

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """z_hat (B, Z, H, W) -> what it says of y (B, C, 4H, 4W), and hidden (B, hidden, 4H, 4W) in [0, 127]."""
        x = clamp_inward(z_hat, -ACTIVATION_MAX, ACTIVATION_MAX)
        *hidden, last = self.convolutions[:3]
        for layer in hidden:
            x = clamp_inward(layer(x), 0, ACTIVATION_MAX)
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return last(x), x

    def context(self, number: int, symbols: Tensor, hidden: Tensor) -> Tensor:
        """What context `number` >= 1 adds, (B, out, H, W): symbols (B, known, H, W), and `hidden` of those places."""
        first, last = self.convolutions[2 * number + 1 : 2 * number + 3]
        inputs = torch.cat([level(symbols), straight_through_floor(hidden / 2)], 1)
        added: Tensor = last(clamp_inward(first(inputs), 0, ACTIVATION_MAX))
        return added


def level(symbols: Tensor) -> Tensor:
    """How large symbols are, 8 steps an octave: with n = min(1 + |symbol|, 255), 8 log2 n, linear between powers of 2.

    Integers held in floats, any shape -> the same, in [0, 63]; no gradient.
    """
    with torch.no_grad():
        part, octave = torch.frexp((1 + symbols.abs()).clamp(max=2**8 - 1))
        return LEVEL_STEP * (octave - 1) + torch.floor(LEVEL_STEP * (2 * part - 1))


def scale_index(total: Tensor) -> Tensor:
    """Scale indices in [0, 63] of integers in 1/16 of an index, both held in floats, any shape."""
    return clamp_inward(straight_through_floor(total / INDEX_STEP + 0.5), 0, LEVELS - 1)


def build_scale(config: TransformConfig) -> ScaleBranch:
    """The scale branch of these latents, untrained."""
    _, *later = coding_order(config.latent, config.slices)
    contexts = [(part.context_channels, part.last - part.first) for part in later]
    return ScaleBranch(config.hyper, SCALE_WIDTH, config.latent, contexts)
