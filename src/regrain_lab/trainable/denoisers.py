"""The denoisers that train behind latents that stay as they are: the student, the sampler, and the fast decoder.

A guided student takes the guidance weight w as a vector that is added to its embedding, which enters every block
through an affine map. For any one w it is therefore an ordinary denoiser, whose maps have  bias + weight g(w)  for
bias; w = 0 changes nothing in a student that has not learned. Tests hold both.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from regrain import torch_checkpoint
from regrain.conditional.torch_backend import TorchNetworks
from regrain.conditional.transform import build_fast, build_sampler
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.prior import Prior
from regrain.diffusion.student import differences, without_student
from regrain.diffusion.unet import Denoiser, SamplingDenoiser
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.layers import Embedding, FilmBlock
from regrain_lab.trainable.discriminator import Discriminator, Drift, SpectrumDrift
from regrain_lab.trainable.frozen import FrozenCodec

__all__ = ["Fast", "GuidanceEmbedding", "Sampler", "Student", "initial_sampler", "widened", "with_student"]


class GuidanceEmbedding(nn.Module):
    """g(w): the guidance weight over its largest, (B,) in [0, 1] -> (B, E), zero at first (Meng et al. 2023)."""

    def __init__(self, size: int) -> None:
        """`size` is that of the denoiser's embedding, E."""
        super().__init__()
        self.embed = Embedding(1, size)
        last = cast(nn.Linear, self.embed.mlp[2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, guidance: Tensor) -> Tensor:
        """The vector of each weight."""
        vector: Tensor = self.embed(guidance[:, None])
        return vector


class Lineage(dict[str, Any]):
    """What a checkpoint says of a network, as plain JSON types: the file that it comes from, and what shapes it."""

    def to_dict(self) -> dict[str, Any]:
        """The same, as configurations give it."""
        return {**self}


class Student(nn.Module):
    """A denoiser to train, of the teacher's shape, that estimates x_0; the denoiser's tensors are `denoiser.*`."""

    def __init__(self, teacher: FrozenCodec, *, guided: bool) -> None:
        """Copy the denoiser in float32; `guided` adds a GuidanceEmbedding."""
        super().__init__()
        config, fingerprint = teacher.config, torch_checkpoint.fingerprint(teacher.tensors).hex()
        self.config = Lineage(model=config.to_dict(), teacher=fingerprint, guided=guided)
        self.prediction, self.schedule = config.parametrization, schedule.get(config.schedule)
        self.denoiser = copy.deepcopy(teacher.networks.denoiser).requires_grad_(True)
        self.guide = GuidanceEmbedding(config.denoiser.embedding) if guided else None

    def forward(
        self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor, guidance: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, (B, 3, H, W) in the type of x_t, not clamped; arguments as Denoiser's.

        `guidance`, (B,), is the weight over its largest, in [0, 1]; a student that is not guided takes none.
        """
        vector = self.guide(guidance) if self.guide and guidance is not None else None
        with _embedding_offset(self.denoiser, vector):
            output = self.denoiser(x_t, t, cond, quality, realism).to(x_t.dtype)
        alpha, sigma = self.schedule.levels(t)
        return parametrize.to_x0(self.prediction, output, x_t, alpha, sigma)

    @torch.no_grad()
    def denoiser_at(self, guidance: float) -> Denoiser:
        """An ordinary denoiser that does what the student does at one weight over its largest."""
        denoiser = copy.deepcopy(self.denoiser)
        if self.guide is not None:
            vector = self.guide(next(self.guide.parameters()).new_tensor([guidance]))[0]
            for block in denoiser.modules():
                if isinstance(block, FilmBlock):
                    cast(Tensor, block.film.bias).add_(block.film.weight @ vector)
        return denoiser


@contextmanager
def _embedding_offset(denoiser: Denoiser, vector: Tensor | None) -> Iterator[None]:
    """Within, `vector` (B, E), if any, is added to the denoiser's embedding."""
    if vector is None:
        yield
        return
    handle = denoiser.embed.register_forward_hook(lambda _module, _scalars, embedding: embedding + vector)
    try:
        yield
    finally:
        handle.remove()


class Sampler(nn.Module):
    """A sampling denoiser to train, of the codec's file or else its denoiser with a new entry for x_t."""

    def __init__(self, codec: FrozenCodec, adversary: Sequence[int] = ()) -> None:
        """With `adversary`, the channels of the features that it sees, a discriminator and drifts go beside it."""
        super().__init__()
        self.config = Lineage(teacher=torch_checkpoint.fingerprint(codec.tensors).hex())
        self.denoiser = initial_sampler(codec.networks)
        self.adversary = Discriminator(adversary) if adversary else None
        self.drift, self.spectrum = Drift(adversary or (1,)), SpectrumDrift()


class Fast(nn.Module):
    """A fast decoder to train: the one of the codec's file, if it is of this shape, or else one that is untrained."""

    def __init__(self, codec: FrozenCodec, shape: DenoiserConfig) -> None:
        """The decoder's tensors are `decoder.*`."""
        super().__init__()
        self.config = Lineage(teacher=torch_checkpoint.fingerprint(codec.tensors).hex(), fast=asdict(shape))
        former = codec.networks.fast if codec.config.fast == shape else None
        decoder = copy.deepcopy(former) or build_fast(replace(codec.config, fast=shape))
        self.decoder = decoder.requires_grad_(True)

    def forward(self, y_hat: Tensor, quality: Tensor, realism: Tensor) -> Tensor:
        """The estimate of x_0, (B, 3, H, W), not clamped; arguments as FastDecoder's."""
        x_0: Tensor = self.decoder(y_hat, quality, realism)
        return x_0


@torch.no_grad()
def initial_sampler(networks: TorchNetworks) -> SamplingDenoiser:
    """A sampling denoiser to train: the one that is there, or else one of the denoiser's layers.

    Its guide enters as the sketch does there, realism is 1, and as it leaves by zeros it gives its guide at t = 1.
    """
    if networks.sampler is not None:
        return copy.deepcopy(networks.sampler).requires_grad_(True)
    sampler, state = build_sampler(networks.config), dict(networks.denoiser.state_dict())
    state["enter.weight"] = state["enter.weight"][:, -sampler.enter.in_channels :]
    state |= _embedding_at_realism_1(state["embed.mlp.0.weight"], state["embed.mlp.0.bias"])
    sampler.load_state_dict(sampler.state_dict() | state)
    for parameter in sampler.leave.parameters():
        nn.init.zeros_(parameter)
    return sampler.to(networks.target)


def _embedding_at_realism_1(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """The first layer of an Embedding of (t, quality, realism) as that of one of (t, quality), where realism is 1."""
    ends = torch.ones(Embedding.FREQUENCIES)
    ends[::2] = -1  # cos(pi k), k from 1 on
    knobs, realism = torch.tensor_split(weight, (2 * Embedding.FREQUENCIES,), dim=1)
    return {"embed.mlp.0.weight": knobs.clone(), "embed.mlp.0.bias": bias + realism @ ends.to(weight)}


@torch.no_grad()
def widened(prior: Prior) -> Prior:
    """A prior that takes leaps and, untrained, heeds none: it estimates what the given one does, to the bit."""
    with torch.random.fork_rng(devices=[]):
        student, name = Prior(replace(prior.config, leaps=True)), "embed.mlp.0.weight"
    state, weight = dict(prior.state_dict()), prior.state_dict()[name]
    state[name] = torch.cat([weight, weight.new_zeros(len(weight), Embedding.FREQUENCIES)], 1)
    student.load_state_dict(state)
    return student


def with_student(tensors: Mapping[str, Tensor], student: Prior) -> dict[str, Tensor]:
    """The tensors of a prior's file, to the bit, with this student in 8 bits in the place of another, if any."""
    own = without_student({name: tensor.numpy() for name, tensor in tensors.items()})
    packed = differences(own, {name: tensor.cpu().numpy() for name, tensor in student.state_dict().items()})
    return {name: torch.from_numpy(array) for name, array in (own | packed).items()}
