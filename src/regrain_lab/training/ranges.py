"""How far the numbers reach that enter and leave the convolutions of a decoder: what lets it run on bytes.

    NAME.input  (2,)      NAME.output  (2, O)      the least and the largest, of each channel where they leave

Every picture has its own extremes. What counts is what `COVERAGE` of the pictures stay within: the few numbers beyond
are clipped, which harms less than coarser steps for all others. `onnx.graph` has the arithmetic.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regrain import checkpoint
from regrain.checkpoint import Arrays
from regrain.conditional import onnx_backend
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.config import STRIDE, ModelConfig
from regrain.conditional.decode import reconstruct
from regrain.conditional.denoising import Denoiser
from regrain.conditional.networks import Image
from regrain.entropy.integer import QUALITY_TOP
from regrain.errors import UsageError
from regrain.halves import latents
from regrain.onnx.byte_convolution import RANGES, without_ranges
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network
from regrain.options import DecodeOptions

__all__ = ["FLOATS", "Case", "add_ranges", "calibrated"]

Build: TypeAlias = Callable[..., Network | None]
"""Of arrays, a configuration, ranges, and what makes the empty graph."""

COVERAGE: Final = 0.95
LEAST: Final = 1e-6
STEPS: Final = 4
"""In which the sampler is run."""
QUALITIES: Final = (0.0, 15.0, 35.0, 60.0, 100.0)
FLOATS: Final = ("up2", "leave")
"""Convolutions whose numbers go into pixels, and stay floats."""


class Case(NamedTuple):
    """What a decoder is given: latents (C, H, W), quality and realism in [0, 1]."""

    y_hat: Image
    quality: float
    realism: float


def add_ranges(weights: Path, out: Path, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Write the file with ranges of what it makes of these pictures, (H, W, 3) each; all else of it stays.

    Raises UsageError without pictures, ModelError for a file that is no conditional codec, OutputError.
    """
    arrays, about = checkpoint.load(weights)
    cases = list(_cases_of(ConditionalModel.load(weights), pictures))
    if not cases:
        raise UsageError("there are no pictures to tell ranges by; give one or more")
    checkpoint.save(out, calibrated(arrays, ModelConfig.from_dict(about.get("config")), cases), about)


def _cases_of(model: ConditionalModel, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Case]:
    """Of every picture at every quality, at realism 0 and 1."""
    for pixels in pictures:
        for quality in QUALITIES:
            y_hat = latents(pixels, quality=quality, content="photo", model=model).y_hat
            for realism in (0.0, 1.0):
                yield Case(y_hat, quality / 100, realism)


class _Recorder(Graph):
    """A graph that also gives what enters and leaves its named convolutions."""

    def __init__(self, *arguments: Any, **_ranges: object) -> None:  # noqa: ANN401 - those of Graph
        super().__init__(*arguments)
        self.places: dict[str, tuple[str, str]] = {}

    def convolve(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None, stride: int = 1,
        name: str = "",
    ) -> str:  # fmt: skip
        """See `Graph`."""
        y = super().convolve(x, weight, bias, stride)
        if name and name not in FLOATS:
            self.places[name] = x, y
        return y

    def network(self, *outputs: str) -> Network:
        """The network of these outputs, and of the two of each place."""
        return super().network(*outputs, *(end for ends in self.places.values() for end in ends))


class _Recording:
    """A network that keeps the extremes of its places, and otherwise does what the one does whose graph it builds."""

    def __init__(self, build: Build, arrays: Mapping[str, NDArray[Any]], config: ModelConfig) -> None:
        made: list[_Recorder] = []

        def empty(*arguments: Any, **ranges: object) -> Graph:  # noqa: ANN401 - those of Graph
            made.append(_Recorder(*arguments, **ranges))
            return made[0]

        self.network = build(arrays, config, None, empty)
        self.ends = [f"{name}.{end}" for name in made[0].places for end in ("input", "output")] if made else []
        self.extremes: dict[str, list[Image]] = {end: [] for end in self.ends}

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """The one output."""
        assert self.network is not None
        output, *places = self.network(*arrays)
        for end, values in zip(self.ends, places, strict=True):
            axes = (0, 1, 2) if end.endswith(".input") else (1, 2)
            self.extremes[end].append(np.stack([values.min(axes), values.max(axes)]))
        return [output]

    def ranges(self) -> dict[str, Image]:
        """By name, what most of the pictures stay within."""
        return {end: _covering(np.stack(rows)) for end, rows in self.extremes.items()}


def calibrated(arrays: Arrays, config: ModelConfig, cases: Iterable[Case]) -> dict[str, NDArray[Any]]:
    """The arrays of a weights file with the ranges of its denoiser, and of a fast decoder and a sampler if it has them.

    Every case is decoded by all of them. Raises ModelError for weights of other shapes.
    """
    bare = without_ranges(arrays)
    networks = onnx_backend.OnnxNetworks(bare, config)
    builders: dict[str, tuple[str, Build]] = {"_picture": ("denoiser", onnx_backend.picture)}
    if config.fast is not None:
        builders["_fast"] = "fast", onnx_backend.fast
    if config.sampler:
        builders |= {
            "_sampling_context": ("sampler", onnx_backend.sampling_context),
            "_sampler": ("sampler", onnx_backend.sampler),
        }
    recordings = {
        place: _Recording(build, checkpoint.part(bare, f"{name}."), config) for place, (name, build) in builders.items()
    }
    recordings = {place: recording for place, recording in recordings.items() if recording.network is not None}
    vars(networks).update(recordings)
    for case in cases:
        _decode(networks, config, case)
    ranges = dict[str, NDArray[Any]]()
    for place, recording in recordings.items():
        ranges |= {f"{RANGES}{builders[place][0]}.{end}": values for end, values in recording.ranges().items()}
    return bare | ranges


def _decode(networks: onnx_backend.OnnxNetworks, config: ModelConfig, case: Case) -> None:
    """By all networks that there are."""
    networks.picture(*case)
    if config.fast is not None:
        networks.decode_fast(*case)
    if config.sampler and case.realism:
        size = (STRIDE * case.y_hat.shape[1], STRIDE * case.y_hat.shape[2])
        options, quality = DecodeOptions(steps=STEPS, realism=case.realism), round(QUALITY_TOP * case.quality)
        reconstruct(Denoiser(config, networks), case.y_hat, size, quality, options, grey=False)


def _covering(extremes: Image) -> Image:
    """What most of the pictures (N, 2, ...) stay within, with 0 inside."""
    low, high = np.quantile(extremes[:, 0], 1 - COVERAGE, axis=0), np.quantile(extremes[:, 1], COVERAGE, axis=0)
    return np.stack([np.minimum(low, 0), np.maximum(high, LEAST)]).astype(np.float32)
