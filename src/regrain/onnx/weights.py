"""The shipped weights as arrays: the file that `checkpoint` writes, read without torch.

The fingerprint is checkpoint's, byte by byte: of each tensor, in order of names, `name|torch.type|shape|` and values.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from regrain.errors import ModelError, plain, shown

__all__ = ["Arrays", "fingerprint", "load", "part", "text"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def load(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays, and what the file says of itself. Raises ModelError if it is missing, damaged or not one of ours."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelError(f"{path}: weights cannot be read: it is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            arrays, raw = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except Exception as error:  # beside OSError and SafetensorError, NumPy's for types that it does not have
        hint = "" if path.exists() else "; reinstall regrain, or name a file with --model"
        reason = plain(next(iter(str(error).splitlines()), type(error).__name__))
        raise ModelError(f"{path}: weights cannot be read: {reason}{hint}") from None
    try:
        about = dict(json.loads((raw or {})["regrain"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ModelError(f"{path}: a safetensors file, but not weights of regrain") from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not (np.abs(array) <= np.finfo(np.float32).max).all():
            raise ModelError(f"{path}: {shown(name)} holds what are no finite numbers")
    if fingerprint(arrays).hex() != about.get("checksum"):
        raise ModelError(f"{path}: damaged: the checksum of its tensors is not the one written beside them")
    return arrays, about


def fingerprint(arrays: Arrays) -> bytes:
    """4 bytes that change when any array does."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|torch.{array.dtype}|{array.shape}|".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:4]


def part(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """A network's arrays, whose names begin with `prefix`, without it; a graph turns them into float32 when it runs."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def text(about: Mapping[str, object], name: str) -> str:
    """What a file says of itself under a name, "" where it says nothing. Raises ModelError where that is no text."""
    if not isinstance(value := about.get(name, ""), str):
        raise ModelError(f"{name} is {shown(value)}; text is allowed")
    return value
