"""Networks that others published: their files, read without running what is in them, and the batches they compare.

Nothing is fetched. A safetensors file holds tensors alone; of a file that PyTorch saved nothing but tensors is rebuilt
(`weights_only`). The tensors of a file say what it is, its name does not. A network takes exactly the tensors that it
has, by name and shape.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.errors import ModelError, UsageError
from regrain.torch_checkpoint import mismatch

__all__ = ["check_pair", "classify", "load_weights", "read", "read_convolutions"]

M = TypeVar("M", bound=nn.Module)

_SIGNS = {
    "lpips_squeeze": {"lin0.weight", "features.3.squeeze.weight"},
    "lpips_alex": {"lin0.weight", "features.3.weight"},
    "lpips_vgg": {"lin0.weight"},
    "pieapp": {"fc1_score.weight"},
    "dists": {"alpha", "beta"},
    "vgg16": {"features.28.weight"},
}
"""The tensors by which a file counts as each kind, the more particular kinds first; loading checks all the rest."""

_COUNTER = "num_batches_tracked"


def classify(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Sort files by kind: `lpips_alex`, `lpips_squeeze`, `lpips_vgg` (its heads alone), `vgg16` (torchvision's),
    `dists` (alpha and beta), `pieapp`. Raises ModelError for a file that is none of these or cannot be read.
    """
    return {_kind(read(path), Path(path)): Path(path) for path in paths}


def _kind(tensors: Mapping[str, Tensor], path: Path) -> str:
    for kind, signs in _SIGNS.items():
        if signs <= tensors.keys():
            return kind
    raise ModelError(f"{path} holds no weights of a metric: its tensors are of none of {', '.join(_SIGNS)}")


def read(path: str | Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file, or of a dictionary of tensors that PyTorch saved, on the CPU.

    Raises ModelError where the file is missing, is neither, or holds anything else.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(f"{path}: weights cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError:
        return _saved_by_torch(path)


def read_convolutions(path: str | Path) -> dict[str, Tensor]:
    """Read the convolutions of a classifier's file and leave out the layers behind them. Raises ModelError."""
    return {name: tensor for name, tensor in read(path).items() if not name.startswith("classifier.")}


def _saved_by_torch(path: str | Path) -> dict[str, Tensor]:
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):  # weights_only did not hold before: CVE-2025-32434
        raise ModelError(f"{path}: to read what PyTorch saved, PyTorch 2.6 is needed; a safetensors file is allowed")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what it raises for a foreign or hostile file is in no list
        raise ModelError(f"{path} is neither a safetensors file nor tensors that PyTorch saved") from error
    if not isinstance(held, dict) or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise ModelError(f"{path} does not hold tensors by name and nothing else")
    return {str(name): tensor.detach() for name, tensor in held.items()}


def load_weights(module: M, tensors: Mapping[str, Tensor], failure: str) -> M:
    """Give `module` these tensors as float32, frozen and for inference alone; counters of batch norms do not matter.

    Raises ModelError, whose text begins with `failure`, unless every tensor has a name and a shape of the module's.
    """
    expected, weights = _without_counters(module.state_dict()), _without_counters(tensors)
    if reason := mismatch(expected, weights):
        raise ModelError(f"{failure}: {reason}")
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False, assign=True)
    return module.requires_grad_(False).eval()


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if _COUNTER not in name}


def check_pair(network: str, a: Tensor, b: Tensor, smallest: int) -> None:
    """Raise UsageError unless both are RGB batches (B, 3, H, W) of one shape, with sides of at least `smallest`."""
    if a.shape != b.shape or a.dim() != 4 or a.shape[1] != 3 or min(a.shape[2:]) < smallest:
        raise UsageError(
            f"{network} of {tuple(a.shape)} and {tuple(b.shape)}: only equal (B, 3, H, W), sides >= {smallest}, do"
        )
