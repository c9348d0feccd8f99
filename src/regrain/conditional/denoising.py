"""One step of decoding: where sampling starts, and what the networks estimate of the picture at a noise level."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from regrain.conditional.config import SAMPLING_SCHEDULE, ModelConfig
from regrain.conditional.networks import Context, Image, Networks
from regrain.diffusion import schedule
from regrain.entropy.integer import QUALITY_TOP
from regrain.errors import UsageError

__all__ = ["Denoiser", "Estimate", "FastDenoiser", "OtherDenoiser", "apply_realism"]

Estimate: TypeAlias = Callable[[Image, float, Image], Image]
"""Of x_t (3, 16 H, 16 W), the time t in [0, 1] and y_hat (C, H, W): x_0 in [-1, 1], of the shape of x_t."""


@dataclass(frozen=True)
class Denoiser:
    """The faithful denoiser and, where the weights have one, the sampler; quality is q times 256 throughout."""

    config: ModelConfig
    networks: Networks

    def for_steps(self, steps: int) -> "Denoiser":
        """What decodes in so many steps: one step is the denoiser's alone, from no noise, as the sampler's guide is."""
        one = steps == 1 and self.config.sampler
        return replace(self, config=replace(self.config, sampler=False, init_noise=0.0)) if one else self

    def samples(self, realism: float) -> bool:
        """Whether pictures at this realism are drawn by the sampler; without one the denoiser makes them all."""
        return self.config.sampler and realism > 0

    def passes(self, steps: int, realism: float) -> int:
        """Noise levels of so many steps: the guide is the first of the sampler's steps."""
        return steps - 1 if self.samples(realism) else steps

    def schedule(self, realism: float) -> schedule.Schedule:
        """The noise schedule of decoding at this realism."""
        return schedule.get(SAMPLING_SCHEDULE if self.samples(realism) else self.config.schedule)

    def context(self, y_hat: Image, quality: int, realism: float) -> Context | None:
        """What the sampler stands on, of latents (C, H, W), once for all steps; None where it does not draw."""
        if not self.samples(realism):
            return None
        guide = self.networks.picture(y_hat, quality / QUALITY_TOP, realism).clip(-1, 1)
        return self.networks.sampling_context(guide, y_hat, quality / QUALITY_TOP)

    def start(self, noise: Image, context: Context | None, realism: float) -> Image:
        """x_1 (3, 16 H, 16 W) of standard normal noise of the same shape."""
        if context is None:
            return noise * np.float32(realism * self.config.init_noise)
        alpha, sigma = self.schedule(realism).at(1.0)
        return np.float32(alpha) * context.guide + np.float32(sigma) * context.gate * noise

    def estimate(
        self, x_t: Image, t: float, y_hat: Image, quality: int, realism: float, context: Context | None
    ) -> Image:
        """The estimate of x_0, in [-1, 1], from x_t (3, 16 H, 16 W) and y_hat (C, H, W)."""
        if context is None and t == 1.0 and realism * self.config.init_noise == 0:
            x_0 = self.networks.picture(y_hat, quality / QUALITY_TOP, realism)
        elif context is None:
            x_0 = self.networks.denoise(x_t, t, y_hat, quality / QUALITY_TOP, realism)
        else:
            x_0 = self.networks.sample(x_t, t, quality / QUALITY_TOP, context)
        return x_0.clip(-1, 1)


@dataclass(frozen=True)
class OtherDenoiser(Denoiser):
    """A denoiser from outside behind the same latents: it starts from noise alone, at any noise schedule.

    Realism scales the noise that it starts from.
    """

    function: Estimate

    @classmethod
    def behind(cls, own: Denoiser, function: Estimate, schedule_name: str) -> "OtherDenoiser":
        """It takes the place of the codec's own denoiser. Raises UsageError for an unknown schedule."""
        config = replace(own.config, schedule=schedule_name, init_noise=1.0, sampler=False)
        return cls(config, own.networks, function)

    def estimate(
        self, x_t: Image, t: float, y_hat: Image, quality: int, realism: float, context: Context | None
    ) -> Image:
        """See `Denoiser`. Raises UsageError where the function's is no finite picture of the shape of x_t."""
        x_0 = np.asarray(self.function(x_t, t, y_hat), np.float32)
        if x_0.shape != x_t.shape or not np.isfinite(x_0).all():
            raise UsageError(f"the denoiser gave an array {x_0.shape}; allowed is {x_t.shape} of finite numbers")
        return x_0.clip(-1, 1)


@dataclass(frozen=True)
class FastDenoiser(Denoiser):
    """The smaller network of the same weights, which makes the picture of one step from no noise."""

    @classmethod
    def of(cls, own: Denoiser) -> "FastDenoiser":
        """It takes the denoiser's place. Raises UsageError where the weights have none."""
        if own.config.fast is None:
            raise UsageError("these weights have no fast decoder; decode without fast")
        return cls(replace(own.config, init_noise=0.0, sampler=False), own.networks)

    def estimate(
        self, x_t: Image, t: float, y_hat: Image, quality: int, realism: float, context: Context | None
    ) -> Image:
        """See `Denoiser`: what x_t and t are makes no difference."""
        return self.networks.decode_fast(y_hat, quality / QUALITY_TOP, realism).clip(-1, 1)


def apply_realism(x_0: Image, guide: Image, realism: float) -> Image:
    """What the sampler adds to its guide g, the picture in one step at realism r, times r: g + r (x_0 - g)."""
    return guide + np.float32(realism) * (x_0 - guide)
