"""The conditional codec's decoder, ready for use: its latents, its denoiser, and what a file must say to be theirs.

    mean_k  = gain (h_s(z) + c_k(y_hat before k, h(z)))                         floats
    index_k = floor((s(z) + d_k(symbols before k, a(z)) + offset) / 16 + 1/2)    integers alone
    y_hat   = (symbols + mean) / gain        networks see z within +-127, y_hat within +-LATENT_MAX

Invariant: indices are those of `conditional.frozen`, means, gains and estimates up to rounding, for any shape of codec.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain import configuration
from regrain.bitstream import Method
from regrain.conditional.dct import LATENT_MAX
from regrain.conditional.passes import Pass, hold_slices, passes
from regrain.configuration import NETWORKS
from regrain.entropy import tables
from regrain.errors import ModelError, UsageError, shown
from regrain.onnx import ddim, networks, weights
from regrain.onnx.integers import ACTIVATION_MAX, QUALITY_TOP, ScaleBranch, interpolate_offsets, scale_index
from regrain.onnx.network import Network
from regrain.onnx.sampler import Context, Sampler

__all__ = ["Latents", "Model", "Read"]

Image = NDArray[np.float32]
Symbols = NDArray[np.int32]
Read: TypeAlias = Callable[[Pass, NDArray[np.int64]], Symbols]
"""Gives the symbols of a pass, (last - first, n), from the scale indices of its n places."""

LOG_GAIN_MOST, OFFSET_MOST = 20, 2**20
KNOWN = {"transform", "denoiser", "prediction", "schedule", "init_noise"}
SAMPLER = "sampler"


class Latents:
    """From symbols to y_hat at one quality; the scale indices in integers."""

    def __init__(self, arrays: weights.Arrays, slices: list[int]) -> None:
        """Take the `latents.*` arrays of a weights file. Raises ModelError where they do not fit each other."""
        self.log_gain, self.offset = _anchors(arrays)
        self.anchors, self.channels = self.log_gain.shape
        hold_slices(slices)
        self.hyper = int(arrays["latents.scale.0.weight"].shape[1])
        self.passes = passes(self.channels, slices)
        self.scale = ScaleBranch(arrays, [part.known for part in self.passes[1:]], Network(networks.product()))
        self.z_tables = tables.unpack(arrays["latents.z_tables"])
        if self.offset.shape != self.log_gain.shape or len(self.z_tables) != self.anchors * self.hyper:
            raise ModelError("offsets, gains and hyper tables are not of the same anchors and channels")
        contexts = [f"latents.mean.contexts.{number}." for number in range(len(self.passes) - 1)]
        own = {name: array for name, array in arrays.items() if not name.startswith(tuple(contexts))}
        self.mean = Network(networks.mean(weights.part(own, "latents.mean.")))
        self.contexts = [Network(networks.context(weights.part(arrays, prefix))) for prefix in contexts]

    def gain(self, quality: int) -> Image:
        """Gains (C, 1, 1) at quality q times 256."""
        left = min(quality * (self.anchors - 1) // QUALITY_TOP, self.anchors - 2)
        part = np.float32(quality * (self.anchors - 1) / QUALITY_TOP - left)
        here, there = self.log_gain[left : left + 2]
        gain: Image = np.exp(here + part * (there - here))[:, None, None]
        return gain

    def hyper_tables(self, quality: int) -> tuple[tables.Table, ...]:
        """The tables of z's channels at the quality anchor nearest to q times 256."""
        anchor = (2 * quality * (self.anchors - 1) + QUALITY_TOP) // (2 * QUALITY_TOP)
        return self.z_tables[anchor * self.hyper : (anchor + 1) * self.hyper]

    def walk(self, z_hat: Symbols, quality: int, size: tuple[int, int], read: Read) -> tuple[Symbols, Image]:
        """All passes: symbols and y_hat (C, H, W) of `size` (H, W); z_hat (Z, ceil(H/4), ceil(W/4))."""
        inside = ..., slice(size[0]), slice(size[1])
        z = z_hat.clip(-ACTIVATION_MAX, ACTIVATION_MAX).astype(np.float32)
        base, features = (part[inside] for part in self.mean(z))
        total, hidden = (part[inside] for part in self.scale(z_hat))
        total = total + interpolate_offsets(self.offset, quality)[:, None, None]
        gain, symbols, y_hat = self.gain(quality), np.zeros(base.shape, np.int32), np.zeros_like(base)
        for number, part in enumerate(self.passes):
            chosen, place = part.channels, part.places(*size)
            centre, level = base[chosen], total[chosen]
            if part.known:
                centre = centre + self.contexts[number - 1](y_hat[: part.known], features)[0]
                level = level + self.scale.context(number, symbols[: part.known], hidden)
            found = read(part, scale_index(level[:, place]))
            symbols[chosen, place] = found
            latent = centre[:, place] + found.astype(np.float32) / gain[chosen, 0]
            y_hat[chosen, place] = latent.clip(-LATENT_MAX, LATENT_MAX)
        return symbols, y_hat


