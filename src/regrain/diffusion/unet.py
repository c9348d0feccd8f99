"""The denoiser: (x_t, t, cond) -> the network's output, a prediction of x_0, eps or v by `parametrize`.

A U-Net on patches: 1/4, 1/8 and 1/16 of the resolution, dense 3x3 convolutions, no attention, no pooling.
The latents enter at 1/16, x_t and a sketch, what the latents alone say of the picture, at 1/4; t, quality and realism
modulate every block (FiLM). It leaves by way of 1/2, where kernels reach across the borders of the patches: straight
from 1/4 a lattice of 4 pixels stays.
"""

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from regrain.diffusion.schedule import Schedule
from regrain.diffusion.unet_config import PATCH, RESIDUAL, DenoiserConfig
from regrain.layers import Embedding, FilmBlock, PixelNorm, Upsample, conv, icnr_, normal_

__all__ = ["Denoiser", "DenoiserConfig", "SamplingDenoiser"]


class Denoiser(nn.Module):
    """X(x_t, t, cond): the conditional diffusion decoder's network (Yang & Mandt 2023, sec. 3), sized for a CPU."""

    def __init__(
        self, config: DenoiserConfig, cond_channels: int, sketch: Callable[[Tensor], Tensor], *, corrects: bool
    ) -> None:
        """Build for latents of `cond_channels` at 1/16.

        `sketch` maps them, (B, C, H/16, W/16), to a picture (B, 3, H, W); with `corrects` it is added to the output.
        """
        super().__init__()
        self.sketch, self.corrects = sketch, corrects
        quarter, eighth, sixteenth = config.widths
        self.embed = Embedding(3, config.embedding)
        self.patch = nn.PixelUnshuffle(PATCH)
        self.enter = conv(2 * 3 * PATCH * PATCH, quarter)
        self.down8 = conv(quarter, eighth, stride=2)
        self.down16 = conv(eighth, sixteenth, stride=2)
        self.cond = conv(cond_channels, sixteenth)
        self.blocks16 = self._stack(sixteenth, config.depths[2], config.embedding)
        self.up8 = Upsample(sixteenth, eighth)
        self.blocks8 = self._stack(eighth, config.depths[1], config.embedding)
        self.up4 = Upsample(eighth, quarter)
        self.blocks4 = self._stack(quarter, config.depths[0], config.embedding)
        self.up2 = icnr_(conv(quarter, 4 * config.half), 2)
        self.leave = conv(config.half, 12)
        normal_(self.leave.weight, 0.003)
        icnr_(self.leave, 2)
        self.shuffle = nn.PixelShuffle(2)
        self.norm = PixelNorm()

    @staticmethod
    def _stack(width: int, depth: int, embedding: int) -> nn.ModuleList:
        return nn.ModuleList(FilmBlock(width, embedding) for _ in range(depth))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """Predict.

        x_t (B, 3, H, W), H and W multiples of 16; t, quality, realism (B,) in [0, 1]; cond (B, C, H/16, W/16), of about
        unit variance; hard edges lie a hundred deviations out, hence asinh. Returns (B, 3, H, W).
        """
        sketch = self.sketch(cond)
        at4 = self.enter(self.patch(torch.cat([x_t, sketch], dim=1)))
        return self._onwards(at4, cond, sketch, _modulate(self.embed(torch.stack([t, quality, realism], dim=1))))

    @torch.no_grad()
    def infer(self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """As `forward`, of one picture, without gradients, for a little less time.

        FiLM is folded into the convolution before it, and an x_t that is 0 everywhere, as at t = 1 without realism, is
        not read.
        """
        sketch = self.sketch(cond)
        if x_t.any():
            at4 = self.enter(self.patch(torch.cat([x_t, sketch], dim=1)))
        else:
            weight = self.enter.weight[:, self.enter.in_channels // 2 :]
            at4 = nn.functional.conv2d(self.patch(sketch), weight, self.enter.bias, padding=1)
        return self._onwards(at4, cond, sketch, _fold(self.embed(torch.stack([t, quality, realism], dim=1))))

    def _onwards(self, at4: Tensor, cond: Tensor, sketch: Tensor, through: "_Through") -> Tensor:
        """From 1/4, where x_t and the sketch have entered, to the output; each block by `through`."""
        out = self._leave(self._coarse(at4, cond, through), through)
        return out + sketch if self.corrects else out

    def _coarse(self, at4: Tensor, cond: Tensor, through: "_Through") -> Tensor:
        """What 1/8 and 1/16, where the latents enter, add to 1/4."""
        at8 = self.down8(nn.functional.silu(at4))
        at16 = self.down16(nn.functional.silu(at8)) + self.cond(torch.asinh(cond))
        h = reduce(through, self.blocks16, self.norm(at16))
        h = reduce(through, self.blocks8, self.norm(self.up8(self.norm(h)) + at8))
        out: Tensor = self.up4(self.norm(h)) + at4
        return out

    def _leave(self, at4: Tensor, through: "_Through") -> Tensor:
        """From 1/4 to the picture."""
        h = reduce(through, self.blocks4, self.norm(at4))
        h = self.shuffle(self.up2(nn.functional.silu(self.norm(h))))
        out: Tensor = self.shuffle(self.leave(nn.functional.silu(h)))
        return out


class SamplingDenoiser(Denoiser):
    """A denoiser that reads x_t at every noise level, so that its samples differ with the noise.

        x_0 = sketch + k d + sqrt(1 - k) F(d, t, cond)      d = x_t / alpha_t - sketch      k = s^2 / (s^2 + SNR(t)^-1)

    These are the skip and the scale of EDM (Karras et al. 2022, eq. 7) for a picture that is known but for an error of
    deviation s = realism RESIDUAL: where there is little noise x_0 is nearly x_t by construction, and where there is
    much of it the network speaks alone. x_t enters by a convolution of its own, which t scales channel by channel: it
    need not be as loud at t = 1, where it says nothing, as at t = 0.
    """

    def __init__(
        self, config: DenoiserConfig, cond_channels: int, sketch: Callable[[Tensor], Tensor], schedule: Schedule
    ) -> None:
        """Build for latents of `cond_channels` at 1/16; `sketch` as in Denoiser."""
        super().__init__(config, cond_channels, sketch, corrects=False)
        quarter, self.schedule = config.widths[0], schedule
        self.enter = conv(3 * PATCH * PATCH, quarter)
        self.enter_x = conv(3 * PATCH * PATCH, quarter)
        normal_(self.enter_x.weight, (3 * PATCH * PATCH * 9) ** -0.5)
        self.gate = nn.Linear(config.embedding, quarter)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def context(self, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """What the latents say at every noise level alike, (B, width, H/4, W/4): computed once, whatever the steps."""
        return self._context(cond, quality, realism, _modulate)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        cond: Tensor,
        quality: Tensor,
        realism: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """The estimate of x_0, (B, 3, H, W); arguments as Denoiser's, x_t = alpha_t x_0 + sigma_t eps.

        `context` is that of these latents and knobs, where it is known already.
        """
        context = self.context(cond, quality, realism) if context is None else context
        return self._estimate(x_t, cond, (t, quality, realism), context, _modulate)

    @torch.no_grad()
    def infer(
        self,
        x_t: Tensor,
        t: Tensor,
        cond: Tensor,
        quality: Tensor,
        realism: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, of one picture, without gradients, for a little less time."""
        context = self.infer_context(cond, quality, realism) if context is None else context
        return self._estimate(x_t, cond, (t, quality, realism), context, _fold)

    @torch.no_grad()
    def infer_context(self, cond: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """As `context`, of one picture, without gradients."""
        return self._context(cond, quality, realism, _fold)

    def _context(self, cond: Tensor, quality: Tensor, realism: Tensor, blocks: "_Blocks") -> Tensor:
        embedding = self.embed(torch.stack([torch.ones_like(quality), quality, realism], dim=1))
        return self._coarse(self.enter(self.patch(self.sketch(cond))), cond, blocks(embedding))

    def _estimate(
        self, x_t: Tensor, cond: Tensor, knobs: tuple[Tensor, Tensor, Tensor], context: Tensor, blocks: "_Blocks"
    ) -> Tensor:
        t, realism, embedding = knobs[0], knobs[2], self.embed(torch.stack(knobs, dim=1))
        sketch, noise = self.sketch(cond), (-self.schedule.log_snr(t)).exp()[:, None, None, None]
        known = (RESIDUAL * realism[:, None, None, None]).square()
        skip = known / (known + noise)
        apart = x_t / self.schedule.alpha(t)[:, None, None, None] - sketch
        at4 = self.enter_x(self.patch(apart * (2 * RESIDUAL**2 + noise).rsqrt()))
        output = self._leave(context + at4 * (1 + self.gate(embedding))[:, :, None, None], blocks(embedding))
        return sketch + skip * apart + (1 - skip).sqrt() * output.to(sketch.dtype)


_Through: TypeAlias = Callable[[Tensor, nn.Module], Tensor]
"""x and a block to what the block makes of x."""
_Blocks: TypeAlias = Callable[[Tensor], _Through]
"""An embedding to how blocks are computed with it."""


def _modulate(embedding: Tensor) -> _Through:
    """Blocks as they are, modulated by embeddings (B, E)."""
    return lambda x, block: cast(Tensor, block(x, embedding))


def _fold(embedding: Tensor) -> _Through:
    """The same for an embedding (1, E), whose FiLM goes into the weights of each block's first convolution:

    scale (w x + b) + shift = (scale w) x + (scale b + shift)
    """

    def through(x: Tensor, module: nn.Module) -> Tensor:
        """The block of x."""
        block = cast(FilmBlock, module)
        scale, shift = block.film(embedding)[0].chunk(2)
        weight, bias = block.conv1.weight * (1 + scale)[:, None, None, None], block.conv1.bias * (1 + scale) + shift
        hidden = nn.functional.conv2d(nn.functional.silu(x), weight, bias, padding=1)
        out: Tensor = block.conv2(nn.functional.silu(hidden, inplace=True))
        return out.add_(x)

    return through
