"""The shipped form of the conditional codec: what `freeze` makes of the trainable whole, and what files are read with.

Tensors are named by room. `latents.*` is all that turns bytes into y_hat, in its exact stored form (integers where the
wall needs them); the latent fingerprint is that part's checksum, and the rest may change under it.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor

from regrain import checkpoint, configuration
from regrain.bitstream import Method
from regrain.checkpoint import network
from regrain.conditional.model import (
    HYPER_MAX,
    SAMPLING_SCHEDULE,
    ConditionalCodec,
    ModelConfig,
    build_denoiser,
    build_sampler,
    build_scale,
    sampler_state,
)
from regrain.conditional.passes import passes
from regrain.conditional.transform import Analysis, HyperAnalysis, MeanBranch, interpolate
from regrain.conditional.walk import Read, Walked, walk
from regrain.diffusion import parametrize, schedule
from regrain.diffusion.unet import Denoiser, SamplingDenoiser
from regrain.entropy import tables
from regrain.entropy.exact import QUALITY_TOP, interpolate_offsets
from regrain.errors import ModelError, UsageError

__all__ = ["Latents", "Model", "freeze", "latent_fingerprint", "thaw"]

SAMPLER = "sampler."
LOG_GAIN_MOST = 20
OFFSET_MOST = 2**20
"""In 1/16 of a scale index, of which there are 64."""
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


class Latents:
    """From symbols to y_hat at one quality; everything here runs on the CPU, the scale indices in integers.

    Those integers are held in float64 here: autocast leaves it alone, and no backend has Winograd transforms for it,
    which compute whole sums from fractions (NNPACK's, in float32, miss three indices in a thousand).
    """

    def __init__(self, config: ModelConfig, tensors: dict[str, Tensor]) -> None:
        """Take the `latents.*` tensors of a weights file. Raises ModelError where they break the integer wall."""
        shape = config.transform
        self.hyper, self.anchors, self.passes = shape.hyper, shape.anchors, passes(shape.latent, shape.slices)
        self.log_gain, self.offset = _anchors(tensors, (shape.anchors, shape.latent))
        self.mean = network(lambda: MeanBranch(shape), tensors, PARTS["mean"])
        with torch.device("meta"):
            scale = build_scale(shape).double()
        self.scale = scale.to_empty(device="cpu").eval().requires_grad_(False)
        for index, layer in enumerate(self.scale.convolutions):
            layer.set_integers(tensors[f"latents.scale.{index}.weight"], tensors[f"latents.scale.{index}.bias"])
        self.z_tables = tables.unpack(tensors["latents.z_tables"].numpy())
        if len(self.z_tables) != self.anchors * self.hyper:
            raise ModelError(f"weights hold {len(self.z_tables)} hyper tables, expected {self.anchors * self.hyper}")

    def gain(self, quality: int) -> Tensor:
        """Gains (C, 1, 1) at quality q times 256."""
        part = torch.tensor([quality / QUALITY_TOP], dtype=torch.float32)
        return interpolate(self.log_gain, part).exp()[0, :, None, None]

    def hyper_tables(self, quality: int) -> tuple[tables.Table, ...]:
        """The tables of z's channels at the quality anchor nearest to q times 256."""
        anchor = (2 * quality * (self.anchors - 1) + QUALITY_TOP) // (2 * QUALITY_TOP)
        return self.z_tables[anchor * self.hyper : (anchor + 1) * self.hyper]

    @torch.no_grad()
    def walk(self, z_hat: Tensor, quality: int, size: tuple[int, int], read: Read) -> Walked:
        """All passes over y of `size` (H, W), of a batch of one; z_hat: integers (Z, ceil(H/4), ceil(W/4)).

        Networks see z_hat within +-HYPER_MAX, beyond which no encoder goes.
        """
        offset = interpolate_offsets(self.offset, torch.tensor([quality]))
        z = z_hat[None].float().clamp(-HYPER_MAX, HYPER_MAX)
        return walk(self.scale, self.mean, z, self.gain(quality)[None], offset, size, read)

    def index(self, z_hat: Tensor, symbols: Tensor, quality: int) -> Tensor:
        """Scale indices, int64 (C, H, W), of symbols (C, H, W) that are known already."""
        known = symbols[None].float()
        walked = self.walk(
            z_hat, quality, (symbols.shape[1], symbols.shape[2]), lambda part, *_: known[:, part.channels]
        )
        return walked.scale_index[0].long()


def _anchors(tensors: dict[str, Tensor], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Logarithms of gains, and offsets of scale indices in integers, at the anchors of quality."""
    log_gain, offset = tensors["latents.log_gain"], tensors["latents.offset"]
    if not log_gain.shape == offset.shape == shape:
        raise ModelError(f"weights hold gains of shape {tuple(log_gain.shape)}, expected {shape}")
    if offset.dtype != torch.int32 or not bool((offset.long().abs() <= OFFSET_MOST).all()):
        raise ModelError(f"weights hold offsets that are no integers of 32 bits within {OFFSET_MOST}")
    if not bool((log_gain.abs() <= LOG_GAIN_MOST).all()):
        raise ModelError(f"weights hold gains out of range: exp(-{LOG_GAIN_MOST}) to exp({LOG_GAIN_MOST}) is allowed")
    return log_gain.float(), offset.long()


@dataclass(frozen=True)
class Model:
    """Weights ready for use, as `regrain.load` returns them.

    `recipe` is the name of the one that trained them, `fingerprint` the latent fingerprint, 4 bytes.
    """

    config: ModelConfig
    recipe: str
    fingerprint: bytes
    analysis: Analysis
    hyper_analysis: HyperAnalysis
    latents: Latents
    denoiser: Denoiser
    sampler: SamplingDenoiser | None
    device: torch.device
    method = Method.CONDITIONAL

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
        tensors, metadata = checkpoint.load(path)
        try:
            return cls.build(tensors, metadata.get("config"), device, metadata.get("recipe", ""))
        except (KeyError, ModelError, UsageError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"{path}: not weights of the conditional codec: {reason}") from None

    @classmethod
    def build(cls, tensors: dict[str, Tensor], config: object, device: str | None = None, recipe: str = "") -> Self:
        """The model of frozen tensors."""
        shape = ModelConfig.from_dict(config)
        where = torch.device(device or "cpu")
        return cls(
            config=shape,
            recipe=recipe,
            fingerprint=latent_fingerprint(tensors),
            analysis=network(lambda: Analysis(shape.transform), tensors, PARTS["analysis"]).to(where),
            hyper_analysis=network(lambda: HyperAnalysis(shape.transform), tensors, PARTS["hyper_analysis"]),
            latents=Latents(shape, tensors),
            denoiser=network(
                lambda: build_denoiser(shape), tensors, PARTS["denoiser"], layers=configuration.depth(shape)
            ).to(where),
            sampler=network(lambda: build_sampler(shape), tensors, SAMPLER).to(where) if shape.sampler else None,
            device=where,
        )

    def samples(self, realism: float) -> bool:
        """Whether pictures at this realism are drawn by the sampler; without one the denoiser makes them all."""
        return self.sampler is not None and realism > 0

    def levels(self, realism: float) -> schedule.Schedule:
        """The noise schedule of decoding at this realism."""
        return schedule.get(SAMPLING_SCHEDULE if self.samples(realism) else self.config.schedule)

    @torch.no_grad()
    def start(self, noise: Tensor, cond: Tensor, realism: float) -> Tensor:
        """x_1 (3, H, W) of noise of deviation 1 (3, H, W), and of latents (C, H/16, W/16)."""
        if self.sampler is None or not self.samples(realism):
            return noise * (realism * self.config.init_noise)
        alpha, sigma = self.levels(realism).at(1.0)
        return alpha * self.sampler.sketch(cond[None])[0] + sigma * noise

    def context(self, cond: Tensor, quality: int, realism: float) -> Tensor | None:
        """What the sampler computes of latents (C, H/16, W/16) once for all steps; None where there is none."""
        if not self.samples(realism):
            return None
        knobs = torch.tensor([quality / QUALITY_TOP, realism], dtype=torch.float32, device=self.device)
        cond = cond[None].contiguous(memory_format=torch.channels_last)
        return _between(self, realism).infer_context(cond, knobs[:1], knobs[1:])

    @torch.no_grad()
    def denoise(
        self, x_t: Tensor, t: float, cond: Tensor, quality: int, realism: float, context: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, in [-1, 1]. x_t (3, H, W), multiples of 16; cond (C, H/16, W/16)."""
        knobs = torch.tensor([t, quality / QUALITY_TOP, realism], dtype=torch.float32, device=self.device)
        image, cond = (tensor[None].contiguous(memory_format=torch.channels_last) for tensor in (x_t, cond))
        if self.samples(realism):
            sampler = _between(self, realism)
            return sampler.infer(image, knobs[:1], cond, knobs[1:2], knobs[2:], context)[0].clamp(-1, 1)
        output = self.denoiser.infer(image, knobs[:1], cond, knobs[1:2], knobs[2:])
        alpha, sigma = self.levels(realism).at(t)
        prediction = cast(parametrize.Prediction, self.config.prediction)
        return parametrize.to_x0(prediction, output, image, alpha, sigma)[0].clamp(-1, 1)


@lru_cache(maxsize=2)
def _between(model: Model, realism: float) -> SamplingDenoiser:
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
    return checkpoint.fingerprint({name: value for name, value in tensors.items() if name.startswith("latents.")})
