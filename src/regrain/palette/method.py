"""The palette codec as `codec` sees it: payloads of a picture at any quality, and the picture of payloads."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regrain.bitstream import Stream
from regrain.diffusion.budget import Budget
from regrain.errors import ModelError
from regrain.palette import pipelines
from regrain.palette.decode import decode_tiles, regrow
from regrain.palette.encode import encoder
from regrain.palette.model import Model
from regrain.palette.repair import Repair

__all__ = ["decode", "encoder", "load"]

STRIDE_MOST = 64
"""Pixels to a latent, that the smallest tile has one."""
STRENGTH = 0.5
"""Of the repair at realism 1: at full strength pictures are smoother, and no nearer to the original."""


def load(path: Path, device: str | None = None) -> Model:
    """A weights file of this package, or a Stable Diffusion's folder or hub id. Raises ModelError."""
    if path.suffix == ".safetensors":
        return Model.load(path, device)
    found = pipelines.load(path, device)
    if (stride := found.autoencoder.stride) > STRIDE_MOST:
        raise ModelError(f"{path}: an autoencoder with {stride} pixels to a latent: up to {STRIDE_MOST} are allowed")
    return Model(found.autoencoder, found.denoiser, found.name, found.fingerprint, torch.device(device or "cpu"))


def decode(
    model: Model, stream: Stream, *, steps: int | Budget, realism: float, eta: float, seed: int, partial: bool
) -> NDArray[np.uint8]:
    """The pixels (H, W, 1 or 3) of a file; realism is how strong the repair is, 0 decodes what is stored as it is.

    Raises Corrupt naming the tile that does not decode.
    """
    header = stream.header
    size = (header.height, header.width)
    levels, channel = decode_tiles(model.space, stream.tiles, size, header.tile, partial=partial)
    how = Repair(STRENGTH * realism, steps, eta, seed)
    return regrow(model, levels, channel, size, grey=header.grey, how=how)
