"""The student: the denoiser of a codec whose latents are frozen, and the weights file that it comes from.

    y_hat = (round(gain g_a(x) - mean) + mean) / gain          as a file gives it: rounded, no noise

Guided, it is told the weight w by a vector added to its embedding, which enters every block through an affine map. For
any one w it is an ordinary denoiser therefore, whose maps have  bias + weight g(w)  for bias; w = 0 changes nothing in
a student that has not learned. Both are held by the tests, and that y_hat is what encoding and decoding give.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.conditional.coding_order import CodingStep
from regrain.conditional.config import HYPER_MAX
from regrain.conditional.encode import corrected
from regrain.conditional.frozen import Model
from regrain.conditional.transform import HyperAnalysis, MeanBranch, interpolate
from regrain.conditional.walk import walk
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet import Denoiser
from regrain.entropy.exact import QUALITY_TOP, ScaleBranch, interpolate_offsets
from regrain.errors import ModelError
from regrain.layers import Embedding, FilmBlock
from regrain_lab.training.trainee import with_network

__all__ = ["DENOISER", "Guide", "Origin", "Student", "quantised"]

DENOISER = "denoiser."


@dataclass(frozen=True)
class Origin:
    """A weights file that students come from: its tensors, what it says of itself, and the codec that it holds."""

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]
    model: Model

    @classmethod
    def load(cls, path: Path | None, device: torch.device) -> Self:
        """Read it; None is the package's. Raises ModelError if it is missing, damaged, or of another kind."""
        if path is not None and not path.exists():
            raise ModelError(f"{path}: no weights there; teacher is a file of weights, or empty for the package's")
        with as_file(registry.shipped_weights(Method.CONDITIONAL)) as shipped:
            model = Model.load(path or shipped, str(device))
            tensors, about = checkpoint.load(path or shipped)
        if model.config.prediction == "eps":
            raise ModelError(
                f"{path or 'the package'}: it predicts eps, which at t = 1 says nothing of x_0; x0 and v are allowed"
            )
        return cls(tensors, about, model)

    def with_denoiser(self, denoiser: Denoiser) -> dict[str, Tensor]:
        """The file's tensors, to the bit, but for the denoiser's, which are these as float16."""
        return with_network(self.tensors, DENOISER, denoiser)


@torch.no_grad()
def quantised(model: Model, x: Tensor, quality: Tensor) -> Tensor:
    """y_hat (B, C, H/16, W/16) of x (B, 3, H, W), sides multiples of 64, as a file of each quality (B,) would give it.

    Qualities are in [0, 1], as a file can say them: wholes over QUALITY_TOP. Never under autocast, as in encoding; what
    is said of files holds to the bit on a CPU.
    """
    latents = model.latents
    scale, mean, hyper_analysis = _beside(model, x.device)
    with torch.autocast(x.device.type, enabled=False):
        gain = interpolate(latents.log_gain.to(x.device), quality).exp()[:, :, None, None]
        added, ground = model.analysis.parts(x)
        parts = zip(*(batch.cpu().numpy() for batch in (added, ground, x)), strict=True)
        gained = gain * torch.from_numpy(np.stack([corrected(*each)[0] for each in parts])).to(x.device)
        z_hat = hyper_analysis(gained).round().clamp(-HYPER_MAX, HYPER_MAX)
        offset = interpolate_offsets(latents.offset, (quality.double() * QUALITY_TOP).round().long().cpu())

        def rounded(part: CodingStep, mean: Tensor, _index: Tensor) -> Tensor:
            """The symbols that an encoder writes."""
            symbols: Tensor = (gained[:, part.channels] - mean).round()
            return symbols

        size = gained.shape[2], gained.shape[3]
        walked = walk(scale, mean, z_hat, gain, offset.to(x.device), size, rounded)
        y_hat: Tensor = (walked.symbols + walked.mean) / gain
    return y_hat


def _beside(model: Model, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    """What of the latents coding runs on the CPU always; training, which needs no wall, has copies on its device."""
    if device.type == "cpu":
        return model.latents.scale, model.latents.mean, model.hyper_analysis
    return _copied(model, device)


@lru_cache(maxsize=1)
def _copied(model: Model, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    with torch.inference_mode(False):
        scale, mean, hyper_analysis = copy.deepcopy((model.latents.scale, model.latents.mean, model.hyper_analysis))
        return scale.to(device), mean.to(device), hyper_analysis.to(device)


class Guide(nn.Module):
    """g(w): the guidance weight over its largest, (B,) in [0, 1] -> (B, E), zero at first (Meng et al. 2023)."""

    def __init__(self, size: int) -> None:
        """Set the embedding's size."""
        super().__init__()
        self.embed = Embedding(1, size)
        last = cast(nn.Linear, self.embed.mlp[2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, part: Tensor) -> Tensor:
        """The vector of each weight."""
        out: Tensor = self.embed(part[:, None])
        return out


@dataclass(frozen=True)
class _Lineage:
    """What a checkpoint of a student says of it: the codec's shape, the file it comes from, whether it is guided."""

    model: dict[str, Any]
    teacher: str
    guided: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Student(nn.Module):
    """A denoiser to train, alike the one of its origin, that says x_0; the denoiser's tensors are `denoiser.*`."""

    def __init__(self, origin: Origin, *, guided: bool) -> None:
        """Copy the denoiser in float32; `guided` adds a Guide."""
        super().__init__()
        model = origin.model
        self.config = _Lineage(model.config.to_dict(), checkpoint.fingerprint(origin.tensors).hex(), guided)
        self.prediction = cast(parametrize.Prediction, model.config.prediction)
        self.schedule = schedule.get(model.config.schedule)
        self.denoiser = copy.deepcopy(model.denoiser).requires_grad_(True)
        self.guide = Guide(model.config.denoiser.embedding) if guided else None

    def forward(
        self, x_t: Tensor, t: Tensor, cond: Tensor, quality: Tensor, realism: Tensor, guidance: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, (B, 3, H, W) in the type of x_t, not clamped; arguments as Denoiser's.

        `guidance`, (B,), is the weight over its largest, in [0, 1]; students without a Guide take none.
        """
        with _added(self.denoiser, self.guide(guidance) if self.guide and guidance is not None else None):
            output = self.denoiser(x_t, t, cond, quality, realism).to(x_t.dtype)
        alpha, sigma = self.schedule.levels(t)
        return parametrize.to_x0(self.prediction, output, x_t, alpha, sigma)

    @torch.no_grad()
    def at(self, guidance: float) -> Denoiser:
        """An ordinary denoiser that does what the student does at one weight over its largest."""
        denoiser = copy.deepcopy(self.denoiser)
        if self.guide is not None:
            vector = self.guide(next(self.guide.parameters()).new_tensor([guidance]))[0]
            for block in denoiser.modules():
                if isinstance(block, FilmBlock):
                    cast(Tensor, block.film.bias).add_(block.film.weight @ vector)
        return denoiser


@contextmanager
def _added(denoiser: Denoiser, vector: Tensor | None) -> Iterator[None]:
    """Within, `vector` (B, E), if any, is added to the denoiser's embedding."""
    if vector is None:
        yield
        return
    handle = denoiser.embed.register_forward_hook(lambda _module, _scalars, embedding: embedding + vector)
    try:
        yield
    finally:
        handle.remove()
