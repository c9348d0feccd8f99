"""The shape of the palette codec's autoencoder, which both of its implementations are built from, without torch.

`palette.autoencoder` runs the networks on torch, `onnx.palette` makes them graphs of ONNX Runtime.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from regrain import configuration

__all__ = ["HALO", "STRIDE", "AutoencoderConfig"]

STRIDE: Final = 8
"""Pixels to a latent."""
HALO: Final = 8
"""Latents around a window beyond which nothing that matters comes in."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Channels of the latents; widths of the encoder and the decoder at 1/4 and 1/8, and how many blocks of each."""

    channels: int = 4
    encoder: tuple[int, int] = (48, 96)
    encoder_depths: tuple[int, int] = (1, 2)
    decoder: tuple[int, int] = (80, 144)
    decoder_depths: tuple[int, int] = (3, 4)
    half: int = 24
    """Channels at 1/2, on the way out."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The inverse of `to_dict`. Raises UsageError for what no network may be built of."""
        return configuration.read(cls, data, "autoencoder")
