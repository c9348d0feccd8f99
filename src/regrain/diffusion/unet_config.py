"""The shape of the conditional denoiser, without torch."""

from dataclasses import dataclass
from typing import Final

__all__ = ["PATCH", "RESIDUAL", "DenoiserConfig"]

PATCH: Final = 4
"""Side in pixels of the patches that the network works on."""
RESIDUAL: Final = 0.1
"""Standard deviation, in [-1, 1], of what the latents leave open, about."""


@dataclass(frozen=True)
class DenoiserConfig:
    """Widths and depths at 1/4, 1/8 and 1/16 of the resolution."""

    widths: tuple[int, int, int] = (80, 144, 208)
    depths: tuple[int, int, int] = (3, 3, 3)
    half: int = 24
    """Channels at 1/2, on the way out."""
    embedding: int = 128
