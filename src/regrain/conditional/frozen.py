"""The shipped form of the conditional codec: what `freeze` makes of the trainable whole, and what files are read with.

Tensors are named by room. `latents.*` is all that turns bytes into y_hat, in its exact stored form (integers where the
wall needs them); the latent fingerprint is that part's checksum, and the rest may change under it.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from regrain import configuration, torch_checkpoint
from regrain.conditional.config import HYPER_MAX, ModelConfig
from regrain.conditional.context_model import check_anchors
from regrain.conditional.model import (
    ConditionalCodec,
    build_denoiser,
    build_sampler,
    build_scale,
    sampler_state,
)
from regrain.conditional.transform import Analysis, HyperAnalysis, MeanBranch, interpolate
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet import Denoiser, SamplingDenoiser
from regrain.entropy import tables
from regrain.entropy.exact import QUALITY_TOP
from regrain.errors import ModelError, UsageError
from regrain.torch_checkpoint import network

__all__ = ["FrozenModel", "freeze", "latent_fingerprint", "thaw"]

SAMPLER = "sampler."
PARTS = {"analysis": "analysis.", "hyper_analysis": "hyper_analysis.", "mean": "latents.mean.", "denoiser": "denoiser."}


@torch.no_grad()
def freeze(codec: ConditionalCodec) -> dict[str, Tensor]:
    """Tensors to ship: float16 networks, 8-bit scale branch, integer offsets and tables, float32 gains."""
    state = codec.state_dict()
    kept = tuple(PARTS.values())
    tensors = {name: value.half() for name, value in state.items() if name.startswith(kept)}
    latents = codec.latents
    for index, layer in enumerate(latents.scale.convolutions):
        tensors[f"latents.scale.{index}.weight"] = layer.integer_weight().to(torch.int8)
        tensors[f"latents.scale.{index}.bias"] = layer.integer_bias().to(torch.int32)
    tensors["latents.offset"] = latents.integer_offsets().to(torch.int32)
    tensors["latents.log_gain"] = latents.gain.log_anchors().float()
    rows = latents.prior.tabulate(HYPER_MAX)
    frozen = [tables.freeze(row, -HYPER_MAX) for anchor in rows for row in anchor]
    tensors["latents.z_tables"] = torch.from_numpy(tables.pack(frozen))
    return tensors


@torch.no_grad()
def thaw(codec: ConditionalCodec, tensors: dict[str, Tensor]) -> None:
    """The inverse of `freeze`: go on training from weights that ship, which `codec` must have the shape of.

    z's distributions are fitted to its tables; all else comes back as it was rounded. Raises ModelError.
    """
    kept = tuple(PARTS.values())
    state = {name: value.float() for name, value in tensors.items() if name.startswith(kept)}
    latents = codec.latents
    try:
        missing, surplus = codec.load_state_dict(state, strict=False)
        if wrong := [*surplus, *(name for name in missing if name.startswith(kept))]:
            raise ModelError(f"weights of another shape: {wrong[0]} is on one side alone")
        for index, layer in enumerate(latents.scale.convolutions):
            layer.set_integers(tensors[f"latents.scale.{index}.weight"], tensors[f"latents.scale.{index}.bias"])
        latents.set_offsets(tensors["latents.offset"])
        latents.gain.set_anchors(tensors["latents.log_gain"])
        rows = torch.stack([_probabilities(table) for table in tables.unpack(tensors["latents.z_tables"].numpy())])
        rows = torch.unflatten(rows, 0, latents.prior.shape[:2])
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"weights of another shape: {str(error).splitlines()[0]}") from None
    with torch.enable_grad():
        latents.prior.fit(rows, HYPER_MAX)


def _probabilities(table: tables.Table) -> Tensor:
    """Of the hyper-latents -HYPER_MAX..HYPER_MAX, without the one count that even the least of them gets."""
    if table.first != -HYPER_MAX or table.size != 2 * HYPER_MAX + 1:
        raise ModelError(f"weights hold a hyper table of {table.size} symbols from {table.first} on")
    if not (shares := torch.from_numpy(table.counts[:-1].astype("float64") - 1)).any():
        raise ModelError("weights hold a hyper table of escapes alone")
    return shares


class FrozenLatents:
    """The torch side of `latents.*`: the mean branch, and gains, offsets and the scale branch for training.

    Integers are held in float64 here: autocast leaves it alone, and no backend has Winograd transforms for it, which
    compute whole sums from fractions (NNPACK's, in float32, miss three indices in a thousand).
    """

    def __init__(self, config: ModelConfig, tensors: dict[str, Tensor]) -> None:
        """Take the `latents.*` tensors of a weights file. Raises ModelError where they break the integer wall."""
        shape = config.transform
        anchors = {f"latents.{name}": tensors[f"latents.{name}"].numpy() for name in ("log_gain", "offset")}
        check_anchors(anchors, (shape.anchors, shape.latent))
        self.log_gain, self.offset = tensors["latents.log_gain"].float(), tensors["latents.offset"].long()
        self.mean = network(lambda: MeanBranch(shape), tensors, PARTS["mean"])
        with torch.device("meta"):
            scale = build_scale(shape).double()
        self.scale = scale.to_empty(device="cpu").eval().requires_grad_(False)
        for index, layer in enumerate(self.scale.convolutions):
            layer.set_integers(tensors[f"latents.scale.{index}.weight"], tensors[f"latents.scale.{index}.bias"])

    def gain(self, quality: int) -> Tensor:
        """Gains (C, 1, 1) at quality q times 256."""
        part = torch.tensor([quality / QUALITY_TOP], dtype=torch.float32)
        return interpolate(self.log_gain, part).exp()[0, :, None, None]


@dataclass(frozen=True)
class FrozenModel:
    """The networks of a weights file as torch's modules, for inference on a device and for training on."""

    config: ModelConfig
    analysis: Analysis
    hyper_analysis: HyperAnalysis
    latents: FrozenLatents
    denoiser: Denoiser
    sampler: SamplingDenoiser | None
    device: torch.device

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
        tensors, metadata = torch_checkpoint.load(path)
        try:
            return cls.build(tensors, metadata.get("config"), device)
        except (KeyError, ModelError, TypeError, UsageError) as error:  # TypeError: NumPy has no bfloat16
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"{path}: not weights of the conditional codec: {reason}") from None

    @classmethod
    def build(cls, tensors: dict[str, Tensor], config: object, device: str | None = None) -> Self:
        """The networks of frozen tensors; `config` is a ModelConfig or its table."""
        shape = config if isinstance(config, ModelConfig) else ModelConfig.from_dict(config)
        where = torch.device(device or "cpu")
        return cls(
            config=shape,
            analysis=network(lambda: Analysis(shape.transform), tensors, PARTS["analysis"]).to(where),
            hyper_analysis=network(lambda: HyperAnalysis(shape.transform), tensors, PARTS["hyper_analysis"]),
            latents=FrozenLatents(shape, tensors),
            denoiser=network(
                lambda: build_denoiser(shape), tensors, PARTS["denoiser"], layers=configuration.depth(shape)
            ).to(where),
            sampler=network(lambda: build_sampler(shape), tensors, SAMPLER).to(where) if shape.sampler else None,
            device=where,
        )

    @torch.no_grad()
    def denoise(self, x_t: Tensor, t: float, cond: Tensor, quality: float, realism: float) -> Tensor:
        """The faithful denoiser's estimate of x_0 from x_t (1, 3, H, W) and latents (1, C, H/16, W/16)."""
        scalars = torch.tensor([t, quality, realism], dtype=torch.float32, device=self.device)
        output = self.denoiser(x_t, scalars[:1], cond, scalars[1:2], scalars[2:])
        alpha, sigma = schedule.get(self.config.schedule).at(t)
        return parametrize.to_x0(self.config.parametrization, output, x_t, alpha, sigma)

    def sampler_at(self, realism: float) -> SamplingDenoiser:
        """The sampler at a realism above 0: every weight on the line from the faithful denoiser's to the sampler's."""
        return _between(self, realism)


@lru_cache(maxsize=2)
def _between(model: FrozenModel, realism: float) -> SamplingDenoiser:
    """Between the faithful denoiser, at realism 0, and the sampler, at 1: every weight on the line between theirs.

    Network interpolation (Wang et al. 2018, ESRGAN, sec. 3.4): the sampler was trained on from the denoiser, and what
    lies between two such networks does what lies between their pictures, without mixing these.
    """
    assert model.sampler is not None
    if realism == 1:
        return model.sampler
    between = copy.deepcopy(model.sampler)
    faithful = sampler_state(model.denoiser.state_dict(), between)
    between.load_state_dict({n: torch.lerp(faithful[n], tensor, realism) for n, tensor in between.state_dict().items()})
    return between


def latent_fingerprint(tensors: dict[str, Tensor]) -> bytes:
    """4 bytes over everything that turns bytes into y_hat."""
    return torch_checkpoint.fingerprint({name: value for name, value in tensors.items() if name.startswith("latents.")})
