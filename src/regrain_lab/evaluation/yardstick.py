"""The figures that tell a decoder that samples from one that repeats itself, for one set of weights and way to decode.

A picture is encoded once and decoded by the codec's own `decode_tiles` and `regrow`. Beside the usual distances there
are `spectrum`, `realism` and `spread`, and two fences, below which the denoiser does not use its noise at all:

    gain    = PSNR(X(alpha x_0 + sigma n, t)) - PSNR(X(x_1, 1))    in dB, n the decoder's own noise, at that t where
                                                                 alpha x_0 + sigma n is itself a picture of 30 dB
    seeds   = mean |x_s - x_s'|                                  of two seeds at quality 0, in levels
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

import regrain
from regrain import bitstream
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import STRIDE
from regrain.conditional.decode import decode_latents, reconstruct
from regrain.diffusion import noise
from regrain.errors import UsageError
from regrain.image import pad_edge, to_signed
from regrain.options import DecodeOptions
from regrain_lab.metrics import fidelity, realism, spectrum
from regrain_lab.metrics.dists import Dists
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.metrics.pretrained import classify
from regrain_lab.metrics.spread import Spread, spreads

__all__ = ["SMALLEST", "Judges", "Reading", "Reference", "Sample", "gain", "read", "seeds_apart", "summary"]

Pixels = NDArray[np.uint8]
SMALLEST = 161
"""Pixels that MS-SSIM needs on a side."""
_NEAR = 2 * 10**-1.5
"""Deviation in [-1, 1] of noise under which a picture has 30 dB."""
_FORMULAS = ("psnr", "ms_ssim", "ssimulacra2")
_NETWORKS = ("lpips_alex", "lpips_squeeze", "lpips_vgg")


@dataclass(frozen=True)
class Judges:
    """The networks of the distances: LPIPS by the name of its column, and DISTS."""

    lpips: Mapping[str, Lpips]
    dists: Dists

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load all weights of a folder. Raises ModelError, and UsageError for weights that are missing."""
        files = classify(sorted(folder.glob("*.safetensors")))
        if lacking := {*_NETWORKS, "vgg16", "dists"} - files.keys():
            raise UsageError(f"{folder} lacks weights: {', '.join(sorted(lacking))}")
        vgg16 = {"lpips_vgg": files["vgg16"]}
        lpips = {name: Lpips.load(files[name], vgg16.get(name)) for name in _NETWORKS}
        return cls(lpips, Dists.load(files["vgg16"], files["dists"]))


class Reference:
    """The features of one picture (h, w, 3), no side under 161 pixels, computed once."""

    def __init__(self, judges: Judges, pixels: Pixels) -> None:
        """Compute them. Raises UsageError for a smaller picture."""
        if min(pixels.shape[:2]) < SMALLEST:
            raise UsageError(f"a picture is {pixels.shape[1]} x {pixels.shape[0]}: sides of {SMALLEST} at least do")
        with torch.inference_mode():
            x = torch.from_numpy(to_signed(pixels))[None]
            self.units = {name: network.units(x) for name, network in judges.lpips.items()}
            self.taps = judges.dists.taps(x)
        size = pixels.shape[0], pixels.shape[1]
        self.features = realism.pool_units(self.units["lpips_vgg"], self.units["lpips_alex"], size)
        self.judges, self.pixels, self.energies = judges, pixels, spectrum.energies(pixels)

    def figures(self, other: "Reference") -> dict[str, float]:
        """The distances from this picture, the original, to a decoded one, by the names of columns."""
        formulas = {name: getattr(fidelity, name)(self.pixels, other.pixels) for name in _FORMULAS}
        lpips = {
            name: float(network.distance(self.units[name], other.units[name]))
            for name, network in self.judges.lpips.items()
        }
        return {**formulas, **lpips, "dists": float(self.judges.dists.distance(self.taps, other.taps))}


