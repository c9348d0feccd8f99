"""Weights on disk: safetensors and nothing else, written to a temporary name, flushed to the disk and renamed, so that
at every moment `path` holds what it held before or all of what comes after.

The fingerprint of a set of tensors is the first 4 bytes of SHA-256 over name, dtype, shape and little-endian bytes of
each, in order of their names: what the file format calls the latent fingerprint.
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

__all__ = ["fingerprint", "load", "load_metadata", "save"]

KEY, CHECK = "regrain", "checksum"


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
    return tensors, metadata


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
