"""Weights on disk: safetensors and nothing else, written to a temporary name, flushed to the disk and renamed, so that
at every moment `path` holds what it held before or all of what comes after.

The fingerprint of a set of tensors is the first 4 bytes of SHA-256 over name, dtype, shape and little-endian bytes of
each, in order of their names: what the file format calls the latent fingerprint.

Weights of earlier releases are kept at half their size: a kernel is 8-bit integers times one float16 unit for each
output channel, tensors NAME and NAME.unit in the file, and float16 again once it is read.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from regrain.errors import ModelError, OutputError

__all__ = ["fingerprint", "load", "load_metadata", "save", "shrunk"]

KEY, CHECK = "regrain", "checksum"
UNIT = ".unit"
BYTE_MAX = 127
UNIT_TOP = 65504 / 128 * 127
"""So that no kernel leaves the range of float16."""


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
    """Tensors on the CPU, and metadata. Raises ModelError if the file is missing, damaged or not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors, raw = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    metadata = _metadata(raw, path)
    if fingerprint(tensors).hex() != metadata.pop(CHECK, None):
        raise ModelError(f"{path}: damaged: the checksum of its tensors is not the one written beside them")
    return _grown(tensors, path), metadata


def shrunk(tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors to save in place of these: kernels whose names begin with one of the prefixes in 8 bits, the rest as is.

    A value comes back within about half a unit, which is the largest of its output channel over 127.
    """
    small: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        small[name] = tensor
        if name.startswith(prefixes) and tensor.dim() == 4:
            unit = (tensor.float().abs().amax((1, 2, 3)) / BYTE_MAX).clamp_min(2.0**-24).half()
            whole = (tensor.float() / _rows(unit)).round().clamp(-BYTE_MAX, BYTE_MAX)
            small |= {name: whole.to(torch.int8), f"{name}{UNIT}": unit}
    return small


def _grown(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The inverse of `shrunk`. Raises ModelError where a unit and its kernel do not fit each other."""
    units = {name.removesuffix(UNIT): tensors.pop(name) for name in [*tensors] if name.endswith(UNIT)}
    for name, unit in units.items():
        kernel = tensors.get(name)
        if kernel is None or kernel.dtype != torch.int8 or kernel.dim() != 4 or unit.shape != kernel.shape[:1]:
            raise ModelError(f"{path}: {name}{UNIT} is no unit of {name}")
        if unit.dtype != torch.float16 or not bool((unit.float().abs() * BYTE_MAX < UNIT_TOP).all()):
            raise ModelError(f"{path}: {name}{UNIT} is out of range")
        tensors[name] = (kernel.float() * _rows(unit)).half()
    return tensors


def _rows(unit: Tensor) -> Tensor:
    return unit.float()[:, None, None, None]


def load_metadata(path: Path) -> dict[str, Any]:
    """Metadata alone. Raises ModelError as `load` does."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(file.metadata(), path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    metadata.pop(CHECK, None)
    return metadata


def _unreadable(path: Path, error: Exception) -> ModelError:
    hint = "" if path.exists() else "; reinstall regrain, or name a file with --model"
    return ModelError(f"{path}: weights cannot be read: {str(error).splitlines()[0]}{hint}")


def _metadata(raw: dict[str, str] | None, path: Path) -> dict[str, Any]:
    try:
        data = json.loads((raw or {})[KEY])
    except (KeyError, json.JSONDecodeError):
        raise ModelError(f"{path}: a safetensors file, but not weights of regrain") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: a safetensors file, but not weights of regrain")
    return data


def fingerprint(tensors: Mapping[str, Tensor]) -> bytes:
    """4 bytes that change when any tensor does."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()[:4]
