"""Weights on disk: safetensors and nothing else, written to a temporary name, flushed to the disk and renamed, so that
at every moment `path` holds what it held before or all of what comes after.

The fingerprint of a set of tensors is the first 4 bytes of SHA-256 over name, dtype, shape and little-endian bytes of
each, in order of their names: what the file format calls the latent fingerprint.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from regrain.errors import ModelError, OutputError, plain, shown

__all__ = ["fingerprint", "load", "load_metadata", "mismatch", "network", "save"]

M = TypeVar("M", bound=nn.Module)

KEY, CHECK = "regrain", "checksum"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TYPES = (*FLOATS, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool)


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata atomically. Raises OutputError; nothing half-written is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            marked = {**metadata, CHECK: fingerprint(contiguous).hex()}
            file.write(to_bytes(contiguous, metadata={KEY: json.dumps(marked)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: weights cannot be written: {reason}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU, every float of them finite, and metadata.

    Raises ModelError if the file is missing, damaged or not one of ours.
    """
    with _opened(path) as file:
        metadata = _metadata(file.metadata(), path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise ModelError(f"{path}: {shown(name)} is of {tensor.dtype}; {', '.join(map(str, TYPES))} are allowed")
        if tensor.dtype in FLOATS and not bool(tensor.isfinite().all()):
            raise ModelError(f"{path}: {shown(name)} holds numbers that are not finite")
    if fingerprint(tensors).hex() != metadata.pop(CHECK, None):
        raise ModelError(f"{path}: damaged: the checksum of its tensors is not the one written beside them")
    return tensors, metadata


def load_metadata(path: Path) -> dict[str, Any]:
    """Metadata alone. Raises ModelError as `load` does."""
    with _opened(path) as file:
        metadata = _metadata(file.metadata(), path)
    metadata.pop(CHECK, None)
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file that can be read; no pipe, which might never end, and no device."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelError(f"{path}: weights cannot be read: it is no regular file")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:  # beside OSError and SafetensorError, torch's for types that it does not have
        hint = "" if path.exists() else "; reinstall regrain, or name a file with --model"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{path}: weights cannot be read: {plain(reason)}{hint}") from None


def _metadata(raw: dict[str, str] | None, path: Path) -> dict[str, Any]:
    try:
        data = json.loads((raw or {})[KEY])
    except (KeyError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: a safetensors file, but not weights of regrain")
    for name in ("kind", "recipe"):
        if not isinstance(data.get(name, ""), str):
            raise ModelError(f"{path}: {name} is {shown(data[name])}; text is allowed")
    return data


def network(build: Callable[[], M], tensors: Mapping[str, Tensor], prefix: str = "", *, layers: int = 0) -> M:
    """The network that `build` makes, with the tensors whose names begin with `prefix`, float32, for inference.

    It is built without memory, so that a configuration costs what its tensors do, and no random number is drawn for
    weights to replace. Raises ModelError where one is missing, of another shape or has no place, and where fewer
    are there than the network has `layers`, before those are built.
    """
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if layers > len(found):
        raise ModelError(f"{layers} layers, and {len(found)} tensors for them")
    with torch.device("meta"):
        module = build()
    if wrong := mismatch(module.state_dict(), found):
        raise ModelError(wrong)
    module.load_state_dict({name: tensor.float() for name, tensor in found.items()}, assign=True)
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def mismatch(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """What keeps `found` from being `wanted`, in a few words; empty when nothing does."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != tensor.shape:
            return f"{name} is {plain(str(tuple(found[name].shape)))}, not {tuple(tensor.shape)}"
    extra = sorted(found.keys() - wanted.keys())
    return f"{plain(extra[0])} does not belong" if extra else ""


def fingerprint(tensors: Mapping[str, Tensor]) -> bytes:
    """4 bytes that change when any tensor does."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()[:4]
