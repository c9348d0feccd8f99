"""The trainable whole of the conditional codec, and its shipped form.

`Latents` is everything that turns bytes into y_hat; the latent fingerprint in every file is the checksum of its shipped
form, and nothing else. The denoiser may improve under the same fingerprint.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from regrain.conditional import basis
from regrain.conditional.coding_order import CodingStep, coding_order
from regrain.conditional.config import HYPER_MAX, SAMPLING_SCHEDULE, ModelConfig, TransformConfig
from regrain.conditional.transform import Analysis, Gain, HyperAnalysis, MeanBranch, interpolate
from regrain.conditional.walk import walk
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet import Denoiser, SamplingDenoiser
from regrain.entropy import tables
from regrain.entropy.exact import INDEX_STEP, ScaleBranch
from regrain.entropy.prior import HyperPrior, gaussian_bits
from regrain.entropy.quantize import clamp_inward, noisy, straight_through
from regrain.errors import ModelError

__all__ = [
    "SAMPLING_SCHEDULE",
    "Coded",
    "ConditionalCodec",
    "Latents",
    "ModelConfig",
    "build_denoiser",
    "build_sampler",
    "build_scale",
    "sampler_state",
]

SCALE_WIDTH = 64
"""Hidden channels of the scale branch."""
OFFSET_UNIT = 8.0
"""Offsets are learned in units of e^8: an optimiser moves a parameter by about its learning rate, whatever it means."""
LOG_RATIO = math.log(tables.SCALE_MAX / tables.SCALE_MIN) / (tables.LEVELS - 1)


class Coded(NamedTuple):
    """What training sees of the entropy room: y_hat (B, C, H/16, W/16) and the estimated bits a picture, (B,)."""

    y_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Latents(nn.Module):
    """From symbols to y_hat: hyperprior tables, scale branch, mean branch, gains, quality offsets."""

    def __init__(self, config: TransformConfig) -> None:
        """Build untrained."""
        super().__init__()
        self.gain = Gain(config.anchors, basis.spread(config.latent))
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
            """The symbols that an encoder would write."""
            return torch.round(gained[:, part.channels] - mean)

        size = (y.shape[2], y.shape[3])
        _, mean, index = walk(self.scale, self.mean, z_hat, gain, self.training_offset(quality), size, rounded)
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


def build_scale(config: TransformConfig) -> ScaleBranch:
    """The scale branch of these latents, untrained."""
    _, *later = coding_order(config.latent, config.slices)
    contexts = [(part.context_channels, part.last - part.first) for part in later]
    return ScaleBranch(config.hyper, SCALE_WIDTH, config.latent, contexts)


def build_denoiser(config: ModelConfig) -> Denoiser:
    """The denoiser of these latents, untrained. An x_0-prediction is the DCT's sketch and what the network adds."""
    latent, corrects = config.transform.latent, config.prediction == "x0"
    return Denoiser(config.denoiser, latent, basis.sketch, corrects=corrects)


def build_sampler(config: ModelConfig) -> SamplingDenoiser:
    """The sampling denoiser of these latents, untrained."""
    return SamplingDenoiser(config.denoiser, config.transform.latent, basis.sketch, schedule.get(SAMPLING_SCHEDULE))


def sampler_state(denoiser: Mapping[str, Tensor], sampler: SamplingDenoiser) -> dict[str, Tensor]:
    """The denoiser's tensors as a sampler's, which then says the same: what enters with x_t is zero."""
    state = {name: torch.zeros_like(tensor) for name, tensor in sampler.state_dict().items()} | dict(denoiser)
    state["enter.weight"] = state["enter.weight"][:, -sampler.enter.in_channels :].clone()
    return state


class ConditionalCodec(nn.Module):
    """g_a, h_a, the latents and the denoiser in one module, as training sees them."""

    def __init__(self, config: ModelConfig) -> None:
        """Build untrained."""
        super().__init__()
        self.config = config
        self.analysis = Analysis(config.transform)
        self.hyper_analysis = HyperAnalysis(config.transform)
        self.latents = Latents(config.transform)
        self.denoiser = build_denoiser(config)

    @property
    def prediction(self) -> parametrize.Prediction:
        """What the denoiser's output means."""
        return cast(parametrize.Prediction, self.config.prediction)

    def code(self, x: Tensor, quality: Tensor) -> Coded:
        """Latents as the file will hold them, and their bits. x (B, 3, H, W), multiples of 64; quality (B,).

        Under autocast g_a alone is in lower precision: symbols, scale indices and bits are integers and logarithms.
        """
        y: Tensor = self.analysis(x)
        with torch.autocast(x.device.type, enabled=False):
            y = y.to(torch.promote_types(y.dtype, torch.float32))
            z = self.hyper_analysis(self.latents.gain(quality) * y)
            coded: Coded = self.latents(y, z, quality)
        return coded
