"""A network takes as many threads as the environment says, and says what keeps it from running."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from regrain.loading import thread_count, threads_at_most
from regrain.onnx.graph import Graph


def test_memory_that_runs_out_is_that(monkeypatch):
    graph = Graph({}, "x")
    network = graph.network(graph.silu("x"))

    class Session:
        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] Failed to allocate memory for requested buffer\nof size 9")

    monkeypatch.setitem(network._sessions, None, Session())
    with pytest.raises(MemoryError, match="requested buffer of size 9"):
        network(np.zeros((1, 1, 1), np.float32))


def test_a_network_that_ran_already_takes_the_threads_of_who_calls_it_now(monkeypatch):
    from regrain.onnx import network as module

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    graph = Graph({}, "x")
    network, x = graph.network(graph.silu("x")), np.zeros((1, 1, 1), np.float32)
    asked, make = [], module._session
    monkeypatch.setattr(module, "_session", lambda data: asked.append(module.thread_count()) or make(data))
    network(x)
    with threads_at_most(1):
        network(x)
    network(x)
    assert asked == [2, 1]
    network.close()
    network(x)
    assert asked == [2, 1, 2]


@pytest.mark.parametrize(("said", "threads"), [("3", 3), (" 2,1", 2), ("0", None), ("", None), ("many", None)])
def test_threads_are_those_of_the_environment(said, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {4, 5, 7, 9, 11}, raising=False)
    assert thread_count() == (threads or 5)
