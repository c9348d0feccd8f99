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

from regrain.bitstream import Stream, step_count
from regrain.errors import Corrupt
from regrain.options import DecodeOptions
from regrain.progressive.decode import receive, reconstruct
from regrain.progressive.encode import stream as encoded_steps
from regrain.progressive.model import Model

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


class ProgressiveModel(Model):
    """Weights ready for use, as `regrain.load` returns them."""

    def default_steps(self, realism: float) -> int:
        """One, at any realism."""
        return 1

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind.

        The network runs on ONNX Runtime where `device` is None or "onnx", and otherwise on torch's device of that name.
        """
        return cls(**vars(_open(path, device)))

    def prepare(self, pixels: NDArray[np.uint8], tile: int) -> Prepared:
        """Begin to encode. pixels (H, W, 1 or 3); tile in pixels."""
        return Prepared(step.payload for step in encoded_steps(self, pixels, tile))

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
        x_t, received = receive(self, whole, size, header.tile, partial=options.partial)
        if received < len(stream.tiles):
            log.warning("latents: %d of %d steps are whole and decoded", received, len(stream.tiles))
        final = options if options.realism else replace(options, steps=1)
        return options.cut(reconstruct(self, x_t, received, size, grey=header.grey, options=final))


def _open(path: Path, device: str | None) -> Model:
    if device in (None, "onnx"):
        from regrain.progressive import onnx_backend

        return onnx_backend.load(path)
    from regrain.progressive import torch_backend

    return torch_backend.load(path, str(device))
