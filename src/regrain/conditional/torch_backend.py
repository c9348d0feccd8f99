"""The conditional codec's networks on torch, for GPUs and for research: arrays in, arrays out."""

from typing import Self

import torch
from torch import Tensor

from regrain.checkpoint import Arrays
from regrain.conditional.config import ModelConfig
from regrain.conditional.frozen import FrozenModel
from regrain.conditional.networks import Context, Image

__all__ = ["TorchNetworks"]


class TorchNetworks:
    """All networks of one weights file, on one device."""

    def __init__(self, frozen: FrozenModel) -> None:
        """Take the networks."""
        self.frozen = frozen

    @classmethod
    def build(cls, arrays: Arrays, config: ModelConfig, device: str) -> Self:
        """The networks of a weights file's arrays. Raises ModelError where they have other shapes than `config`."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(FrozenModel.build(tensors, config, device))

    @property
    def device(self) -> str:
        """The name of torch's device."""
        return str(self.frozen.device)

    def gain(self, quality: int) -> Image:
        """See `Networks`."""
        return self.frozen.latents.gain(quality).numpy()

    @torch.no_grad()
    def analysis(self, x: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        added, ground = self.frozen.analysis.parts(self._batch(x))
        return _array(added), _array(ground)

    @torch.no_grad()
    def hyper_analysis(self, gained: Image) -> Image:
        """See `Networks`."""
        return _array(self.frozen.hyper_analysis(torch.from_numpy(gained)[None]))

    @torch.no_grad()
    def hyper_synthesis(self, z_hat: Image) -> tuple[Image, Image]:
        """See `Networks`."""
        means, features = self.frozen.latents.mean(torch.from_numpy(z_hat)[None])
        return _array(means), _array(features)

    @torch.no_grad()
    def context(self, number: int, y_hat: Image, features: Image) -> Image:
        """See `Networks`."""
        return _array(
            self.frozen.latents.mean.context(number, *(torch.from_numpy(part)[None] for part in (y_hat, features)))
        )

    @torch.no_grad()
    def denoise(self, x_t: Image, t: float, y_hat: Image, quality: float, realism: float) -> Image:
        """See `Networks`."""
        return _array(self.frozen.denoise(self._batch(x_t), t, self._batch(y_hat), quality, realism))

    @torch.no_grad()
    def sampling_context(self, y_hat: Image, quality: float, realism: float) -> Context | None:
        """See `Networks`."""
        if self.frozen.sampler is None or realism == 0:
            return None
        cond, (level, share) = self._batch(y_hat), self._scalars(quality, realism)
        sampler = self.frozen.sampler_at(realism)
        return Context(sampler.context(cond, level, share), _array(sampler.sketch(cond)))

    @torch.no_grad()
    def sample(self, x_t: Image, t: float, y_hat: Image, quality: float, realism: float, context: Context) -> Image:
        """See `Networks`."""
        assert isinstance(context.features, Tensor)
        time, level, share = self._scalars(t, quality, realism)
        sampler = self.frozen.sampler_at(realism)
        return _array(sampler(self._batch(x_t), time, self._batch(y_hat), level, share, context.features))

    def _batch(self, array: Image) -> Tensor:
        """(C, H, W) -> (1, C, H, W) on the device."""
        return _channels_last(array).to(self.frozen.device)

    def _scalars(self, *values: float) -> tuple[Tensor, ...]:
        """Each (1,), on the device."""
        return tuple(torch.tensor(values, dtype=torch.float32, device=self.frozen.device)[:, None])


def _channels_last(array: Image) -> Tensor:
    """(C, H, W) -> (1, C, H, W)."""
    return torch.from_numpy(array)[None].contiguous(memory_format=torch.channels_last)


def _array(batch: Tensor) -> Image:
    """(1, C, H, W) -> (C, H, W) in memory."""
    array: Image = batch[0].cpu().numpy()
    return array
