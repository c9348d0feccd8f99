"""The conditional codec's networks on torch, for GPUs and for research: arrays in, arrays out."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import as_file
from typing import Final, Self

import numpy as np
import pytorch_msssim
import torch
from torch import Tensor

from regrain import checkpoint, configuration
from regrain.bitstream import Method
from regrain.checkpoint import Arrays
from regrain.conditional.config import STRIDE, ModelConfig
from regrain.conditional.edges import noise_gate
from regrain.conditional.networks import Context, Image, Terms, View
from regrain.conditional.texture import TERMS, Texture
from regrain.conditional.transform import (
    Analysis,
    HyperAnalysis,
    MeanBranch,
    build_denoiser,
    build_fast,
    build_sampler,
)
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.prior import Prior
from regrain.diffusion.unet import Denoiser, FastDecoder, SamplingDenoiser
from regrain.layers import bfloat16_units
from regrain.loading import TURN
from regrain.shipped import shipped_weights
from regrain.torch_checkpoint import network

__all__ = ["TorchNetworks"]

SIMILAR_LEAST: Final = 161
"""Pixels of the shortest side that MS-SSIM has five scales of."""


@dataclass(eq=False)
class TorchNetworks:
    """All networks of one weights file as torch's modules. `target` is the device of g_a and of the denoisers.

    h_a and h_s stay on the CPU, so that a file's bytes do not depend on a GPU's rounding.
    """

    config: ModelConfig
    target: torch.device
    g_a: Analysis
    h_a: HyperAnalysis
    h_s: MeanBranch
    denoiser: Denoiser
    sampler: SamplingDenoiser | None
    fast: FastDecoder | None

    @classmethod
    def build(cls, arrays: Arrays, config: ModelConfig, device: str = "cpu") -> Self:
        """The networks of a weights file's arrays. Raises ModelError where they have other shapes than `config`."""
        tensors = {name: torch.from_numpy(array) for name, array in checkpoint.from_8_bits(arrays).items()}
        shape, target, depth = config.transform, torch.device(device), configuration.depth(config)
        return cls(
            config=config,
            target=target,
            g_a=network(lambda: Analysis(shape), tensors, "analysis.").to(target),
            h_a=network(lambda: HyperAnalysis(shape), tensors, "hyper_analysis."),
            h_s=network(lambda: MeanBranch(shape), tensors, "latents.mean."),
            denoiser=network(lambda: build_denoiser(config), tensors, "denoiser.", layers=depth).to(target),
            sampler=network(lambda: build_sampler(config), tensors, "sampler.").to(target) if config.sampler else None,
            fast=network(lambda: build_fast(config), tensors, "fast.", layers=depth).to(target)
            if config.fast
            else None,
        )

    @property
    def device(self) -> str:
        """The name of torch's device."""
        return str(self.target)

    @torch.no_grad()
    def analysis(self, x: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        added, ground = self.g_a.parts(self._batch(x))
        return _array(added), _array(ground)

    @torch.no_grad()
    def hyper_analysis(self, gained: Image) -> Image:
        """See `Networks`."""
        return _array(self.h_a(torch.from_numpy(gained)[None]))

    @torch.no_grad()
    def hyper_synthesis(self, z_hat: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        means, features = self.h_s(torch.from_numpy(z_hat)[None])
        return _array(means), _array(features)

    @torch.no_grad()
    def context(self, number: int, y_hat: Image, features: Image) -> Image:
        """See `Networks`."""
        return _array(self.h_s.context(number, torch.from_numpy(y_hat)[None], torch.from_numpy(features)[None]))

    @torch.no_grad()
    def denoise(self, x_t: Image, t: float, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        return _array(self.estimate(self._batch(x_t), t, self._batch(y_hat), *self._scalars(quality, realism)))

    def picture(self, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`; in floats."""
        blank = np.zeros((3, STRIDE * y_hat.shape[1], STRIDE * y_hat.shape[2]), np.float32)
        return self.denoise(blank, 1.0, y_hat, quality, realism)

    def estimate(self, x_t: Tensor, t: float, y_hat: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """The denoiser's estimate of x_0 (B, 3, H, W), with gradients, of x_t, latents and knobs (B,)."""
        output = self.denoiser(x_t, torch.full_like(quality, t), y_hat, quality, realism).float()
        alpha, sigma = schedule.get(self.config.schedule).at(t)
        return parametrize.to_x0(self.config.parametrization, output, x_t, alpha, sigma)

    @torch.no_grad()
    def decode_fast(self, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        assert self.fast is not None
        return _array(self.fast(self._batch(y_hat), *self._scalars(quality, realism)).float())

    @torch.no_grad()
    def sampling_context(self, guide: Image, y_hat: Image, quality: float) -> Context:
        """See `Networks`."""
        assert self.sampler is not None
        (level,) = self._scalars(quality)
        features = self.sampler.context(self._batch(y_hat), level, self._batch(guide))
        return Context(guide, features, noise_gate(guide))

    @torch.no_grad()
    def sample(self, x_t: Image, t: float, quality: float, context: Context) -> Image:
        """See `Networks`."""
        assert self.sampler is not None
        assert isinstance(context.features, Tensor)
        time, level = self._scalars(t, quality)
        return _array(self.sampler(self._batch(x_t), time, level, self._batch(context.guide), context.features))

    @torch.no_grad()
    def distortion(self, view: View, quality: float, realism: float, weights: Terms) -> Terms:
        """See `Differentiable`."""
        with self._autocast(short=False):
            terms = self._distortion(self._batch(view.y_hat), view, (quality, realism), weights, 0)
        return np.asarray(terms.numpy())

    def descend(self, view: View, quality: float, realism: float, weights: Terms, draw: int) -> Image:
        """See `Differentiable`; in bfloat16 where the processor computes in it, at half the time."""
        leaf = self._batch(view.y_hat).requires_grad_()
        with torch.enable_grad(), self._autocast(short=bfloat16_units(self.target)):
            terms = self._distortion(leaf, view, (quality, realism), weights, draw)
        (gradient,) = torch.autograd.grad(terms @ torch.from_numpy(weights), leaf)
        return _array(gradient)

    def _distortion(self, y_hat: Tensor, view: View, knobs: tuple[float, float], weights: Terms, draw: int) -> Tensor:
        """The terms, (DISTORTIONS,), float64, on the CPU. One step starts from no noise, which it would ignore."""
        height, width = y_hat.shape[2:]
        x_t = y_hat.new_zeros(1, 3, height * STRIDE, width * STRIDE)
        x_0 = self.estimate(x_t, 1.0, y_hat, *self._scalars(*knobs))
        picture, target = x_0[:, :, *view.core].clamp(-1, 1), self._batch(view.target)
        error = _exact((picture - target).square().sum())
        unlike, textures = error.new_zeros(()), error.new_zeros(TERMS)
        if weights[1] and min(view.target.shape[1:]) >= SIMILAR_LEAST:
            with self._autocast(short=False):
                unlike = 1 - _exact(pytorch_msssim.ms_ssim(127.5 * picture + 127.5, 127.5 * target + 127.5))
        if weights[2:].any():
            textures = _exact(self.texture.distances(picture, target, draw))
        return torch.cat([error[None], view.target.size * torch.cat([unlike[None], textures])])

    @cached_property
    def texture(self) -> Texture:
        """What compares textures, of the package's prior."""
        return Texture(_prior(str(self.target)), self.g_a)

    def _autocast(self, *, short: bool) -> torch.autocast:
        return torch.autocast(self.target.type, torch.bfloat16, enabled=short)

    def _batch(self, array: Image) -> Tensor:
        """(C, H, W) -> (1, C, H, W) on the device."""
        return torch.from_numpy(array)[None].contiguous(memory_format=torch.channels_last).to(self.target)

    def _scalars(self, *values: float) -> tuple[Tensor, ...]:
        """Each (1,), on the device."""
        return tuple(torch.tensor(values, dtype=torch.float32, device=self.target)[:, None])


@lru_cache(maxsize=1)
def _prior(device: str) -> Prior:
    """The package's, which stays for the next picture."""
    with TURN, torch.inference_mode(False), as_file(shipped_weights(Method.PROGRESSIVE)) as path:
        return Prior.load(path).to(torch.device(device))


def _exact(values: Tensor) -> Tensor:
    """In float64 on the CPU: not every device has it."""
    return values.cpu().double()


def _array(batch: Tensor) -> Image:
    """(1, C, H, W) -> (C, H, W) in memory."""
    array: Image = batch[0].cpu().numpy()
    return array
