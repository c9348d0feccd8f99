"""A network takes as many threads as the environment says, and says what keeps it from running."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from regrain.onnx.graph import Graph


def test_memory_that_runs_out_is_that(monkeypatch):
    graph = Graph({}, "x")
    network = graph.network(graph.silu("x"))

    class Session:
        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] Failed to allocate memory for requested buffer\nof size 9")

    monkeypatch.setattr(network, "_session", Session())
    with pytest.raises(MemoryError, match="requested buffer of size 9"):
        network(np.zeros((1, 1, 1), np.float32))


@pytest.mark.parametrize(("said", "threads"), [("3", 3), (" 2,1", 2), ("0", None), ("", None), ("many", None)])
def test_threads_are_those_of_the_environment(said, threads, monkeypatch):
    from regrain.onnx import network

    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(network.os, "sched_getaffinity", lambda _: {4, 5, 7, 9, 11}, raising=False)
    assert network._threads() == (threads or 5)
