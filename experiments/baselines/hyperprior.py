"""The two hyperpriors of the literature, and their files: real bytes, coded by the codec's own coder.

    y = g_a(x)    z = h_a(gain y)    mean, log scale = h_s(z_hat)    symbols = round(gain (y - mean))
    x_hat = g_s(symbols / gain + mean)

"scale" predicts scales alone and has mean 0 (Balle et al. 2018, https://arxiv.org/abs/1802.01436); "mean-scale"
predicts both, without a context model (Minnen et al. 2018, https://arxiv.org/abs/1809.02736). Transforms are the
papers': four convolutions of 5 x 5 at stride 2 with (inverse) generalised divisive normalisation between them. There
are 16 pixels to a latent, 64 to a hyper-latent.

What differs from the papers: channels are fewer; one network serves all rates by a gain for each channel (Cui et al.
2021, https://arxiv.org/abs/2003.02012); the distribution of z is this project's mixture of logistics; scales are the
codec's 64 tables. There is no integer wall here: a file is decoded by the machine that wrote it.
"""

import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.conditional.config import HYPER_MAX
from regrain.conditional.context_model import checksum, hyper_table_ids
from regrain.entropy import coder, tables
from regrain.image import pad_edge, to_bytes, to_signed
from regrain.layers import conv, normal_
from regrain_lab.trainable.latents import LOG_RATIO, Gain
from regrain_lab.trainable.likelihoods import HyperPrior, gaussian_bits
from regrain_lab.trainable.quantize import clamp_inward, noisy

