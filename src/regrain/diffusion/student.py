"""A prior's student for few steps, in the prior's own file: what its weights differ by, in 8 bits.

    weight = prior's weight + scale difference,    difference an integer from -127 to 127, a scale an output channel

Names are those of the prior's tensors under PREFIX, as `checkpoint.in_8_bits` has them. Vectors stand there whole,
and what is as the prior has it does not. Columns that the prior has not count as 0 there. What a file names, its
fingerprint, is that of the prior alone, so that a student may come, change or go, and every file stays decodable.
Invariant: `restore` of `differences` is the student but for half a scale in each weight.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regrain.checkpoint import SCALE, Arrays, from_8_bits, in_8_bits, part
from regrain.errors import ModelError

__all__ = ["PREFIX", "differences", "restore", "without_student"]

PREFIX: Final = "student."


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
    changes: dict[str, NDArray[np.generic]] = {}
    for name, array in student.items():
        if array.shape != prior[name].shape or not np.array_equal(array, prior[name]):
            own = 0 if array.ndim < 2 else _widened(prior[name], array.shape)
            changes[PREFIX + name] = array.astype(np.float32) - own
    return in_8_bits(changes)


def restore(arrays: Arrays) -> dict[str, NDArray[np.float32]] | None:
    """The student's arrays, float32, from those of a file; None where there is none.

    Raises ModelError for differences from nothing, without a scale a channel, or beyond all numbers.
    """
    packed = part(arrays, PREFIX)
    restored = {name: array.astype(np.float32) for name, array in from_8_bits(packed).items()}
    for name in restored:
        if name + SCALE in packed:
            if name not in arrays:
                raise ModelError(f"{PREFIX}{name} is no difference from weights of the prior")
            restored[name] += _widened(arrays[name], restored[name].shape)
        if not np.isfinite(restored[name]).all():
            raise ModelError(f"{PREFIX}{name} holds what are no finite numbers")
    rest = {name: array.astype(np.float32) for name, array in without_student(arrays).items() if name not in restored}
    return rest | restored if restored else None


def _widened(array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The array in float32 with columns of 0 behind, to this shape. Raises ModelError where it has another one."""
    missing = shape[1] - array.shape[1] if array.ndim == len(shape) else -1
    if missing < 0 or array.shape[:1] + array.shape[2:] != shape[:1] + shape[2:]:
        raise ModelError(f"weights of {shape} differ from ones of {array.shape}")
    return np.pad(array.astype(np.float32), [(0, 0), (0, missing), *[(0, 0)] * (len(shape) - 2)])
