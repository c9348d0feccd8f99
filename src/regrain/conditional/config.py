"""The shapes of the conditional codec's networks, as a weights file states them, without torch."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self, cast, get_args

from regrain import configuration
from regrain.conditional.coding_order import hold_slices
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.errors import UsageError

__all__ = ["HYPER_FACTOR", "HYPER_MAX", "SAMPLING_SCHEDULE", "STRIDE", "ModelConfig", "TransformConfig"]

STRIDE: Final = 16
"""Pixels to a latent, each way."""
HYPER_FACTOR: Final = 4
"""Latents to a hyper-latent, each way."""
HYPER_MAX: Final = 127
"""Hyper-latents lie within +-127: the integers of the scale branch, and the symbols of z's tables."""
SAMPLING_SCHEDULE: Final = "truncated"
"""The noise schedule of the sampler."""


@dataclass(frozen=True)
class TransformConfig:
    """Widths of g_a at 1/4, 1/8, 1/16, channels of y and z, and the number of quality anchors."""

    widths: tuple[int, int, int] = (64, 112, 128)
    latent: int = 256
    hyper: int = 48
    hyper_width: int = 96
    anchors: int = 6
    slices: tuple[int, ...] = (2, 6, 16, 40, 96)
    """First channels of the slices of y after its first (see `coding_order`)."""
    context: int = 48
    """Width of the mean branch's contexts, and of what of z they share."""
    shared: int = 32


@dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes the network; stored beside the weights."""

    transform: TransformConfig = field(default_factory=TransformConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    prediction: str = "x0"
    schedule: str = "cosine"
    init_noise: float = 0.8
    sampler: bool = False
    """Whether a second denoiser, which reads x_t at every noise level, decodes at any realism above 0."""
    fast: DenoiserConfig | None = None
    """The shape of a smaller network that decodes in one pass, where there is one."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, a prediction or schedule that does not exist."""
        if self.prediction not in get_args(parametrize.Prediction):
            allowed = ", ".join(get_args(parametrize.Prediction))
            raise UsageError(f"prediction is {self.prediction!r}; allowed are {allowed}")
        schedule.get(self.schedule)
        hold_slices(self.transform.slices)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; a sampler and a fast decoder are named where there is one."""
        return {name: value for name, value in asdict(self).items() if name not in ("sampler", "fast") or value}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The inverse of `to_dict`. Raises UsageError for what no network may be built of."""
        return configuration.read(cls, data, "config")

    @property
    def parametrization(self) -> parametrize.Prediction:
        """What the denoiser's output means."""
        return cast(parametrize.Prediction, self.prediction)
