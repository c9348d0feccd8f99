"""A graph that runs: ONNX Runtime on the CPU, with as many threads as --threads says, none of which spins.

Weights of wrong shapes end in ModelError, where the graph is made or where it runs; no memory left is a MemoryError.
"""

import os
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from regrain.errors import ModelError

__all__ = ["Network"]

ERRORS_ONLY = 3


class Network:
    """One network, from the bytes of its graph."""

    def __init__(self, graph: bytes) -> None:
        """Raises ModelError for bytes that ONNX Runtime does not take."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = _threads(), 1
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"the weights make no network: {' '.join(str(error).split())}") from None
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Images (C, H, W) or matrices (M, N), as many as the graph takes, to those that it gives."""
        named = {name: array[None] for name, array in zip(self._inputs, arrays, strict=True)}
        try:
            return [output[0] for output in self._session.run(None, named)]
        except Exception as error:
            text = " ".join(str(error).split())
            raise MemoryError(text) if "alloc" in text else ModelError(f"the weights do not fit: {text}") from None


def _threads() -> int:
    """What the environment says, as it does to torch, or else all cores that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return int(said) if said.isdecimal() and int(said) else len(allowed)