def _anchors(arrays: weights.Arrays) -> tuple[Image, NDArray[np.int32]]:
    """Logarithms of gains and offsets of scale indices, in the ranges of `conditional.frozen`."""
    log_gain, offset = arrays["latents.log_gain"], arrays["latents.offset"]
    if log_gain.ndim != 2 or not (2 <= len(log_gain) <= 1024 and 1 <= log_gain.shape[1] <= 768):
        raise ModelError(f"gains of shape {log_gain.shape}")
    if offset.dtype != np.int32 or not (np.abs(offset.astype(np.int64)) <= OFFSET_MOST).all():
        raise ModelError(f"offsets that are no integers of 32 bits within {OFFSET_MOST}")
    if not (np.abs(log_gain) <= LOG_GAIN_MOST).all():
        raise ModelError(f"gains out of range: exp(-{LOG_GAIN_MOST}) to exp({LOG_GAIN_MOST}) is allowed")
    return log_gain.astype(np.float32), offset


@dataclass(frozen=True)
class Model:
    """Weights ready for decoding, as `regrain.load(device="onnx")` returns them; fingerprint as in `conditional`."""

    recipe: str
    fingerprint: bytes
    latents: Latents
    denoiser: Network
    sampler: Sampler | None
    prediction: str
    init_noise: float
    method = Method.CONDITIONAL
    room = device = "onnx"

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a shipped weights file. Raises ModelError if it is damaged, UsageError for one of another method."""
        arrays, about = weights.load(path)
        if (kind := about.get("kind", "conditional")) != "conditional":
            raise UsageError(f"ONNX Runtime decodes the conditional method alone; {kind!r} needs torch")
        try:
            return cls.build(arrays, about["config"], str(about["recipe"]))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, ModelError) as error:
            reason = (
                f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
            )
            raise ModelError(f"{path}: not weights that ONNX Runtime decodes with: {reason}") from None

    @classmethod
    def build(cls, arrays: weights.Arrays, config: dict[str, Any], recipe: str = "") -> Self:
        """The model of frozen arrays."""
        prediction, schedule = str(config["prediction"]), str(config["schedule"])
        if set(config) - {SAMPLER} != KNOWN or prediction not in ddim.PREDICTIONS or schedule != ddim.SCHEDULE:
            raise ModelError(
                f"{shown(', '.join(config))} with {shown(prediction)} and {shown(schedule)} is decoded by torch alone"
            )
        graph = networks.denoiser(weights.part(arrays, "denoiser."), corrects=prediction == "x0")
        return cls(
            recipe=recipe,
            fingerprint=weights.fingerprint({k: array for k, array in arrays.items() if k.startswith("latents.")}),
            latents=Latents(arrays, config["transform"]["slices"]),
            denoiser=Network(graph),
            sampler=_sampler(arrays) if config.get(SAMPLER) else None,
            prediction=prediction,
            init_noise=configuration.number(config["init_noise"], "init_noise", NETWORKS["init_noise"]),
        )

    def samples(self, realism: float) -> bool:
        """Whether pictures at this realism are drawn by the sampler; without one the denoiser makes them all."""
        return self.sampler is not None and realism > 0

    def levels(self, realism: float) -> ddim.Levels:
        """The noise schedule of decoding at this realism."""
        return ddim.truncated if self.samples(realism) else ddim.cosine

    def context(self, cond: Image, quality: int, realism: float) -> Context | None:
        """What the sampler computes of latents (C, H/16, W/16) once for all steps; None where there is none."""
        if self.sampler is None or not self.samples(realism):
            return None
        return self.sampler.context(cond, quality / QUALITY_TOP, realism)

    def start(self, noise: Image, context: Context | None, realism: float) -> Image:
        """x_1 (3, H, W) of noise of deviation 1 (3, H, W)."""
        if context is None:
            return noise * np.float32(realism * self.init_noise)
        alpha, sigma = ddim.truncated(1.0)
        return np.float32(alpha) * context.sketch + np.float32(sigma) * noise

    def denoise(
        self, x_t: Image, t: float, cond: Image, quality: int, realism: float, context: Context | None = None
    ) -> Image:
        """The estimate of x_0, in [-1, 1]. x_t (3, H, W), multiples of 16; cond (C, H/16, W/16)."""
        if self.sampler is not None and self.samples(realism):
            context = context or self.sampler.context(cond, quality / QUALITY_TOP, realism)
            return self.sampler.estimate(x_t, t, context, quality / QUALITY_TOP, realism).clip(-1, 1)
        knobs = np.array([t, quality / QUALITY_TOP, realism], np.float32)[:, None, None]
        (output,) = self.denoiser(x_t, cond, knobs)
        return ddim.to_x0(self.prediction, output, x_t, t).clip(-1, 1)


def _sampler(arrays: weights.Arrays) -> Sampler:
    """The sampler of a file's arrays, its graphs made and so its shapes checked."""
    own, faithful = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (f"{SAMPLER}.", "denoiser.")
    )
    sampler = Sampler(own, faithful)
    sampler.context(np.zeros((own["cond.weight"].shape[1], 1, 1), np.float32), 0, 1)
    return sampler
