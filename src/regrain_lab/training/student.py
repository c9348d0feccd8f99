"""The student: the denoiser of a codec whose latents are frozen, and the weights file that it starts from.

    y_hat = (round(gain g_a(x) - mean) + mean) / gain          as a file gives it: rounded, no noise

A guided student takes the guidance weight w as a vector that is added to its embedding, which enters every block
through an affine map. For any one w it is therefore an ordinary denoiser, whose maps have  bias + weight g(w)  for
bias; w = 0 changes nothing in a student that has not learned. Tests hold both, and that y_hat is what encoding and
decoding give.
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

from regrain import registry, torch_checkpoint
from regrain.bitstream import Method
from regrain.conditional.coding_order import CodingStep
from regrain.conditional.config import HYPER_MAX
from regrain.conditional.encode import correct_latents
from regrain.conditional.frozen import FrozenModel
from regrain.conditional.transform import HyperAnalysis, MeanBranch, interpolate
from regrain.conditional.walk import walk
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet import Denoiser
from regrain.entropy.exact import QUALITY_TOP, ScaleBranch, interpolate_offsets
from regrain.errors import ModelError
from regrain.layers import Embedding, FilmBlock

__all__ = ["GuidanceEmbedding", "Student", "TeacherCheckpoint", "quantized_latents", "with_network"]


def with_network(tensors: Mapping[str, Tensor], prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file, to the bit, but for those named `prefix`*, which are the network's as float16."""
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return others | {f"{prefix}{name}": tensor.half() for name, tensor in network.state_dict().items()}


@dataclass(frozen=True)
class TeacherCheckpoint:
    """A weights file that students start from: its tensors, its metadata, and the codec that it holds."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    model: FrozenModel

    @classmethod
    def load(cls, path: Path | None, device: torch.device) -> Self:
        """Read it; None is the package's. Raises ModelError if it is missing, damaged, or of another kind."""
        if path is not None and not path.exists():
            raise ModelError(f"{path}: no weights there; teacher is a file of weights, or empty for the package's")
        with as_file(registry.shipped_weights(Method.CONDITIONAL)) as shipped:
            model = FrozenModel.load(path or shipped, str(device))
            tensors, metadata = torch_checkpoint.load(path or shipped)
        if model.config.prediction == "eps":
            raise ModelError(
                f"{path or 'the package'}: it predicts eps, which at t = 1 says nothing of x_0; x0 and v are allowed"
            )
        return cls(tensors, metadata, model)

    def with_denoiser(self, denoiser: Denoiser) -> dict[str, Tensor]:
        """The file's tensors, to the bit, but for the denoiser's, which are these as float16."""
        return with_network(self.tensors, "denoiser.", denoiser)


@torch.no_grad()
def quantized_latents(model: FrozenModel, x: Tensor, quality: Tensor) -> Tensor:
    """y_hat (B, C, H/16, W/16) of x (B, 3, H, W), sides multiples of 64, as a file of each quality (B,) would give it.

    Qualities are in [0, 1], as a file can say them: wholes over QUALITY_TOP. As in encoding, nothing here runs under
    autocast. On a CPU the latents are those of a file to the bit.
    """
    latents = model.latents
    scale, mean, hyper_analysis = _on_device(model, x.device)
    with torch.autocast(x.device.type, enabled=False):
        gain = interpolate(latents.log_gain.to(x.device), quality).exp()[:, :, None, None]
        correction, base = model.analysis.parts(x)
        pictures = zip(*(batch.cpu().numpy() for batch in (correction, base, x)), strict=True)
        y = gain * torch.from_numpy(np.stack([correct_latents(*picture)[0] for picture in pictures])).to(x.device)
        z_hat = hyper_analysis(y).round().clamp(-HYPER_MAX, HYPER_MAX)
        offset = interpolate_offsets(latents.offset, (quality.double() * QUALITY_TOP).round().long().cpu())

        def symbols(step: CodingStep, mean: Tensor, _index: Tensor) -> Tensor:
            """The symbols that an encoder writes."""
            residual: Tensor = y[:, step.channels] - mean
            return residual.round()

        coded = walk(scale, mean, z_hat, gain, offset.to(x.device), (y.shape[2], y.shape[3]), symbols)
        y_hat: Tensor = (coded.symbols + coded.mean) / gain
    return y_hat


def _on_device(model: FrozenModel, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    """The networks behind the latents. Coding always runs them on the CPU; training uses copies on its device."""
    if device.type == "cpu":
        return model.latents.scale, model.latents.mean, model.hyper_analysis
    return _copies(model, device)


@lru_cache(maxsize=1)
def _copies(model: FrozenModel, device: torch.device) -> tuple[ScaleBranch, MeanBranch, HyperAnalysis]:
    with torch.inference_mode(False):
        scale, mean, hyper_analysis = copy.deepcopy((model.latents.scale, model.latents.mean, model.hyper_analysis))
        return scale.to(device), mean.to(device), hyper_analysis.to(device)


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


@dataclass(frozen=True)
class StudentConfig:
    """What a student's checkpoint says of it: the codec's shape, the file it comes from, whether it is guided."""

    model: dict[str, Any]
    teacher: str
    guided: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields, as plain JSON types."""
        return asdict(self)


class Student(nn.Module):
    """A denoiser to train, of the teacher's shape, that estimates x_0; the denoiser's tensors are `denoiser.*`."""

    def __init__(self, teacher: TeacherCheckpoint, *, guided: bool) -> None:
        """Copy the denoiser in float32; `guided` adds a GuidanceEmbedding."""
        super().__init__()
        model = teacher.model
        self.config = StudentConfig(model.config.to_dict(), torch_checkpoint.fingerprint(teacher.tensors).hex(), guided)
        self.prediction = cast(parametrize.Prediction, model.config.prediction)
        self.schedule = schedule.get(model.config.schedule)
        self.denoiser = copy.deepcopy(model.denoiser).requires_grad_(True)
        self.guide = GuidanceEmbedding(model.config.denoiser.embedding) if guided else None

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
