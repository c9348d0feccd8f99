"""The progressive codec's denoiser on ONNX Runtime, the default: weights are read and run without torch."""

from pathlib import Path

import numpy as np

from regrain import checkpoint, configuration
from regrain.diffusion.unconditional_config import KIND, STRIDE, PriorConfig
from regrain.errors import ModelError, UsageError
from regrain.onnx.unconditional import Denoiser
from regrain.progressive.model import Model

__all__ = ["load"]


def load(path: Path) -> Model:
    """Read a shipped weights file. Raises ModelError if it is missing, damaged or of another kind."""
    arrays, metadata = checkpoint.load(path)
    if metadata.get("kind") != KIND:
        raise ModelError(f"{path}: not weights of an unconditional prior")
    recipe = checkpoint.text(metadata, "recipe")
    try:
        config = PriorConfig.from_dict(metadata.get("config"))
        if (layers := configuration.depth(config)) > len(arrays):
            raise ModelError(f"{layers} layers, and {len(arrays)} tensors for them")
        denoiser = Denoiser(config, checkpoint.part(arrays, ""))
        denoiser.denoise(np.zeros((3, STRIDE, STRIDE), np.float32), 0.0)
    except (ModelError, UsageError) as error:
        raise ModelError(f"{path}: not weights of this prior: {error}") from None
    return Model(denoiser, recipe, checkpoint.fingerprint(arrays), "onnx")
