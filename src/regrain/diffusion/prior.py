"""The unconditional diffusion model: what a picture is likely to be, given it under noise alone.

    v = prior(x_t, log_snr),   x_0 = alpha_t x_t - sigma_t v,   alpha_t^2 = sigmoid(log_snr) = 1 - sigma_t^2

or with eps or x_0 itself in the place of v, as `parametrize` reads them. A step t -> s has the variance of beta_tilde,
or a learned one between beta_tilde (nu = 0) and beta (nu = 1), of which the network gives the fraction nu:

    variance = beta_tilde (sigma_t / sigma_s)^(2 nu)        (Nichol and Dhariwal 2021, eq. 15)

It is told the noise level itself, so that any schedule and any grid of times may be used with it. A U-Net at 1/2, 1/4
and 1/8 of the resolution, dense 3x3 convolutions, no attention, no norm over space: any size, in windows if need be.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from regrain import checkpoint, configuration, torch_checkpoint
from regrain.checkpoint import Arrays
from regrain.diffusion import student
from regrain.diffusion.parametrize import Prediction, to_x0
from regrain.diffusion.schedule import LOG_SNR_MAX, REACH
from regrain.diffusion.unconditional_config import HALO, KIND, STRIDE, PriorConfig
from regrain.errors import ModelError, UsageError
from regrain.layers import Array, Embedding, PixelNorm, Upsample, conv, film_stack, modulate, on_arrays

__all__ = ["HALO", "KIND", "STRIDE", "Prior", "PriorConfig", "TorchDenoiser", "levels"]


class Prior(nn.Module):
    """x_0, eps or v (Salimans and Ho 2022) by a small U-Net (Ho et al. 2020 without attention)."""

    def __init__(self, config: PriorConfig) -> None:
        """Build untrained; it starts as 0: of v, that is the best guess that knows nothing but x_t's scale."""
        super().__init__()
        self.config = config
        half, quarter, eighth = config.widths
        stacks = [(*shape, config.embedding) for shape in zip(config.widths, config.depths, strict=True)]
        self.embed = Embedding(1 + config.leaps, config.embedding)
        values = config.channels * config.patch**2
        self.patch = nn.PixelUnshuffle(config.patch)
        self.enter = conv(values, half)
        self.down2, self.up2 = film_stack(*stacks[0]), film_stack(*stacks[0])
        self.down4, self.up4 = film_stack(*stacks[1]), film_stack(*stacks[1])
        self.blocks8 = film_stack(*stacks[2])
        self.to4 = conv(half, quarter, stride=2)
        self.to8 = conv(quarter, eighth, stride=2)
        self.from8 = Upsample(eighth, quarter)
        self.from4 = Upsample(quarter, half)
        self.leave = conv(half, 2 * values if config.learned_variance else values)
        nn.init.zeros_(self.leave.weight)
        self.shuffle = nn.PixelShuffle(config.patch)
        self.norm = PixelNorm()

    @property
    def prediction(self) -> Prediction:
        """What `forward` returns."""
        return cast(Prediction, self.config.prediction)

    def forward(self, x_t: Tensor, log_snr: Tensor, leap: Tensor | None = None) -> Tensor:
        """x_t (B, 3, H, W), sides multiples of 4 patches; log_snr (B,), within +-20 -> the prediction (B, 3, H, W).

        `leap` (B,), for a network that takes leaps, is how far the step goes in log-SNR (None: no way, which is what
        other networks predict); the prediction is then what one DDIM step needs to arrive where many would.
        """
        return self.with_fraction(x_t, log_snr, leap)[0]

    def with_fraction(self, x_t: Tensor, log_snr: Tensor, leap: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The prediction and nu, (B, 3, H, W) both, arguments as `forward` has them.

        nu is for any step from log_snr on. It is 0.5 untrained and not held within [0, 1]; 0 if it is not learned.
        """
        out = self._network(x_t, log_snr, leap)
        channels = self.config.channels
        nu = (1 + out[:, channels:]) / 2 if self.config.learned_variance else out.new_zeros(()).expand_as(out)
        return out[:, :channels], nu

    def features(self, x_t: Tensor, log_snr: Tensor) -> list[Tensor]:
        """Hidden layers on the way down, (B, width, H/k, W/k) for k of 2, 4 and 8; arguments as `forward` has them."""
        return self._down(x_t, self._embedding(log_snr, None))

    def _embedding(self, log_snr: Tensor, leap: Tensor | None) -> Tensor:
        scalars = [0.5 + log_snr / (2 * LOG_SNR_MAX)]
        if self.config.leaps:
            scalars.append(log_snr.new_zeros(()).expand_as(log_snr) if leap is None else (leap / REACH).clamp(max=1))
        return cast(Tensor, self.embed(torch.stack(scalars, 1)))

    def _down(self, x_t: Tensor, embedding: Tensor) -> list[Tensor]:
        at2 = modulate(self.down2, self.enter(self.patch(x_t)), embedding)
        at4 = modulate(self.down4, self.norm(self.to4(nn.functional.silu(at2))), embedding)
        return [at2, at4, modulate(self.blocks8, self.norm(self.to8(nn.functional.silu(at4))), embedding)]

    def _network(self, x_t: Tensor, log_snr: Tensor, leap: Tensor | None) -> Tensor:
        embedding = self._embedding(log_snr, leap)
        at2, at4, h = self._down(x_t, embedding)
        h = modulate(self.up4, self.norm(self.from8(self.norm(h)) + at4), embedding)
        h = modulate(self.up2, self.norm(self.from4(self.norm(h)) + at2), embedding)
        out: Tensor = self.shuffle(self.leave(nn.functional.silu(self.norm(h))))
        return out

    def denoise(self, x_t: Tensor, log_snr: Tensor, leap: Tensor | None = None) -> Tensor:
        """The estimate of x_0 (B, 3, H, W), not clamped; arguments as `forward` has them."""
        return to_x0(self.prediction, self(x_t, log_snr, leap), x_t, *levels(log_snr))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a shipped weights file, on the CPU, for evaluation. Raises ModelError if it is not one of a prior."""
        tensors, metadata = torch_checkpoint.load(path)
        if metadata.get("kind") != KIND:
            raise ModelError(f"{path}: not weights of an unconditional prior")
        try:
            own = {name: tensor for name, tensor in tensors.items() if not name.startswith(student.PREFIX)}
            return cls.filled(PriorConfig.from_dict(metadata.get("config")), own)
        except (ModelError, UsageError) as error:
            raise ModelError(f"{path}: not weights of this prior: {error}") from None

    @classmethod
    def filled(cls, config: PriorConfig, tensors: Mapping[str, Tensor]) -> Self:
        """The prior of a configuration and its tensors. Raises ModelError where they do not fit it."""
        return torch_checkpoint.network(lambda: cls(config), tensors, layers=configuration.depth(config))

    @classmethod
    def load_pair(cls, path: Path) -> tuple[Self, Self | None]:
        """The prior of a weights file and its student for few steps, if it has one. Raises ModelError as `load`."""
        prior = cls.load(path)
        arrays, _ = checkpoint.load(path)
        restored = student.restore(arrays)
        if restored is None:
            return prior, None
        tensors = {name: torch.from_numpy(array) for name, array in restored.items()}
        return prior, cls.filled(replace(prior.config, leaps=True), tensors)


class TorchDenoiser:
    """A prior on one of torch's devices, arrays in and out: on torch what `onnx.unconditional.Denoiser` is."""

    def __init__(self, prior: Prior, device: str) -> None:
        """Move the network to the device."""
        self.prior, self.device = prior.to(torch.device(device)), device

    @classmethod
    def build(cls, config: PriorConfig, weights: Arrays, device: str) -> Self:
        """The denoiser of arrays named as in Prior's state dict. Raises ModelError where they do not fit."""
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
        return cls(Prior.filled(config, tensors), device)

    def denoise(self, x_t: Array, log_snr: float, leap: float = 0.0) -> Array:
        """The estimate of x_0 (C, H, W), not clamped, from x_t (C, H, W), whose sides are multiples of 4 patches.

        `leap` is how far a network that takes leaps goes in log-SNR.
        """

        def estimate(batch: Tensor) -> Tensor:
            level, length = (batch.new_full((1,), value) for value in (log_snr, leap))
            return self.prior.denoise(batch, level, length)

        return on_arrays(estimate, self.device)(x_t)


def levels(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, (B, 1, 1, 1) both, at log_snr (B,): clamped as a schedule's is, for eps divides by alpha."""
    log_snr = log_snr.clamp(-LOG_SNR_MAX, LOG_SNR_MAX)[:, None, None, None]
    return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
