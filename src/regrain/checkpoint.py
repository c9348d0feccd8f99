"""Weights on disk: safetensors and nothing else, as NumPy arrays.

At every moment the name of a file holds what it held before or all of what comes after (`output`). The fingerprint of
a set of arrays is the first 4 bytes of SHA-256 over `name|torch.type|shape|` and the little-endian bytes of each, in
order of their names: what the file format calls the latent fingerprint.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from regrain.errors import ModelError, OutputError, escape, quote, reason
from regrain.output import write_bytes

__all__ = [
    "SCALE", "Arrays", "fingerprint", "from_8_bits", "in_8_bits", "load", "load_metadata", "part", "save", "text",
]  # fmt: skip

T = TypeVar("T")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

KEY, CHECK = "regrain", "checksum"
SCALE = ":scale"
"""What the name of an array in 8 bits has behind it for that of its scales."""
_LARGEST = 127


def save(path: Path, arrays: Arrays, metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON-able metadata atomically. Raises OutputError; nothing half-written is left."""
    marked = {**metadata, CHECK: fingerprint(arrays).hex()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(to_bytes(dict(arrays), metadata={KEY: json.dumps(marked)}), path, flush=True)
    except OutputError:
        raise
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: weights cannot be written: {reason(error)}") from None


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays, every number of them finite in float32, and metadata.

    Raises ModelError if the file is missing, damaged or not one of ours.
    """
    with _open(path) as file:
        metadata = _metadata(file.metadata(), path)
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not (np.abs(array) <= np.finfo(np.float32).max).all():
            raise ModelError(f"{path}: {quote(name)} holds what are no finite numbers")
    if fingerprint(arrays).hex() != metadata.pop(CHECK, None):
        raise ModelError(f"{path}: damaged: the checksum of its tensors is not the one written beside them")
    return arrays, metadata


def load_metadata(path: Path) -> dict[str, Any]:
    """Metadata alone. Raises ModelError as `load` does."""
    with _open(path) as file:
        metadata = _metadata(file.metadata(), path)
    metadata.pop(CHECK, None)
    return metadata


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A safetensors file that can be read; no pipe, which might never end, and no device."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelError(f"{path}: weights cannot be read: it is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:  # beside OSError and SafetensorError, NumPy's for types that it does not have
        hint = "" if path.exists() else "; reinstall regrain, or name a file with --model"
        raise ModelError(f"{path}: weights cannot be read: {escape(reason(error))}{hint}") from None


def _metadata(raw: dict[str, str] | None, path: Path) -> dict[str, Any]:
    try:
        data = json.loads((raw or {})[KEY])
    except (KeyError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: a safetensors file, but not weights of regrain")
    for name in ("kind", "recipe"):
        if not isinstance(data.get(name, ""), str):
            raise ModelError(f"{path}: {name} is {quote(data[name])}; text is allowed")
    return data


def fingerprint(arrays: Arrays) -> bytes:
    """4 bytes that change when any array does."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|torch.{array.dtype}|{array.shape}|".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:4]


def part(arrays: Mapping[str, T], prefix: str) -> dict[str, T]:
    """A network's arrays, or tensors, whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def in_8_bits(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Arrays of two axes and more as integers from -127 to 127 with a scale a row; vectors as float16.

    >>> import numpy as np
    >>> packed = in_8_bits({"w": np.array([[1.27, -0.5]])})
    >>> packed["w"].tolist(), round(packed["w:scale"].item(), 4)
    ([[127, -50]], 0.01)
    """
    packed: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.ndim < 2:
            packed[name] = array.astype(np.float16)
            continue
        array = array.astype(np.float32)
        scale = np.abs(array).max(tuple(range(1, array.ndim)), keepdims=True) / _LARGEST
        packed[name] = np.round(array / np.maximum(scale, 1e-30)).astype(np.int8)
        packed[name + SCALE] = scale.astype(np.float32)
    return packed


@np.errstate(over="ignore", invalid="ignore")
def from_8_bits(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays that `in_8_bits` made these of, but for half a scale in each number; others stay as they are.

    Raises ModelError for scales that fit no array, and numbers that become infinite.
    """
    whole = {name: array for name, array in arrays.items() if not name.endswith(SCALE)}
    for name, scale in arrays.items():
        if name.endswith(SCALE):
            integers = whole.get(name := name.removesuffix(SCALE))
            if integers is None or integers.ndim < 2 or scale.shape != (len(integers), *[1] * (integers.ndim - 1)):
                raise ModelError(f"{quote(name)} has no scale a row")
            whole[name] = scale.astype(np.float32) * integers.astype(np.float32)
            if not np.isfinite(whole[name]).all():
                raise ModelError(f"{quote(name)} holds what are no finite numbers")
    return whole


def text(about: Mapping[str, object], name: str) -> str:
    """What a file says of itself under a name, "" where it says nothing. Raises ModelError where that is no text."""
    if not isinstance(value := about.get(name, ""), str):
        raise ModelError(f"{name} is {quote(value)}; text is allowed")
    return value
