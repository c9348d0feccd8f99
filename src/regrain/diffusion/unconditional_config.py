"""The shape of the unconditional diffusion model, which both of its implementations are built from, without torch.

`diffusion.prior` runs the network on torch, `onnx.unconditional` runs it on ONNX Runtime.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self, get_args

from regrain import configuration
from regrain.diffusion.parametrize import Prediction
from regrain.errors import UsageError

__all__ = ["HALO", "KIND", "SIDE", "STRIDE", "PriorConfig"]

STRIDE: Final = 8
"""Sizes of pictures must be multiples of this."""
SIDE: Final = 4
"""Sides must be multiples of so many patches."""
HALO: Final = 64
"""Pixels around a window beyond which nothing that matters comes in."""
KIND: Final = "prior"
_AT_FIRST: Final = {"prediction": "v", "learned_variance": False, "channels": 3, "patch": 2, "leaps": False}
"""What weights are whose configuration is from before these names."""


@dataclass(frozen=True)
class PriorConfig:
    """Widths and depths at 1/2, 1/4 and 1/8 of the resolution, the way down and the way up alike; what comes out.

    Those are for pictures: `patch` 2, 3 channels. Latents come in at their own resolution, patch 1, and all is twice as
    fine. `prediction` is one of parametrize.Prediction. Raises UsageError for any other.
    """

    widths: tuple[int, int, int] = (32, 96, 160)
    depths: tuple[int, int, int] = (1, 2, 3)
    embedding: int = 128
    prediction: str = "v"
    learned_variance: bool = False
    channels: int = 3
    patch: int = 2
    leaps: bool = False
    """Whether the network is told how far a step goes, as one that is distilled for few steps must be."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, a prediction that does not exist."""
        if self.prediction not in (allowed := get_args(Prediction)):
            raise UsageError(f"prediction is {self.prediction!r}; allowed are {', '.join(allowed)}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; without the names that older checkpoints lack, where all is as it was in them."""
        return {name: v for name, v in asdict(self).items() if name not in _AT_FIRST or v != _AT_FIRST[name]}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The inverse of `to_dict`. Raises UsageError for what no network may be built of."""
        return configuration.read(cls, data, "config")
