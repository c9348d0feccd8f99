"""A graph as the bytes that ONNX Runtime loads: ONNX's messages in protobuf, as many of them as networks here need.

    message = field field ...      field = varint(8 number + type) value
    type 0: a varint      type 2: a length as a varint, and so many bytes (text, values, or a message)

The numbers are those of onnx.proto (ONNX IR version 8, operators of version 17). The package `onnx` writes the same,
and the tests read these bytes with it; to decode, its 30 MB and its start-up are not needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrain.varint import put_varint

__all__ = ["FLOAT", "INT8", "INT32", "UINT8", "Attribute", "Constant", "Node", "model"]

Attribute = int | str | Sequence[int]
Constant = NDArray[Any] | Callable[[], NDArray[Any]]

IR_VERSION, OPERATORS = 8, 17
FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
"""Types of elements."""
_TYPES = {np.uint8: UINT8, np.int8: INT8, np.int32: INT32}
_INT, _STRING, _INTS = 2, 3, 7


@dataclass(frozen=True)
class Node:
    """One operation: its kind, the names of its inputs and of its output, and attributes by name."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Attribute]


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return put_varint(number << 3) + put_varint(value)
    body = value.encode() if isinstance(value, str) else value
    return put_varint(number << 3 | 2) + put_varint(len(body)) + body


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, _INT)
    if isinstance(value, str):
        return _field(1, name) + _field(4, value) + _field(20, _STRING)
    return b"".join([_field(1, name), *(_field(8, entry) for entry in value), _field(20, _INTS)])


def _node(node: Node) -> bytes:
    names = [_field(1, name) for name in node.inputs]
    attributes = [_field(5, _attribute(name, value)) for name, value in node.attributes.items()]
    return b"".join([*names, _field(2, node.output), _field(4, node.kind), *attributes])


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    """Numbers of any of the types; those of no other become float32."""
    kind = _TYPES.get(array.dtype.type, FLOAT)
    values = array.astype("<f4" if kind == FLOAT else array.dtype.newbyteorder("<"))
    return b"".join(
        [*(_field(1, size) for size in array.shape), _field(2, kind), _field(8, name), _field(9, values.tobytes())]
    )


def _value(name: str, axes: int, kind: int) -> bytes:
    """An input or output, of any size along each of its axes."""
    shape = _field(1, b"") * axes
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def model(
    nodes: Sequence[Node],
    constants: Mapping[str, Constant],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    axes: int = 4,
    types: Mapping[str, int] | None = None,
) -> bytes:
    """A whole model. Its inputs and outputs have so many axes, and are of float32 unless `types` names another type."""
    kinds = dict.fromkeys([*inputs, *outputs], FLOAT) | dict(types or {})
    graph = b"".join(
        [
            *(_field(1, _node(node)) for node in nodes),
            _field(2, "regrain"),
            *(_field(5, _tensor(name, array() if callable(array) else array)) for name, array in constants.items()),
            *(_field(11, _value(name, axes, kinds[name])) for name in inputs),
            *(_field(12, _value(name, axes, kinds[name])) for name in outputs),
        ]
    )
    return _field(1, IR_VERSION) + _field(7, graph) + _field(8, _field(1, "") + _field(2, OPERATORS))
