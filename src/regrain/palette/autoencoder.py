"""The small autoencoder of the palette codec: picture <-> latents at 1/8 of its sides, of about N(0, 1) each.

    mean, log_var = encode(x)    latents = mean + exp(log_var / 2) eps    x_hat = decode(latents)

(Kingma and Welling 2014; as the first stage of latent diffusion, Rombach et al. 2022.) What a codec stores is the mean,
and what training adds to it, its own posterior's noise, stands for what quantisation will do to it: the KL divergence
that pays for the noise is the rate that a palette has, some bits a position.

Dense 3x3 convolutions at 1/4 and 1/8, no attention, no norm over space: any size, in windows if need be.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.checkpoint import Arrays
from regrain.layers import PixelNorm, ResidualBlock, Upsample, conv, icnr_, normal_, on_arrays
from regrain.palette.model import STRIDE, AutoencoderConfig, Network

__all__ = ["STRIDE", "Autoencoder", "AutoencoderConfig", "freeze", "on_device"]

PATCH: Final = 4
LOG_VAR: Final = (-12.0, 2.0)


class Autoencoder(nn.Module):
    """Encoder and decoder, trained together."""

    def __init__(self, config: AutoencoderConfig) -> None:
        """Build untrained: the posterior's deviation starts as 1/e^2."""
        super().__init__()
        self.config = config
        quarter, eighth = config.encoder
        last = conv(eighth, 2 * config.channels)
        with torch.no_grad():
            last.weight[config.channels :] = 0
            last.bias[config.channels :] = -4  # type: ignore[index]
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH), conv(3 * PATCH**2, quarter), *_blocks(quarter, config.encoder_depths[0]),
            nn.SiLU(), conv(quarter, eighth, stride=2), PixelNorm(), *_blocks(eighth, config.encoder_depths[1]),
            PixelNorm(), nn.SiLU(), last,
        )  # fmt: skip
        quarter, eighth = config.decoder
        leave = conv(config.half, 12)
        normal_(leave.weight, 0.003)
        self.decoder = nn.Sequential(
            conv(config.channels, eighth), *_blocks(eighth, config.decoder_depths[1]), PixelNorm(),
            Upsample(eighth, quarter), PixelNorm(), *_blocks(quarter, config.decoder_depths[0]), PixelNorm(),
            nn.SiLU(), icnr_(conv(quarter, 4 * config.half), 2), nn.PixelShuffle(2),
            nn.SiLU(), icnr_(leave, 2), nn.PixelShuffle(2),
        )  # fmt: skip

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) in [-1, 1], sides multiples of 8 -> mean and log-variance, (B, channels, H/8, W/8) each."""
        mean, log_var = self.encoder(x).chunk(2, 1)
        return mean, log_var.clamp(*LOG_VAR)

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, channels, H, W) -> the picture (B, 3, 8 H, 8 W), not clamped."""
        out: Tensor = self.decoder(latents)
        return out


def _blocks(width: int, depth: int) -> list[ResidualBlock]:
    return [ResidualBlock(width) for _ in range(depth)]


def on_device(config: AutoencoderConfig, weights: Arrays, device: str) -> tuple[Network, Network]:
    """Encoder, its mean before its log-variance, and decoder, as functions of arrays that run on a device.

    `weights` are named as in Autoencoder's state dict. Raises ModelError where they do not fit.
    """
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    network = torch_checkpoint.network(lambda: Autoencoder(config), tensors).to(device)
    return on_arrays(network.encoder, device), on_arrays(network.decoder, device)


def freeze(network: Autoencoder, shift: Tensor, scale: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an autoencoder that ship, float16 and its moments, and what their file says of them."""
    tensors = {f"autoencoder.{name}": tensor.half() for name, tensor in network.state_dict().items()}
    tensors |= {"moments.shift": shift.float(), "moments.scale": scale.float()}
    fingerprint = torch_checkpoint.fingerprint(tensors).hex()
    return tensors, {"kind": "palette", "autoencoder": network.config.to_dict(), "latent_fingerprint": fingerprint}
