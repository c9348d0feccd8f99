"""The progressive codec's denoiser on ONNX Runtime, the default: weights are read and run without torch."""

from pathlib import Path

from regrain import configuration
from regrain.diffusion.unconditional_config import KIND, PriorConfig
from regrain.errors import ModelError, UsageError
from regrain.onnx import weights
from regrain.onnx.unconditional import Denoiser

__all__ = ["load"]


def load(path: Path) -> tuple[Denoiser, str, bytes]:
    """The denoiser of a weights file, the name of its recipe and its fingerprint.

    Raises ModelError if the file is missing, damaged or of another kind.
    """
    arrays, metadata = weights.load(path)
    if metadata.get("kind") != KIND:
        raise ModelError(f"{path}: not weights of an unconditional prior")
    try:
        config = configuration.read(PriorConfig, metadata.get("config"), "config")
        denoiser = Denoiser(config, weights.part(arrays, ""))
    except (ModelError, UsageError) as error:
        raise ModelError(f"{path}: not weights of this prior: {error}") from None
    return denoiser, str(metadata.get("recipe", "")), weights.fingerprint(arrays)
