"""The denoiser: (x_t, t, cond) -> the network's output, a prediction of x_0, eps or v by `parametrize`.

A U-Net on patches: 1/4, 1/8 and 1/16 of the resolution, dense 3x3 convolutions, no attention, no pooling.
The latents enter at 1/16; x_t and a picture, the sketch or the guide, at 1/4; t and what the user asks for modulate
every block (FiLM). It leaves by way of 1/2, where kernels reach across the borders of the patches: straight
from 1/4 a lattice of 4 pixels stays.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regrain.diffusion.schedule import Schedule
from regrain.diffusion.unet_config import PATCH, RESIDUAL, DenoiserConfig
from regrain.layers import Embedding, PixelNorm, Upsample, conv, film_stack, icnr_, modulate, normal_

__all__ = ["Denoiser", "DenoiserConfig", "FastDecoder", "SamplingDenoiser"]


class _UNet(nn.Module):
    """The layers that both denoisers have."""

    def __init__(self, config: DenoiserConfig, cond_channels: int, *, pictures: int, scalars: int) -> None:
        """So many pictures of three channels enter together at 1/4, and so many scalars modulate the blocks."""
        super().__init__()
        quarter, eighth, sixteenth = config.widths
        self.embed = Embedding(scalars, config.embedding)
        self.patch = nn.PixelUnshuffle(PATCH)
        self.enter = conv(pictures * 3 * PATCH * PATCH, quarter)
        self.down8 = conv(quarter, eighth, stride=2)
        self.down16 = conv(eighth, sixteenth, stride=2)
        self.cond = conv(cond_channels, sixteenth)
        self.blocks16 = film_stack(sixteenth, config.depths[2], config.embedding)
        self.up8 = Upsample(sixteenth, eighth)
        self.blocks8 = film_stack(eighth, config.depths[1], config.embedding)
        self.up4 = Upsample(eighth, quarter)
        self.blocks4 = film_stack(quarter, config.depths[0], config.embedding)
        self.up2 = icnr_(conv(quarter, 4 * config.half), 2)
        self.leave = conv(config.half, 12)
        normal_(self.leave.weight, 0.003)
        icnr_(self.leave, 2)
        self.shuffle = nn.PixelShuffle(2)
        self.norm = PixelNorm()

    def _coarse(self, at4: Tensor, cond: Tensor, embedding: Tensor) -> Tensor:
        """What 1/8 and 1/16, where the latents enter, add to 1/4."""
        at8 = self.down8(nn.functional.silu(at4))
        at16 = self.down16(nn.functional.silu(at8)) + self.cond(torch.asinh(cond))
        h = modulate(self.blocks16, self.norm(at16), embedding)
        h = modulate(self.blocks8, self.norm(self.up8(self.norm(h)) + at8), embedding)
        out: Tensor = self.up4(self.norm(h)) + at4
        return out

    def _leave(self, at4: Tensor, embedding: Tensor) -> Tensor:
        """From 1/4 to the picture."""
        h = modulate(self.blocks4, self.norm(at4), embedding)
        h = self.shuffle(self.up2(nn.functional.silu(self.norm(h))))
        out: Tensor = self.shuffle(self.leave(nn.functional.silu(h)))
        return out


class Denoiser(_UNet):
    """X(x_t, t, cond): the conditional diffusion decoder's network (Yang & Mandt 2023, sec. 3), sized for a CPU."""

    def __init__(
        self, config: DenoiserConfig, cond_channels: int, sketch: Callable[[Tensor], Tensor], *, corrects: bool
    ) -> None:
        """Build for latents of `cond_channels` at 1/16.

        `sketch` maps them, (B, C, H/16, W/16), to a picture (B, 3, H, W); with `corrects` it is added to the output.
        """
        super().__init__(config, cond_channels, pictures=2, scalars=3)
        self.sketch, self.corrects = sketch, corrects

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """Predict.

        x_t (B, 3, H, W), H and W multiples of 16; t, quality, realism (B,) in [0, 1]; cond (B, C, H/16, W/16), of about
        unit variance; hard edges lie a hundred deviations out, hence asinh. Returns (B, 3, H, W).
        """
        sketch, embedding = self.sketch(cond), self.embed(torch.stack([t, quality, realism], dim=1))
        at4 = self.enter(self.patch(torch.cat([x_t, sketch], dim=1)))
        out = self._leave(self._coarse(at4, cond, embedding), embedding)
        return out + sketch if self.corrects else out


