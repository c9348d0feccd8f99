"""The integer wall in NumPy: the sums are torch's, whoever multiplies and in whatever order."""

from fractions import Fraction
from importlib.resources import as_file
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.entropy import integer
from regrain.errors import ModelError
from regrain.onnx.network import matrix_product
from regrain_lab.trainable import wall

HYPER, LATENT, HIDDEN, CONTEXTS = 48, 256, 64, [(2, 2), (2, 4), (6, 10), (16, 24), (40, 56), (96, 160)]


def forwards(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """NumPy's matrix product."""
    return [a.astype(np.int32) @ b]


def backwards(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """A matrix product of float32 whose sums run from the last to the first, one at a time."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for column, row in zip(a.T[::-1].astype(np.float32), b[::-1].astype(np.float32), strict=True):
        total += column[:, None] * row
    return [total.astype(np.int32)]


def saturating(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """As processors without instructions of their own for it: pairs of products in 16 bits, which saturate."""
    a, b = (np.concatenate([x, np.zeros_like(x[:1])]) if len(x) % 2 else x for x in (a.T, b))
    pairs = (a[:, :, None].astype(np.int64) * b[:, None].astype(np.int64)).reshape(-1, 2, a.shape[1], b.shape[1]).sum(1)
    return [pairs.clip(-(2**15), 2**15 - 1).sum(0).astype(np.int32)]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """The scale branch of the weights that ship."""
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as path:
        stored, _ = checkpoint.load(path)
    return {name: array for name, array in stored.items() if name.startswith("latents.scale.")}


@pytest.fixture(scope="module")
def branch(arrays) -> integer.ScaleBranch:
    return integer.ScaleBranch(arrays, HYPER, LATENT, CONTEXTS, matrix_product())


@pytest.fixture(scope="module")
def theirs(arrays) -> wall.ScaleBranch:
    """The same in torch, in float64."""
    made = wall.ScaleBranch(HYPER, HIDDEN, LATENT, CONTEXTS).double()
    made.set_integers({name: torch.from_numpy(array) for name, array in arrays.items() if "scale" in name})
    return made.requires_grad_(False)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(1, 1), (2, 3), (4, 1)]))
def test_the_branch_is_torchs(branch, theirs, seed, size):
    """Random z and random symbols, far beyond what occurs."""
    draw = np.random.default_rng(seed)
    z_hat = draw.integers(-140, 141, (HYPER, *size), dtype=np.int32)
    symbols = np.rint(draw.standard_cauchy((96, 4 * size[0], 4 * size[1])) * draw.choice([0.3, 3, 300]))
    symbols = symbols.clip(-(2**24), 2**24).astype(np.int32)
    total, hidden = branch(z_hat)
    wanted, wanted_hidden = theirs(torch.from_numpy(z_hat)[None].double())
    assert np.array_equal(total, wanted[0])
    assert np.array_equal(hidden, wanted_hidden[0])
    for number, (known, out) in enumerate(CONTEXTS, start=1):
        added = branch.context(number, integer.level(symbols[:known]), branch.share(hidden)[number - 1])
        assert added.shape == (out, *symbols.shape[1:])
        other = theirs.context(number, torch.from_numpy(symbols[None, :known]).double(), wanted_hidden)
        assert np.array_equal(added, other[0])


def test_whoever_multiplies_the_sums_are_the_same(branch):
    """ONNX Runtime, NumPy, a loop over float32 in the opposite order, and pairs that saturate, on the largest bytes."""
    draw = np.random.default_rng(1)
    for layer in (*branch.layers, branch.shared):
        x = draw.integers(0, 128, (layer.matrix.shape[0] // 9, 3, 5))
        wanted = layer(x)
        for product in (forwards, backwards, saturating):
            other = object.__new__(integer.IntegerConv)
            other.matrix, other.bias, other.shift, other.product = layer.matrix, layer.bias, layer.shift, product
            assert np.array_equal(other(x), wanted)


def test_a_product_is_exact_up_to_2_to_the_24():
    draw, product = np.random.default_rng(2), matrix_product()
    for rows, inner, columns in ((1, 1, 1), (3, 1031, 7), (1000, 64, 256)):
        a, b = draw.integers(0, 128, (rows, inner)), draw.integers(-128, 128, (inner, columns))
        for weights in (b, np.full_like(b, -128), np.full_like(b, 127)):
            for x in (a, np.full_like(a, 127)):
                assert np.array_equal(product(x.astype(np.uint8), weights.astype(np.int8))[0], x @ weights)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_levels_are_those_of_torch(symbols):
    values = np.array(symbols, np.int32)
    wanted = wall.level(torch.from_numpy(values).double())
    assert np.array_equal(integer.level(values), wanted.numpy())


@given(st.lists(st.integers(-(2**22), 2**22), min_size=1))
def test_scale_indices_are_those_of_torch(totals):
    values = np.array(totals)
    assert np.array_equal(integer.scale_index(values), wall.scale_index(torch.from_numpy(values).double()).numpy())


@given(st.lists(st.tuples(*[st.integers(-(2**20), 2**20)] * 2), min_size=2, max_size=6), st.integers(0, 25600))
def test_offsets_are_the_nearest_integers_on_the_line_between_their_anchors(rows, quality):
    """In rational numbers; a half goes up."""
    place = Fraction(quality, integer.QUALITY_TOP) * (len(rows) - 1)
    left = min(floor(place), len(rows) - 2)
    lines = (low + (place - left) * (high - low) for low, high in zip(*rows[left : left + 2], strict=True))
    wanted = [floor(offset + Fraction(1, 2)) for offset in lines]
    assert integer.interpolate_offsets(np.array(rows, np.int32), quality).tolist() == wanted


def test_offsets_rise_where_their_anchors_do_and_pass_through_them():
    anchors = np.array([[0, -5], [100, 7], [1000, 9]], np.int32)
    offsets = [integer.interpolate_offsets(anchors, q) for q in range(0, integer.QUALITY_TOP + 1, 100)]
    assert (np.diff(offsets, axis=0) >= 0).all()
    assert np.array_equal([offsets[0], offsets[128], offsets[256]], anchors)


def test_sums_that_could_be_inexact_are_refused():
    weight, bias = np.full((2, 64, 3, 3), 127, np.int8), np.zeros(2, np.int32)
    integer.IntegerConv(weight, bias, (2, 64), 4, 127, backwards)
    for wrong in (np.array([0, 2**24], np.int32), np.array([-(2**24), 0], np.int32)):
        with pytest.raises(ModelError, match="2\\^24"):
            integer.IntegerConv(weight, wrong, (2, 64), 4, 127, backwards)
    with pytest.raises(ModelError, match="no integers"):
        integer.IntegerConv(weight.astype(np.float32), bias, (2, 64), 4, 127, backwards)
    for wrong in (128, -129, 2**16):
        with pytest.raises(ModelError, match="8 bits"):
            integer.IntegerConv(np.full((2, 1, 3, 3), wrong), bias, (2, 1), 4, 127, backwards)
    for shape in ((2, 63), (3, 64)):
        with pytest.raises(ModelError, match="shape"):
            integer.IntegerConv(weight, bias, shape, 4, 127, backwards)


def test_a_branch_for_other_channels_is_refused(arrays):
    for hyper, latent, contexts in (
        (HYPER - 1, LATENT, CONTEXTS),
        (HYPER, LATENT + 1, CONTEXTS),
        (HYPER, LATENT, [(2, 3), *CONTEXTS[1:]]),
        (HYPER, LATENT, [(3, 2), *CONTEXTS[1:]]),
    ):
        with pytest.raises(ModelError, match="scale branch"):
            integer.ScaleBranch(arrays, hyper, latent, contexts, forwards)
