"""Convolutions on bytes are within their steps of those of floats, whichever products a processor has."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from regrain.errors import ModelError
from regrain.onnx import graph as graphs
from regrain.onnx.byte_convolution import ByteConvolution, on_bytes
from regrain.onnx.graph import Graph

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(6, 10, 12)).astype(np.float32)
WEIGHT = (DRAW.normal(size=(5, 6, 3, 3)) * np.array([1, 0.1, 3, 0.01, 1])[:, None, None, None]).astype(np.float32)
BIAS = DRAW.normal(size=5).astype(np.float32)


def run(ranges=None, weight=WEIGHT, stride=1, x=X):
    graph = Graph({}, "x", ranges=ranges)
    return graph.network(graph.convolve("x", weight, BIAS, stride, "place"))(x)[0]


def reach(weight=WEIGHT, stride=1):
    y = run(None, weight, stride)
    ends = np.stack([np.minimum(y.min((1, 2)), 0), np.maximum(y.max((1, 2)), 1e-6)])
    return {"place.input": np.float32([X.min(), X.max()]), "place.output": ends.astype(np.float32)}


@pytest.mark.parametrize("stride", [1, 2])
def test_every_channel_is_within_a_few_of_its_own_steps(stride):
    """Channels whose size differs three hundredfold: each is as exact as the others."""
    ranges = reach(stride=stride)
    floats, bytes_ = run(None, stride=stride), run(ranges, stride=stride)
    apart = np.abs(floats - bytes_).max((1, 2)) / np.ptp(ranges["place.output"], axis=0)
    assert floats.shape == bytes_.shape
    assert apart.min() > 0
    assert apart.max() < 0.02


def test_without_ranges_of_its_name_nothing_runs_on_bytes():
    ranges = {name.replace("place", "other"): values for name, values in reach().items()}
    assert not on_bytes(ranges, "place")
    assert np.array_equal(run(ranges), run(None))


def test_what_is_beyond_the_bytes_is_clipped():
    ranges = reach()
    own = ByteConvolution.of(WEIGHT, BIAS, ranges, "place")
    steps = (own.leaves.size * own.loudness)[:, None, None]
    levels = run(ranges, x=100 * X) / steps + own.leaves.zero
    assert levels.min() == pytest.approx(0, abs=1e-3)
    assert levels.max() == pytest.approx(255, abs=1e-3)


def test_products_that_saturate_are_not_asked_for(monkeypatch):
    """Unsigned weights give the very same numbers."""
    signed = run(reach())
    monkeypatch.setattr(graphs, "exact_products", lambda: False)
    assert np.array_equal(run(reach()), signed)


def test_integers_are_the_weights_over_their_scale():
    own = ByteConvolution.of(WEIGHT, BIAS, reach(), "place")
    back = own.kernel.weights * (own.kernel.scales * own.loudness)[:, None, None, None]
    assert np.abs(own.kernel.weights).max() == 127
    np.testing.assert_allclose(back, WEIGHT, atol=np.abs(WEIGHT).max((1, 2, 3)).max() / 253)
    assert own.loudness.min() > 0
    assert own.loudness.max() == 1


@pytest.mark.parametrize("weight", [0 * WEIGHT, 1e-38 * WEIGHT])
def test_a_channel_without_weights_keeps_its_bias(weight):
    bytes_ = run(reach(weight), weight)
    np.testing.assert_allclose(bytes_, np.broadcast_to(BIAS[:, None, None], bytes_.shape), atol=0.02)


@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_that_are_too_large_are_refused():
    assert np.isfinite(run(reach(), np.float32(1e30) * WEIGHT)).all()
    ranges = reach()
    ranges["place.output"][:, 0] *= 1e3
    with pytest.raises(ModelError, match="too large"):
        run(ranges, np.float32(1e36) * WEIGHT)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("place.input", np.float32([0, 0])),
        ("place.input", np.float32([1, 2])),
        ("place.input", np.float32([-1, np.inf])),
        ("place.input", np.float32([np.nan, 1])),
        ("place.input", np.float32([-1, 1e30])),
        ("place.input", np.float32([-1, 0, 1])),
        ("place.input", np.int32([-1, 1])),
        ("place.output", np.zeros((2, 5), np.float32)),
        ("place.output", np.float32([[-1] * 4, [1] * 4])),
        ("place.output", None),
    ],
)
def test_ranges_that_are_none_are_refused(name, values):
    ranges = reach() | {name: values}
    if values is None:
        del ranges[name]
    with pytest.raises(ModelError, match=name):
        run(ranges)
