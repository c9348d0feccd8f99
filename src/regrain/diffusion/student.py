"""A prior's student for few steps, in the prior's own file: what its weights differ by, in 8 bits.

    weight = prior's weight + scale difference,    difference an integer from -127 to 127, a scale an output channel

Names are those of the prior's tensors under PREFIX; scales have `SCALE` behind. Vectors stand there whole, in float16.
Columns that the prior has not count as 0 there. What a file names, its fingerprint, is that of the prior alone, so
that a student may come, change or go, and every file stays decodable. Invariant: `restore` of `differences` is the
student but for half a scale in each weight.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regrain.checkpoint import Arrays, part
from regrain.errors import ModelError

__all__ = ["PREFIX", "differences", "restore", "without_student"]

PREFIX: Final = "student."
SCALE: Final = ":scale"
_LARGEST: Final = 127


def without_student(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of the prior itself."""
    return {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}


def differences(prior: Arrays, student: Arrays) -> dict[str, NDArray[np.generic]]:
    """What goes into the prior's file of a student's arrays; both are named as in Prior's state dict.

    >>> import numpy as np
    >>> packed = differences({"w": np.zeros((1, 2))}, {"w": np.array([[1.27, -0.5]])})
    >>> packed["student.w"].tolist()
    [[127, -50]]
    """
    packed: dict[str, NDArray[np.generic]] = {}
    for name, array in student.items():
        if array.ndim < 2:
            packed[PREFIX + name] = array.astype(np.float16)
            continue
        change = array.astype(np.float32) - _widened(prior[name], array.shape)
        scale = np.abs(change).max(tuple(range(1, array.ndim)), keepdims=True) / _LARGEST
        packed[PREFIX + name] = np.round(change / np.maximum(scale, 1e-30)).astype(np.int8)
        packed[PREFIX + name + SCALE] = scale.astype(np.float32)
    return packed


def restore(arrays: Arrays) -> dict[str, NDArray[np.float32]] | None:
    """The student's arrays, float32, from those of a file; None where there is none. Raises ModelError."""
    packed = part(arrays, PREFIX)
    restored = {}
    for name, array in packed.items():
        if name.endswith(SCALE):
            continue
        restored[name] = array.astype(np.float32)
        if name + SCALE in packed:
            if name not in arrays or np.ndim(packed[name + SCALE]) != array.ndim:
                raise ModelError(f"{PREFIX}{name} differs from nothing")
            scale = packed[name + SCALE].astype(np.float32)
            restored[name] = _widened(arrays[name], array.shape) + scale * restored[name]
    return restored or None


def _widened(array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The array in float32 with columns of 0 behind, to this shape. Raises ModelError where it has another one."""
    missing = shape[1] - array.shape[1] if array.ndim == len(shape) else -1
    if missing < 0 or array.shape[:1] + array.shape[2:] != shape[:1] + shape[2:]:
        raise ModelError(f"weights of {shape} differ from ones of {array.shape}")
    return np.pad(array.astype(np.float32), [(0, 0), (0, missing), *[(0, 0)] * (len(shape) - 2)])
