"""Weights on disk as torch's tensors: `checkpoint` with tensors in and out, and networks filled with them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regrain import checkpoint
from regrain.checkpoint import load_metadata, part
from regrain.errors import ModelError, escape

__all__ = ["fingerprint", "load", "load_metadata", "mismatch", "network", "part", "save"]

M = TypeVar("M", bound=nn.Module)


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata atomically. Raises OutputError; nothing half-written is left."""
    checkpoint.save(path, _arrays(tensors), metadata)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU, every number of them finite, and metadata. Raises ModelError as `checkpoint.load` does."""
    arrays, metadata = checkpoint.load(path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata


def fingerprint(tensors: Mapping[str, Tensor]) -> bytes:
    """4 bytes that change when any tensor does."""
    return checkpoint.fingerprint(_arrays(tensors))


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def network(build: Callable[[], M], tensors: Mapping[str, Tensor], prefix: str = "", *, layers: int = 0) -> M:
    """The network that `build` makes, with the tensors whose names begin with `prefix`, float32, for inference.

    It is built without memory, so that a configuration costs what its tensors do, and no random number is drawn for
    weights to replace. Raises ModelError where one is missing, of another shape or has no place, and where fewer
    are there than the network has `layers`, before those are built.
    """
    own = part(tensors, prefix)
    if layers > len(own):
        raise ModelError(f"{layers} layers, and {len(own)} tensors for them")
    with torch.device("meta"):
        module = build()
    if wrong := mismatch(module.state_dict(), own):
        raise ModelError(wrong)
    module.load_state_dict({name: tensor.float() for name, tensor in own.items()}, assign=True)
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def mismatch(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """What keeps `tensors` from being `wanted`, in a few words; empty when nothing does."""
    for name, tensor in wanted.items():
        if name not in tensors:
            return f"{name} is missing"
        if tensors[name].shape != tensor.shape:
            return f"{name} is {escape(str(tuple(tensors[name].shape)))}, not {tuple(tensor.shape)}"
    extra = sorted(tensors.keys() - wanted.keys())
    return f"{escape(extra[0])} does not belong" if extra else ""