ANCHORS: Final = 6
STRIDE: Final = 64
"""Sides are padded to multiples of it."""
GAINS: Final = (2.0, 12.0)
"""At quality 0 and 100, before training."""
LEVEL, LEVELS_A_UNIT = 20.0, 8.0
"""The scale index that a new network begins with at gain 1, and how far an output of 1 moves it."""
HEADER: Final = struct.Struct(">HHB")
"""Width, height and quality."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class HyperpriorConfig:
    """Which of the two, "scale" or "mean-scale", and the channels of transforms and of y."""

    kind: str
    width: int = 48
    latent: int = 96

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


class Divisive(nn.Module):
    """x_c / sqrt(beta_c + sum_k gamma_ck x_k^2), or times that root (GDN, Balle et al. 2016, arXiv:1511.06281)."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        """Begin near x / sqrt(1 + x^2 / 10); beta and gamma are squares, so that they stay positive."""
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(0.1**0.5 * torch.eye(channels) + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        norm = nn.functional.conv2d(x.square(), self.gamma.square()[:, :, None, None], self.beta.square() + 1e-6)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def up(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A transposed convolution of 5 x 5 that doubles the sides."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 5, 2, padding=2, output_padding=1)
    normal_(layer.weight, 0.5 * (in_channels * 25 / 4) ** -0.5)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Bits(NamedTuple):
    """What training sees: x_hat (B, 3, H, W) and bits of y and z, (B,) each."""

    x_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Hyperprior(nn.Module):
    """A whole codec."""

    def __init__(self, config: HyperpriorConfig) -> None:
        """Build untrained."""
        super().__init__()
        self.config, n, m = config, config.width, config.latent
        self.has_mean = config.kind == "mean-scale"
        act = nn.LeakyReLU if self.has_mean else nn.ReLU
        self.g_a = nn.Sequential(
            conv(3, n, 5, 2),
            Divisive(n),
            conv(n, n, 5, 2),
            Divisive(n),
            conv(n, n, 5, 2),
            Divisive(n),
            conv(n, m, 5, 2),
        )
        self.g_s = nn.Sequential(
            up(m, n), Divisive(n, inverse=True), up(n, n), Divisive(n, inverse=True), up(n, n),
            Divisive(n, inverse=True), up(n, 3),
        )  # fmt: skip
        self.h_a = nn.Sequential(conv(m, n), act(), conv(n, n, 5, 2), act(), conv(n, n, 5, 2))
        if self.has_mean:
            self.h_s = nn.Sequential(up(n, m), act(), up(m, 3 * m // 2), act(), conv(3 * m // 2, 2 * m))
        else:
            self.h_s = nn.Sequential(up(n, n), act(), up(n, n), act(), conv(n, m))
        self.gain = Gain(ANCHORS, torch.ones(m), *GAINS)
        self.prior = HyperPrior(ANCHORS, n)

    def hyper(self, gained: Tensor) -> Tensor:
        """z, not rounded, of gained latents; of their size alone where means are 0, as in the paper."""
        z: Tensor = self.h_a(gained if self.has_mean else gained.abs())
        return z

    def statistics(self, z_hat: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of y and scale index of gained y, not rounded, (B, M, H/16, W/16) both."""
        out = self.h_s(z_hat).float()
        mean, level = out.chunk(2, 1) if self.has_mean else (torch.zeros_like(out), out)
        index = LEVEL + LEVELS_A_UNIT * level + gain.log() / LOG_RATIO
        return mean, clamp_inward(index, 0, tables.LEVELS - 1)

    def forward(self, x: Tensor, quality: Tensor) -> Bits:
        """x (B, 3, H, W), multiples of 64, in [-1, 1]; quality (B,) in [0, 1]; rounding is additive noise."""
        gain, y = self.gain(quality), self.g_a(x).float()
        z = self.hyper(gain * y).float()
        anchor = torch.floor(quality * (ANCHORS - 1) + 0.5).long()
        mean, index = self.statistics(noisy(clamp_inward(z, -HYPER_MAX, HYPER_MAX)), gain)
        residual = noisy(gain * (y - mean))
        y_bits = gaussian_bits(residual, tables.SCALE_MIN * torch.exp(LOG_RATIO * index))
        z_bits = self.prior.bits(noisy(z), anchor)
        return Bits(self.g_s(residual / gain + mean).float(), y_bits.sum((1, 2, 3)), z_bits.sum((1, 2, 3)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read weights, float16 on disk. Raises ModelError."""
        tensors, metadata = torch_checkpoint.load(path)
        return torch_checkpoint.network(lambda: cls(HyperpriorConfig(**metadata["config"])), tensors)


@torch.inference_mode()
def encode(model: Hyperprior, pixels: Pixels, quality: float) -> bytes:
    """A whole file of pixels (h, w, 3); quality 0 to 100, a whole number."""
    gain = _gain(model, quality)
    y = model.g_a(torch.from_numpy(pad_edge(to_signed(pixels), STRIDE))[None])
    z_hat = model.hyper(gain * y).round().clamp(-HYPER_MAX, HYPER_MAX)
    mean, index = model.statistics(z_hat, gain)
    symbols = _integers((gain * (y - mean)).round())
    z = _integers(z_hat)
    parts = [
        (z.reshape(-1), hyper_table_ids(*z.shape), hyper_tables(model, quality)),
        (symbols.reshape(-1), _integers(index.round()).reshape(-1), tables.gaussian_tables()),
    ]
    head = HEADER.pack(pixels.shape[1], pixels.shape[0], int(quality))
    return head + coder.encode(parts, checksum(0, z, symbols))


@torch.inference_mode()
def decode(model: Hyperprior, data: bytes) -> Pixels:
    """The pixels of a file. Raises Corrupt."""
    width, height, quality = HEADER.unpack_from(data)
    gain, decoder = _gain(model, quality), coder.Decoder(data[HEADER.size :])
    shape = model.config.width, -(-height // STRIDE), -(-width // STRIDE)
    z = decoder.take(hyper_table_ids(*shape), hyper_tables(model, quality)).reshape(shape)
    mean, index = model.statistics(torch.from_numpy(z)[None].float(), gain)
    ids = _integers(index.round())
    symbols = decoder.take(ids.reshape(-1), tables.gaussian_tables()).reshape(ids.shape)
    decoder.finish(checksum(0, z, symbols))
    x = model.g_s(torch.from_numpy(symbols)[None].float() / gain + mean)[0]
    return to_bytes(np.ascontiguousarray(x[:, :height, :width].numpy()), False)


def hyper_tables(model: Hyperprior, quality: float) -> list[tables.Table]:
    """The tables of z's channels at a quality."""
    anchor = int(quality / 100 * (ANCHORS - 1) + 0.5)
    return [tables.freeze(row, -HYPER_MAX) for row in model.prior.tabulate(HYPER_MAX)[anchor]]


def _gain(model: Hyperprior, quality: float) -> Tensor:
    gain: Tensor = model.gain(torch.tensor([int(quality) / 100]))
    return gain


def _integers(x: Tensor) -> NDArray[np.int32]:
    """(1, C, H, W) as int32 (C, H, W)."""
    return x[0].numpy().astype(np.int32)
