"""A graph that runs: ONNX Runtime on the CPU, with as many threads as the caller says, none of which spins.

Weights of wrong shapes end in ModelError, where the graph is made or where it runs; no memory left is a MemoryError.
Invariants: ONNX Runtime sends nothing and keeps nothing of its own; a process may fork when no network is running.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # Release 1.32 would keep an id of the machine and events, and send them.
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from regrain.errors import ModelError, reason
from regrain.loading import TURN, thread_cap, thread_count
from regrain.onnx import wire

__all__ = ["Network", "exact_products", "matrix_product"]

ERRORS_ONLY = 3
_networks: "WeakSet[Network]" = WeakSet()


class Network:
    """One network, whose graph is written and loaded when it first runs."""

    def __init__(self, write: Callable[[], bytes], inputs: Sequence[str]) -> None:
        """Take what writes the graph, and the names of its inputs."""
        self.write, self._inputs = write, inputs
        self._sessions: dict[int | None, onnxruntime.InferenceSession] = {}

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Images (C, H, W) or matrices (M, N), as many as the graph takes, to those that it gives.

        Raises ModelError for weights that make no network, MemoryError where no memory is left.
        """
        named = {name: array[None] for name, array in zip(self._inputs, arrays, strict=True)}
        session = self._running()
        try:
            return [output[0] for output in session.run(None, named)]
        except Exception as error:
            text = reason(error)
            raise MemoryError(text) if "alloc" in text else ModelError(f"the weights do not fit: {text}") from None

    def close(self) -> None:
        """End the sessions and their threads; the next call makes another."""
        self._sessions = {}

    def _running(self) -> onnxruntime.InferenceSession:
        """The session of so many threads as `threads_at_most` says; a new one where there is none, or it was closed."""
        cap = thread_cap()
        if (session := self._sessions.get(cap)) is not None:  # closed meanwhile or not: it runs as long as it is held
            return session
        with TURN:
            if (session := self._sessions.get(cap)) is None:
                session = self._sessions[cap] = _session(self.write())
                _networks.add(self)
            return session


@cache
def matrix_product() -> Network:
    """Matrices (N, K), uint8, and (K, M), int8, to (N, M), int32, with the threads that all networks have."""
    node, types = wire.Node("MatMulInteger", ("a", "b"), "c", {}), {"a": wire.UINT8, "b": wire.INT8, "c": wire.INT32}
    return Network(lambda: wire.model([node], {}, ("a", "b"), ("c",), axes=3, types=types), ("a", "b"))


@cache
def exact_products() -> bool:
    """Whether products of the largest bytes are summed exactly: some processors saturate pairs of them in 16 bits."""
    largest = np.full((32, 64), 255, np.uint8), np.full((64, 32), 127, np.int8)
    (sums,) = matrix_product()(*largest)
    return bool((sums == 64 * 255 * 127).all())


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = thread_count(), 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"the weights make no network: {reason(error)}") from None


def _before_fork() -> None:
    """End all threads: a child has none of them, and its sessions would wait for them, if only to end."""
    TURN.acquire()
    for network in _networks:
        network.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=TURN.release, after_in_child=TURN.release)
