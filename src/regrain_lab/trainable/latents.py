"""The entropy model that trains: gains, hyperprior tables, the scale and the mean branch, and the bits of a batch.

    symbols = round(gain y - mean),   y_hat = (symbols + mean) / gain,   bits = -log2 P(symbols | scale) - log2 P(z)

A channel's gain starts as its spread over one quantiser step for all, as in any transform codec.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from regrain.conditional.coding_order import CodingStep
from regrain.conditional.config import HYPER_FACTOR, HYPER_MAX, TransformConfig
from regrain.conditional.dct import dct_basis
from regrain.conditional.transform import MeanBranch
from regrain.entropy import tables
from regrain.entropy.integer import INDEX_STEP
from regrain.errors import ModelError
from regrain_lab.trainable.context_model import code_steps
from regrain_lab.trainable.likelihoods import HyperPrior, gaussian_bits
from regrain_lab.trainable.quantize import clamp_inward, noisy, straight_through
from regrain_lab.trainable.wall import build_scale

__all__ = ["Coded", "EntropyModel", "Gain", "interpolate", "pad_to_hyper"]

RISE_TOP = 100.0
"""Of log-gains from an anchor to the next: far beyond what any weights have."""
OFFSET_UNIT = 8.0
"""Offsets are learned in units of e^8: an optimiser moves a parameter by about its learning rate, whatever it means."""
LOG_RATIO = math.log(tables.SCALE_MAX / tables.SCALE_MIN) / (tables.LEVELS - 1)


class Gain(nn.Module):
    """Gain per channel over quality: log-gains at equidistant anchors, increasing by construction."""

    def __init__(self, anchors: int, spread: Tensor, low: float = 0.45, high: float = 10.0) -> None:
        """Start at spread (channels,) times a factor that is log-linear from `low` at quality 0 to `high` at 100."""
        super().__init__()
        channels = len(spread)
        step = torch.tensor((high / low) ** (1 / (anchors - 1))).log()
        self.first = nn.Parameter((low * spread).log())
        self.rise = nn.Parameter(step.expm1().log().expand(anchors - 1, channels).clone())

    def log_anchors(self) -> Tensor:
        """Natural logarithm of the gains at the anchors, (anchors, channels)."""
        rises = nn.functional.softplus(self.rise).cumsum(0)
        return torch.cat([self.first[None], self.first + rises])

    @torch.no_grad()
    def set_anchors(self, log_anchors: Tensor) -> None:
        """The inverse of `log_anchors`. Raises ModelError for another shape, and for gains that do not rise."""
        if log_anchors.shape != (len(self.rise) + 1, *self.first.shape):
            raise ModelError(
                f"gains of shape {tuple(log_anchors.shape)}, not {(len(self.rise) + 1, *self.first.shape)}"
            )
        rise = log_anchors.double().diff(dim=0)
        if not bool(((rise > 0) & (rise < RISE_TOP)).all()):
            raise ModelError("gains do not rise with quality")
        self.first.copy_(log_anchors[0])
        self.rise.copy_(rise.expm1().log())

    def forward(self, quality: Tensor) -> Tensor:
        """quality (B,) in [0, 1] -> gains (B, channels, 1, 1), > 0."""
        return torch.exp(interpolate(self.log_anchors(), quality))[:, :, None, None]


def interpolate(anchors: Tensor, quality: Tensor) -> Tensor:
    """Piecewise linear in quality: anchors (A, C), quality (B,) in [0, 1] -> (B, C)."""
    position = quality * (anchors.shape[0] - 1)
    left = position.floor().long().clamp(max=anchors.shape[0] - 2)
    part = (position - left)[:, None]
    return torch.lerp(anchors.index_select(0, left), anchors.index_select(0, left + 1), part)


def pad_to_hyper(gained: Tensor) -> Tensor:
    """Latents (B, C, h, w) continued by those at their edges until h_a can take them, as encoding does.

    >>> pad_to_hyper(torch.tensor([[[[1.0, 2.0]]]]))[0, 0, 0].tolist()
    [1.0, 2.0, 2.0, 2.0]
    """
    rows, columns = (-side % HYPER_FACTOR for side in gained.shape[2:])
    return nn.functional.pad(gained, (0, columns, 0, rows), mode="replicate") if rows or columns else gained


class Coded(NamedTuple):
    """What training sees of the entropy room: y_hat (B, C, H/16, W/16) and the estimated bits a picture, (B,)."""

    y_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class EntropyModel(nn.Module):
    """From symbols to y_hat: hyperprior tables, scale branch, mean branch, gains, quality offsets."""

    def __init__(self, config: TransformConfig) -> None:
        """Build untrained."""
        super().__init__()
        self.gain = Gain(config.anchors, torch.tensor(dct_basis(config.latent)[1]))
        self.prior = HyperPrior(config.anchors, config.hyper)
        self.scale = build_scale(config)
        self.mean = MeanBranch(config)
        with torch.no_grad():
            start = self.gain.log_anchors() - math.log(tables.SCALE_MIN)
        self.offset = nn.Parameter(start / OFFSET_UNIT)
        self.anchors = config.anchors

    def anchor(self, quality: Tensor) -> Tensor:
        """Nearest quality anchor, the one whose hyperprior tables are used: (B,) in [0, 1] -> (B,) int64."""
        return torch.floor(quality * (self.anchors - 1) + 0.5).long()

    def integer_offsets(self) -> Tensor:
        """Scale-index offsets at the anchors in 1/16 of an index, int64 (anchors, C)."""
        return torch.round(self.offset.detach().double() * (OFFSET_UNIT * INDEX_STEP / LOG_RATIO)).long()

    @torch.no_grad()
    def set_offsets(self, integers: Tensor) -> None:
        """The inverse of `integer_offsets`. Raises ModelError for another shape."""
        if integers.shape != self.offset.shape:
            raise ModelError(f"offsets of shape {tuple(integers.shape)}, not {tuple(self.offset.shape)}")
        self.offset.copy_(integers.double() * (LOG_RATIO / (OFFSET_UNIT * INDEX_STEP)))

    def training_offset(self, quality: Tensor) -> Tensor:
        """The offsets with a gradient, rounded straight through, (B, C)."""
        return straight_through(interpolate(self.offset, quality) * (OFFSET_UNIT * INDEX_STEP / LOG_RATIO))

    def forward(self, y: Tensor, z: Tensor, quality: Tensor) -> Coded:
        """Quantise as the file will and estimate its bits.

        Bits are those of the rounded symbols, always, and scales and tables learn from them. To the latents alone the
        rate's gradient comes through additive noise, which overstates symbols that are nearly always 0; the decoder's
        comes through straight-through rounding.
        """
        gain = self.gain(quality)
        z_hat = clamp_inward(straight_through(z), -HYPER_MAX, HYPER_MAX)
        gained = gain * y

        def rounded(part: CodingStep, mean: Tensor, _index: Tensor) -> Tensor:
            return torch.round(gained[:, part.channels] - mean)

        size = (y.shape[2], y.shape[3])
        _, mean, index = code_steps(self.scale, self.mean, z_hat, gain, self.training_offset(quality), size, rounded)
        scale = tables.SCALE_MIN * torch.exp(LOG_RATIO * index)
        residual = gained - mean
        anchor = self.anchor(quality)
        y_bits = gaussian_bits(residual.detach().round(), scale)
        z_bits = self.prior.bits(z.detach().round(), anchor)
        if self.training:
            y_bits = _with_gradient(y_bits, gaussian_bits(noisy(residual), scale.detach()))
            z_bits = _with_gradient(z_bits, self.prior.bits(noisy(z), anchor, learn=False))
        y_hat = (straight_through(residual) + mean) / gain
        return Coded(y_hat, y_bits.sum((1, 2, 3)), z_bits.sum((1, 2, 3)))


def _with_gradient(value: Tensor, other: Tensor) -> Tensor:
    """`value`, whose gradient is its own and that of `other` together."""
    return value + (other - other.detach())
