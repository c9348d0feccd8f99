"""Files of tensors that others published: read without running what is in them, and known by what they hold.

Nothing is fetched. A safetensors file holds tensors alone; of a file that PyTorch saved nothing but tensors is rebuilt
(`weights_only`). Its name says nothing: the tensors do, and each must have the name and the shape that are wanted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.checkpoint import mismatch
from regrain.errors import ModelError

__all__ = ["convolutions", "fitted", "known", "read"]

M = TypeVar("M", bound=nn.Module)

_SIGNS = {
    "lpips_squeeze": {"lin0.weight", "features.3.squeeze.weight"},
    "lpips_alex": {"lin0.weight", "features.3.weight"},
    "lpips_vgg": {"lin0.weight"},
    "pieapp": {"fc1_score.weight"},
    "dists": {"alpha", "beta"},
    "vgg16": {"features.28.weight"},
}
"""What a file must hold to count as each kind, the more particular first; whether all of it fits is seen later."""

_COUNTER = "num_batches_tracked"


def known(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Files by kind: `lpips_alex`, `lpips_squeeze`, `lpips_vgg` (its heads alone), `vgg16` (torchvision's), `dists`
    (alpha and beta), `pieapp`. Raises ModelError for a file that is none of these or cannot be read.
    """
    return {_kind(read(path), Path(path)): Path(path) for path in paths}


def _kind(tensors: Mapping[str, Tensor], path: Path) -> str:
    for kind, signs in _SIGNS.items():
        if signs <= tensors.keys():
            return kind
    raise ModelError(f"{path} holds no weights of a metric: its tensors are of none of {', '.join(_SIGNS)}")


def read(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, or of a dictionary of tensors that PyTorch saved, on the CPU.

    Raises ModelError where the file is missing, is neither, or holds anything else.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(f"{path}: weights cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError:
        return _saved_by_torch(path)


def convolutions(path: str | Path) -> dict[str, Tensor]:
    """What `read` gives of a classifier's file, without what follows its convolutions. Raises ModelError."""
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


def fitted(module: M, tensors: Mapping[str, Tensor], said: str) -> M:
    """`module` with `tensors` as its own, frozen, for inference alone; batch norms' counters are of no account.

    Raises ModelError, which begins with `said`, unless every tensor has the name and the shape of one of the module's.
    """
    wanted, found = ({n: t for n, t in held.items() if _COUNTER not in n} for held in (module.state_dict(), tensors))
    if wrong := mismatch(wanted, found):
        raise ModelError(f"{said}: {wrong}")
    module.load_state_dict({name: tensor.float() for name, tensor in found.items()}, strict=False, assign=True)
    return module.requires_grad_(False).eval()
