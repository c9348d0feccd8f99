"""Files of numbers and graphs for the codec in the browser; `web/src/model.ts` reads them.

    NAME-HASH.bin     gzip of: length of the head (4 bytes), the head as JSON, zeros to a multiple of 8, the data
    head              {"tensors": [[type, shape, at], ...], "graphs": {NAME: [at, bytes, constants]}}
    constants         {NAME IN THE GRAPH: [file, tensor]}
    head of a change  {"tensors": as above, "changes": {GRAPH: {NAME IN IT: numbers}}, "tables": {NAME: tensor}}
    numbers           [tensor], the constant whole, or [left, right], factors (O, K) and (K, ...) of what is added to it

A graph is stored without its constants, as the bytes of an ONNX model; appended to them, constants make it whole, since
a message of protobuf is the sum of its parts. Types are f32, f16, i32, u16, i8 and q8: 8 bits whose scales, float32
for each first index, follow the numbers at the next multiple of 4. `waves` and `waves-back` are matrices that
`dct.ts` computes.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from regrain.conditional.config import ModelConfig
from regrain.conditional.dct import BLOCK, dct_basis
from regrain.onnx import blocks, wire
from regrain.onnx.network import Network

__all__ = ["Bundle", "Change", "factors", "quantize"]

Array = NDArray[Any]

LARGE: Final = 70000
"""Weights of a denoiser have 8 bits where a tensor has more numbers than these, which are those at 1/8 and 1/16 of the
resolution. With the layers that pixels enter and leave by in 8 bits, too, pixels move by up to four levels."""
SHRINKS: Final = np.linspace(0.7, 1, 13)
NEAR: Final = 1e-5
"""What factors may leave of a change, for its size, before they are rounded to 16 bits."""


class Bundle:
    """One file in the making: tensors, each stored once, and graphs that name them."""

    def __init__(self, name: str, earlier: Sequence["Bundle"] = ()) -> None:
        """Begin a file, which may name tensors of those `earlier`."""
        self.name, self.earlier = name, earlier
        self.data, self.tensors = bytearray(), list[list[object]]()
        self.graphs: dict[str, list[object]] = {}
        self._known: dict[bytes, int] = {}

    def find(self, array: Array) -> tuple[str, int] | None:
        """Where a tensor is, in this file or an earlier one."""
        key = _key(array)
        holders = (bundle for bundle in (self, *self.earlier) if key in bundle._known)
        return next(((bundle.name, bundle._known[key]) for bundle in holders), None)

    def add(self, array: Array, kind: str) -> tuple[str, int]:
        """Store a tensor as this type, unless it is there."""
        if (place := self.find(array)) is None:
            place = self.name, len(self.tensors)
            self._known[_key(array)] = place[1]
            self.tensors.append([kind, list(array.shape), self._append(_bytes(array, kind))])
        return place

    def graph(self, name: str, network: Network, *, narrow: bool = False) -> None:
        """Store a graph, and its constants; narrow ones have 8 bits where they are large."""
        nodes, arrays, inputs, outputs = _parts(network)
        table = {key: self.add(array, _kind(array, narrow)) for key, array in arrays.items()}
        skeleton = wire.model(nodes, {}, inputs, outputs)
        self.graphs[name] = [self._append(skeleton), len(skeleton), table]

    def write(self, folder: Path) -> dict[str, object]:
        """Write the file; return its name and its sizes, packed and unpacked."""
        head = json.dumps(self.head(), separators=(",", ":")).encode()
        plain = len(head).to_bytes(4, "little") + head
        plain += bytes(-len(plain) % 8) + self.data
        packed = gzip.compress(plain, 9, mtime=0)
        path = folder / f"{self.name}-{hashlib.sha256(packed).hexdigest()[:8]}.bin"
        path.write_bytes(packed)
        return {"file": path.name, "bytes": len(packed), "unpacked": len(plain)}

    def head(self) -> dict[str, object]:
        """What stands before the numbers."""
        return {"tensors": self.tensors, "graphs": self.graphs}

    def _append(self, data: bytes) -> int:
        at = len(self.data)
        self.data += data + bytes(-len(data) % 8)
        return at


class Change(Bundle):
    """What makes other weights of those in other files."""

    def __init__(self, name: str) -> None:
        """Begin with no change."""
        super().__init__(name)
        self.changes: dict[str, dict[str, list[int]]] = {}
        self.tables: dict[str, int] = {}

    def graph_change(self, graph: str, before: Network, after: Network) -> None:
        """Store what makes the constants of a graph those of another, where they differ; integers whole and exact."""
        old, new = (_parts(network)[1] for network in (before, after))
        for name, array in old.items():
            change = new[name] - array.astype(np.float64)
            if change.any():
                floats = change.ndim == 4 and not np.array_equal(new[name], np.rint(new[name]))
                numbers = (factors(change) if floats else None) or (new[name],)
                self.changes.setdefault(graph, {})[name] = [self.add(part, _kind(part, False))[1] for part in numbers]

    def table(self, name: str, array: Array, kind: str) -> None:
        """Store a table that differs."""
        self.tables[name] = self.add(array, kind)[1]

    def head(self) -> dict[str, object]:
        """What stands before the numbers."""
        return {"tensors": self.tensors, "changes": self.changes, "tables": self.tables}


def _parts(network: Network) -> tuple[list[wire.Node], Mapping[str, Array], Sequence[str], Sequence[str]]:
    """Nodes, constants, inputs and outputs of a graph."""
    nodes, constants, inputs, outputs = cast("partial[bytes]", network.write).args
    return nodes, constants, inputs, outputs


def _key(array: Array) -> bytes:
    return hashlib.sha256(f"{array.shape}".encode() + array.astype("<f8").tobytes()).digest()


def _kind(array: Array, narrow: bool) -> str:
    """The type in which a constant of a graph is stored."""
    if name := next((name for name, waves in _waves().items() if np.array_equal(array, waves)), None):
        return name
    if narrow and array.ndim == 4 and array.size > LARGE:
        return "q8"
    if array.ndim == 4 and np.array_equal(array, array.astype(np.int8)):
        return "i8"
    return "f16" if np.array_equal(array, array.astype(np.float16)) else "f32"


def _waves() -> dict[str, Array]:
    """The fixed matrices of analysis and sketch."""
    basis, std = dct_basis(ModelConfig().transform.latent)
    forth = blocks.patch_major((basis / std[:, None])[:, :, None, None], BLOCK)
    return {"waves": forth, "waves-back": (basis * std[:, None]).T[:, :, None, None]}


def _bytes(array: Array, kind: str) -> bytes:
    if kind in _waves():
        return b""
    if kind == "q8":
        numbers, scales = quantize(array.astype(np.float32))
        return numbers.tobytes() + bytes(-numbers.size % 4) + scales.astype("<f4").tobytes()
    names = {"f32": "<f4", "f16": "<f2", "i32": "<i4", "u16": "<u2", "i8": "i1"}
    stored = array.astype(names[kind])
    if kind != "f32" and not np.array_equal(stored, array):
        raise SystemExit(f"a tensor {array.shape} does not fit {kind}")
    return stored.tobytes()


def quantize(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights (O, ...) as int8 of the same shape, and scales (O,), those of 13 with the least squared error.

    >>> numbers, scales = quantize(np.float32([[1, -0.5], [0, 0]]))
    >>> (numbers * scales[:, None]).round(2).tolist()
    [[1.0, -0.5], [0.0, 0.0]]
    """
    rows = weight.reshape(len(weight), -1)
    widest = np.maximum(np.abs(rows).max(1) / 127, np.float32(1e-12))
    numbers, scales = np.zeros(rows.shape, np.int8), np.zeros(len(rows), np.float32)
    least = np.full(len(rows), np.inf)
    for shrink in SHRINKS:
        scale = (widest * shrink).astype(np.float32)[:, None]
        tried = np.rint(rows / scale).clip(-127, 127)
        error = np.square(tried * scale - rows).sum(1)
        better = error < least
        numbers[better], scales[better], least[better] = tried[better], scale[better, 0], error[better]
    return numbers.reshape(weight.shape), scales


def factors(change: NDArray[np.float64]) -> tuple[NDArray[np.float16], NDArray[np.float16]] | None:
    """(O, K) and (K, ...) whose product a change of weights (O, ...) is; None where both are no smaller.

    >>> left, right = factors(np.ones((20, 4, 3, 3)))
    >>> left.shape, right.shape, float((left @ right).max().round(2))
    ((20, 1), (1, 36), 1.0)
    """
    matrix = change.reshape(len(change), -1)
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    rank = int((sizes > NEAR * sizes[0]).sum())
    if rank * sum(matrix.shape) >= matrix.size:
        return None
    roots = np.sqrt(sizes[:rank])
    return (left[:, :rank] * roots).astype(np.float16), (roots[:, None] * right[:rank]).astype(np.float16)
