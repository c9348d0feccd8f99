"""The integer wall holds: the indices are torch's for every z and quality, whoever multiplies and in whatever order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

from regrain.conditional.dct import LATENT_MAX
from regrain.entropy import exact
from regrain.errors import ModelError
from regrain.onnx import integers, networks
from regrain.onnx.network import Network

few = settings(max_examples=12, deadline=None)
QUALITIES = st.integers(0, integers.QUALITY_TOP)


def backwards(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """A matrix product of float32 whose sums run from the last to the first, one at a time."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for column, row in zip(a.T[::-1].astype(np.float32), b[::-1].astype(np.float32), strict=True):
        total += column[:, None] * row
    return [total.astype(np.float64)]


@few
@given(st.integers(0, 2**32), QUALITIES, st.sampled_from([(1, 1), (4, 4), (5, 9), (7, 2)]))
def test_the_indices_are_those_of_torch(torch_model, onnx_model, seed, quality, size):
    """Random z and random symbols of every size, far beyond what occurs."""
    draw = np.random.default_rng(seed)
    z_hat = draw.integers(-140, 141, (48, *(-(-side // 4) for side in size)), dtype=np.int32)
    known = np.rint(draw.standard_cauchy((256, *size)) * draw.choice([0.3, 3, 300])).clip(-(2**24), 2**24)
    known = known.astype(np.int32)
    found = np.zeros(known.shape, np.int64)

    def read(part, ids):
        """The symbols that are known; `found` keeps the indices."""
        place = part.places(*size)
        found[part.channels, place] = ids
        return known[part.channels, place]

    symbols, y_hat = onnx_model.latents.walk(z_hat, quality, size, read)
    wanted = torch_model.latents.index(torch.from_numpy(z_hat), torch.from_numpy(known), quality)
    assert np.array_equal(found, wanted.numpy())
    assert np.array_equal(symbols, known)
    assert np.abs(y_hat).max() <= LATENT_MAX


def test_every_quality_has_torchs_offsets_and_tables(torch_model, onnx_model):
    ours, theirs = onnx_model.latents, torch_model.latents
    for quality in (*range(0, 25601, 97), 25600):
        offset = exact.interpolate_offsets(theirs.offset, torch.tensor([quality]))[0]
        assert np.array_equal(integers.interpolate_offsets(ours.offset, quality), offset.numpy())
        np.testing.assert_allclose(ours.gain(quality), theirs.gain(quality).numpy(), rtol=1e-6)
        for one, other in zip(ours.hyper_tables(quality), theirs.hyper_tables(quality), strict=True):
            assert one.first == other.first
            assert np.array_equal(one.counts, other.counts)


def test_whoever_multiplies_the_sums_are_the_same(onnx_model):
    """ONNX Runtime, NumPy and a loop over float32 in the opposite order."""
    layers, draw = onnx_model.latents.scale.layers, np.random.default_rng(1)
    for layer in layers:
        x = draw.integers(0, 64, (layer.taps.shape[3], 3, 5)).astype(np.float64)
        wanted = layer(x)
        for product in (lambda a, b: [a @ b], backwards):
            other = object.__new__(integers.IntegerConv)
            other.taps, other.bias, other.shift, other.product = layer.taps, layer.bias, layer.shift, product
            assert np.array_equal(other(x), wanted)


def test_a_product_is_exact_up_to_2_to_the_24():
    draw, product = np.random.default_rng(2), Network(networks.product())
    for rows, inner, columns in ((1, 1, 1), (3, 1040, 7), (256, 64, 1000)):
        a, b = draw.integers(-127, 128, (rows, inner)), draw.integers(-127, 128, (inner, columns))
        assert np.array_equal(product(a.astype(np.float64), b.astype(np.float64))[0], a @ b)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_levels_are_those_of_torch(symbols):
    values = np.array(symbols, np.int32)
    wanted = exact.level(torch.from_numpy(values).double())
    assert np.array_equal(integers.level(values), wanted.numpy())


def test_sums_that_could_be_inexact_are_refused():
    weight, bias = np.full((2, 64, 3, 3), 127, np.int8), np.zeros(2, np.int32)
    integers.IntegerConv(weight, bias, 64, 4, 127, backwards)
    for wrong in (np.array([0, 2**24], np.int32), np.array([-(2**24), 0], np.int32)):
        with pytest.raises(ModelError, match="2\\^24"):
            integers.IntegerConv(weight, wrong, 64, 4, 127, backwards)
    with pytest.raises(ModelError, match="shape"):
        integers.IntegerConv(weight, bias, 63, 4, 127, backwards)