class FastDecoder(_UNet):
    """The picture of one step by a smaller network, which no noise enters: cond -> x_0."""

    def __init__(self, config: DenoiserConfig, cond_channels: int, sketch: Callable[[Tensor], Tensor]) -> None:
        """Build for latents of `cond_channels` at 1/16, of which `sketch` makes a picture, as in `Denoiser`."""
        super().__init__(config, cond_channels, pictures=1, scalars=2)
        self.sketch = sketch

    def forward(self, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """The estimate of x_0, (B, 3, H, W), of latents (B, C, H/16, W/16); quality, realism (B,) in [0, 1]."""
        sketch, embedding = self.sketch(cond), self.embed(torch.stack([quality, realism], dim=1))
        return sketch + self._leave(self._coarse(self.enter(self.patch(sketch)), cond, embedding), embedding)


class SamplingDenoiser(_UNet):
    """A denoiser of what is left open by a picture that is known, its guide g: it reads x_t at every noise level.

        x_0 = g + k d + sqrt(1 - k) F(d, t, cond, g)      d = x_t / alpha_t - g      k = s^2 / (s^2 + SNR(t)^-1)

    These are the skip and the scale of EDM (Karras et al. 2022, eq. 7) for a picture that is known but for an error of
    deviation s = RESIDUAL: where there is little noise x_0 is nearly x_t by construction, and where there is much of it
    the network speaks alone. x_t enters by a convolution of its own, which t scales channel by channel: it need not be
    as loud at t = 1, where it says nothing, as at t = 0.
    """

    def __init__(self, config: DenoiserConfig, cond_channels: int, schedule: Schedule) -> None:
        """Build for latents of `cond_channels` at 1/16."""
        super().__init__(config, cond_channels, pictures=1, scalars=2)
        quarter, self.schedule = config.widths[0], schedule
        self.enter_x = conv(3 * PATCH * PATCH, quarter)
        normal_(self.enter_x.weight, (3 * PATCH * PATCH * 9) ** -0.5)
        self.gate = nn.Linear(config.embedding, quarter)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def context(self, cond: Tensor, quality: Tensor, guide: Tensor) -> Tensor:
        """What latents and guide say at every noise level, (B, width, H/4, W/4): computed once, whatever the steps."""
        embedding = self.embed(torch.stack([torch.ones_like(quality), quality], dim=1))
        return self._coarse(self.enter(self.patch(guide)), cond, embedding)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        quality: Tensor,
        guide: Tensor,
        context: Tensor,
    ) -> Tensor:
        """The estimate of x_0, (B, 3, H, W), as x_t = alpha_t x_0 + sigma_t eps and the guide are; t, quality (B,).

        `context` is what `context` gives of the latents, this quality and this guide.
        """
        embedding = self.embed(torch.stack([t, quality], dim=1))
        noise = (-self.schedule.log_snr(t)).exp()[:, None, None, None]
        skip = RESIDUAL**2 / (RESIDUAL**2 + noise)
        apart = x_t / self.schedule.alpha(t)[:, None, None, None] - guide
        at4 = self.enter_x(self.patch(apart * (2 * RESIDUAL**2 + noise).rsqrt()))
        output = self._leave(context + at4 * (1 + self.gate(embedding))[:, :, None, None], embedding)
        return guide + skip * apart + (1 - skip).sqrt() * output.to(guide.dtype)
