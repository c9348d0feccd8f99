"""The progressive codec, ready for use: payloads of a picture at any quality, and the picture of payloads.

Quality is the number of steps and nothing else: a file of lower quality is the beginning of one of higher quality.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regrain import checkpoint
from regrain.bitstream import Method, Stream, step_count
from regrain.checkpoint import Arrays
from regrain.diffusion.student import restore, without_student
from regrain.diffusion.unconditional_config import KIND, STRIDE, PriorConfig
from regrain.errors import Corrupt, ModelError, UsageError
from regrain.options import DecodeOptions
from regrain.progressive.decode import receive, reconstruct
from regrain.progressive.encode import stream as encoded_steps
from regrain.progressive.reverse_process import Denoiser, Student

__all__ = ["Prepared", "ProgressiveModel"]

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """A picture's steps, each computed once, when a quality first needs it."""

    coming: Iterator[bytes]
    done: list[bytes] = field(default_factory=list)

    def payloads(self, quality: int) -> list[bytes]:
        """A payload for each step of quality q times 256."""
        self.done.extend(islice(self.coming, max(0, step_count(quality) - len(self.done))))
        return self.done[: step_count(quality)]


@dataclass(frozen=True)
class ProgressiveModel:
    """Weights ready for use, as `regrain.load` returns them; the fingerprint, 4 bytes, covers all but the student.

    The `student` is the denoiser of few steps, None where the weights have none. `device` is "onnx" or the name of one
    of torch's devices.
    """

    denoiser: Denoiser
    student: Student | None
    recipe: str
    fingerprint: bytes
    device: str
    method = Method.PROGRESSIVE

    def __repr__(self) -> str:
        """One line."""
        return f"<{self.method.name.lower()} model, latents {self.fingerprint.hex()}, on {self.device}>"

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind.

        The network runs on ONNX Runtime where `device` is None or "onnx", and otherwise on torch's device of that name.
        """
        arrays, about = checkpoint.load(path)
        if about.get("kind") != KIND:
            raise ModelError(f"{path}: not weights of an unconditional prior")
        own = without_student(arrays)
        try:
            config, small = PriorConfig.from_dict(about.get("config")), np.zeros((3, STRIDE, STRIDE), np.float32)
            networks = [_network(config, own, device or "onnx")]
            restored = restore(arrays)
            if restored is not None:
                networks.append(_network(replace(config, leaps=True), restored, device or "onnx"))
            for network in networks:
                network.denoise(small, 0.0)
        except (ModelError, UsageError) as error:
            raise ModelError(f"{path}: not weights of this prior: {error}") from None
        named = checkpoint.text(about, "recipe"), checkpoint.fingerprint(own), device or "onnx"
        return cls(networks[0], networks[1] if restored else None, *named)

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Begin to encode. pixels (H, W, 1 or 3); tile in pixels."""
        return Prepared(step.payload for step in encoded_steps(self.denoiser, pixels, tile))

    def decode(self, stream: Stream, options: DecodeOptions) -> NDArray[np.uint8]:
        """The pixels (H, W, 1 or 3) of a file or, under `partial`, of its first steps that are whole.

        Realism 0 is the estimate of x_0 in one step; `seed` names the noise that eta > 0 adds. Raises Corrupt naming
        the step that does not decode.
        """
        whole = [payload for payload in takewhile(lambda part: part is not None, stream.tiles) if payload is not None]
        if not whole:
            raise Corrupt("latents, step 0: cut off or damaged")
        header = stream.header
        size = (header.height, header.width)
        x_t, received = receive(self.denoiser, whole, size, header.tile, partial=options.partial)
        if received < len(stream.tiles):
            log.warning("latents: %d of %d steps are whole and decoded", received, len(stream.tiles))
        final = options if options.realism else replace(options, steps=1)
        pixels = reconstruct(self.denoiser, x_t, received, size, final, grey=header.grey, student=self.student)
        return options.cut(pixels)


def _network(config: PriorConfig, arrays: Arrays, device: str) -> Student:
    """The network on ONNX Runtime, or on a device of torch's. Raises ModelError where the arrays do not fit."""
    if device == "onnx":
        from regrain.onnx import unconditional

        return unconditional.Denoiser(config, arrays)
    from regrain.diffusion import prior

    return prior.TorchDenoiser.build(config, arrays, device)