@dataclass(frozen=True)
class Sample:
    """One file, whose latents are read once however often it is decoded."""

    model: ConditionalModel
    data: bytes

    @cached_property
    def header(self) -> bitstream.Header:
        """The header of the file."""
        return bitstream.read(self.data).header

    @cached_property
    def y_hat(self) -> NDArray[np.float32]:
        """The latents of the file, (C, h, w)."""
        stream, header = bitstream.read(self.data), self.header
        return decode_latents(
            self.model.latents, stream.tiles, (header.height, header.width), header.quality, header.tile
        )

    def decode(self, options: DecodeOptions) -> Pixels:
        """The picture (h, w, 3)."""
        header = self.header
        size = header.height, header.width
        return reconstruct(self.model.denoiser, self.y_hat, size, header.quality, options, grey=header.grey)


@dataclass(frozen=True)
class Reading:
    """One picture: single figures by column, and what adds up over pictures."""

    figures: Mapping[str, float]
    energies: tuple[NDArray[np.float64], NDArray[np.float64]]
    features: tuple[realism.Features, realism.Features]
    spreads: Mapping[str, Spread]


def read(model: ConditionalModel, original: Reference, quality: float, options: DecodeOptions, seeds: int) -> Reading:
    """Encode and decode a picture, with so many seeds for the spread (1: leave that out), and measure all of it."""
    pixels = original.pixels
    sample = Sample(model, regrain.encode(pixels, quality=quality, model=model))
    decoded = [sample.decode(replace(options, seed=options.seed + number)) for number in range(seeds)]
    first = Reference(original.judges, decoded[0])
    figures = {"bpp": 8 * len(sample.data) / pixels[..., 0].size, **original.figures(first)}
    return Reading(
        figures | ({"gain": gain(sample, pixels, options)} if options.realism else {}),
        (original.energies, first.energies),
        (original.features, first.features),
        spreads(pixels, decoded) if seeds > 1 else {},
    )


def gain(sample: Sample, pixels: Pixels, options: DecodeOptions) -> float:
    """The first fence, in dB: what the estimate gains where x_t holds the true picture with a little noise."""
    quality, realism = sample.header.quality, options.realism
    denoiser = sample.model.denoiser.for_steps(options.steps if isinstance(options.steps, int) else 2)
    x_0 = pad_edge(to_signed(pixels), STRIDE)
    normal = noise.normal(options.seed, 0, 0, 0, x_0.shape[1], x_0.shape[2])
    level = 1.0 if denoiser.samples(realism) else realism * denoiser.config.init_noise
    schedule, context = denoiser.schedule(realism), denoiser.context(sample.y_hat, quality, realism)
    near = schedule.time_of(2 * math.log(level / _NEAR))
    alpha, sigma = schedule.at(near)
    starts = (denoiser.start(normal, context, realism), 1.0), (alpha * x_0 + sigma * level * normal, near)
    estimates = (denoiser.estimate(x_t, t, sample.y_hat, quality, realism, context) for x_t, t in starts)
    errors = [np.square(x_hat - x_0).mean() for x_hat in estimates]
    return 10 * math.log10(float(errors[0] / errors[1]))


def seeds_apart(model: ConditionalModel, pixels: Pixels, options: DecodeOptions) -> float:
    """The second fence: the mean difference of two seeds at quality 0, in levels."""
    sample = Sample(model, regrain.encode(pixels, quality=0, model=model))
    first, second = (
        sample.decode(replace(options, seed=options.seed + number)).astype(np.float64) for number in (0, 1)
    )
    return float(np.abs(first - second).mean())


def summary(readings: Sequence[Reading]) -> dict[str, float]:
    """The figures of several pictures by column: means, and sums over all their patches, blocks and squares.

    Realism needs two pictures, and is left out where there is one.
    """
    names = readings[0].figures
    figures = {name: float(np.mean([reading.figures[name] for reading in readings])) for name in names}
    if len(readings) > 1:
        originals, decoded = zip(*(reading.features for reading in readings), strict=True)
        for name, distance in realism.distances(originals, decoded).items():
            figures |= {name: distance.value} | ({} if distance.error is None else {f"{name}_error": distance.error})
    bands = spectrum.levels(*(sum(parts) for parts in zip(*(reading.energies for reading in readings), strict=True)))
    figures |= {f"band_{number}": float(level) for number, level in enumerate(bands, start=1)}
    for kind in readings[0].spreads:
        total = Spread.total([reading.spreads[kind] for reading in readings])
        figures |= {f"spread_{kind}": total.ratio, f"squares_{kind}": total.squares}
    return figures
