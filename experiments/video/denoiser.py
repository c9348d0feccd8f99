"""A denoiser of clips: the prior of single pictures, frame by frame, and layers between frames that start at zero.

    v = network(x_t, log_snr, known, mask)      clips are (B, F, 3, H, W), mask (B, F) is 1 where a frame is known

Each frame passes through the U-Net of `diffusion.prior`, with its weights. After every stack at 1/4 and 1/8 attention
over the F frames of a place adds what it learned, at first nothing (LaVie, Wang et al. 2023, arXiv:2309.15103). Beside
x_t enter the known frames and the mask, which is random in training (SEINE, Chen et al. 2023, arXiv:2310.20700), by a
convolution that starts at zero too. In the place of an unknown frame SEINE has zeros; here stands the mix in time of
the nearest known frames, which a short training need not learn first.
"""

import copy
from typing import Final

import torch
from torch import Tensor, nn

from regrain.diffusion.parametrize import to_x0
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import LOG_SNR_MAX
from regrain.layers import PixelNorm, conv, modulate

__all__ = ["FRAMES", "ClipDenoiser", "FrameAttention", "blend", "masks"]

FRAMES: Final = 8
HEADS: Final = 4


class FrameAttention(nn.Module):
    """What a place sees of itself in the other frames, added to it: (B F, C, h, w) -> the same; nothing at first."""

    def __init__(self, width: int) -> None:
        """Build for features of `width` channels."""
        super().__init__()
        self.norm, self.place = PixelNorm(), nn.Parameter(0.1 * torch.randn(FRAMES, width))
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Add the attention's output."""
        size = x.shape[1:]
        tokens = self.norm(x).unflatten(0, (-1, FRAMES)).flatten(3).permute(0, 3, 1, 2) + self.place
        query, key, value = self.enter(tokens).unflatten(-1, (3, HEADS, -1)).permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        mixed = self.leave(mixed.unflatten(0, tokens.shape[:2]).transpose(2, 3).flatten(3))
        return x + mixed.permute(0, 2, 3, 1).reshape(-1, *size)


class ClipDenoiser(nn.Module):
    """v of a clip, given its known frames."""

    def __init__(self, prior: Prior) -> None:
        """Begin as the prior, frame by frame."""
        super().__init__()
        self.prior = copy.deepcopy(prior).requires_grad_(True)
        half, quarter, eighth = prior.config.widths
        self.known = conv(4 * prior.config.patch**2, half)
        nn.init.zeros_(self.known.weight)
        if self.known.bias is not None:
            nn.init.zeros_(self.known.bias)
        self.between = nn.ModuleList(FrameAttention(width) for width in (quarter, eighth, quarter))

    def forward(self, x_t: Tensor, log_snr: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """x_t and `known` as above, log_snr (B,): the prediction of v (B, F, 3, H, W)."""
        prior, silu = self.prior, nn.functional.silu
        embedding = prior.embed((0.5 + log_snr / (2 * LOG_SNR_MAX))[:, None]).repeat_interleave(FRAMES, 0)
        clean = torch.cat([known, mask[..., None, None, None].expand_as(known[:, :, :1])], 2).flatten(0, 1)
        entered = prior.enter(prior.patch(x_t.flatten(0, 1))) + self.known(prior.patch(clean))
        at2 = modulate(prior.down2, entered, embedding)
        at4 = self.between[0](modulate(prior.down4, prior.norm(prior.to4(silu(at2))), embedding))
        h = self.between[1](modulate(prior.blocks8, prior.norm(prior.to8(silu(at4))), embedding))
        h = self.between[2](modulate(prior.up4, prior.norm(prior.from8(prior.norm(h)) + at4), embedding))
        h = modulate(prior.up2, prior.norm(prior.from4(prior.norm(h)) + at2), embedding)
        v: Tensor = prior.shuffle(prior.leave(silu(prior.norm(h))))
        return v.unflatten(0, (-1, FRAMES)).to(x_t.dtype)

    def denoise(self, x_t: Tensor, log_snr: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """The estimate of the clip, with the known frames in their places."""
        alpha, sigma = (level[:, None] for level in levels(log_snr))
        x_0 = to_x0(self.prior.prediction, self(x_t, log_snr, known, mask), x_t, alpha, sigma).clamp(-1, 1)
        return torch.where(mask[..., None, None, None] > 0, known, x_0)


def masks(count: int) -> Tensor:
    """Which frames are known, (count, F): the two ends for most clips, some frames at random for the others."""
    mask = (torch.rand(count, FRAMES) < 0.3).float()
    ends = torch.zeros(FRAMES)
    ends[[0, -1]] = 1
    chosen = (torch.rand(count) < 0.7) | (mask.sum(1) == 0)
    return torch.where(chosen[:, None], ends, mask)


def blend(clip: Tensor, mask: Tensor) -> Tensor:
    """The clip (B, F, 3, H, W) with every unknown frame a mix of the nearest known ones before and after it."""
    weights = torch.zeros(len(clip), FRAMES, FRAMES)
    for row, known in zip(weights, mask.bool(), strict=True):
        places = known.nonzero()[:, 0].tolist()
        for frame in range(FRAMES):
            before = max((p for p in places if p <= frame), default=places[0])
            after = min((p for p in places if p >= frame), default=places[-1])
            share = (frame - before) / (after - before) if after > before else 0.0
            row[frame, before] += 1 - share
            row[frame, after] += share
    return torch.einsum("bfg,bgchw->bfchw", weights, clip)
