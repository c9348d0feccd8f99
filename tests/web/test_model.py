"""What `scripts/web.py` writes: the wall as graphs is exact, weights of 8 bits are near, the head finds all."""

import gzip
import json
from importlib.resources import as_file

import numpy as np
import pytest

import scripts.web
import scripts.web_bundle
from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.diffusion import noise
from regrain.entropy.integer import level
from regrain.onnx.graph import Graph


@pytest.fixture(scope="module")
def weights():
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as path:
        return checkpoint.load(path)


def test_the_wall_as_graphs_of_float32_is_exact(weights):
    arrays, about = weights
    model = ConditionalModel.build(arrays, about["config"])
    scale, order = model.latents.scale, model.latents.order
    first, *contexts = scripts.web.scale_networks(arrays, model.config)
    random = np.random.default_rng(0)
    for spread in (0.5, 5, 200):
        z = np.rint(random.normal(0, spread, (model.latents.hyper, 3, 2))).astype(np.int32)
        symbols = np.rint(random.normal(0, spread, (model.latents.channels, 12, 8))).astype(np.int32)
        total, hidden = scale(z)
        for found, wanted in zip(first(z.astype(np.float32)), (total, hidden), strict=True):
            assert np.array_equal(found, wanted)
        for number, (context, step) in enumerate(zip(contexts, order[1:], strict=True), start=1):
            known = symbols[: step.context_channels]
            levels = level(known).astype(np.float32)
            (found,) = context(levels, hidden.astype(np.float32))
            assert np.array_equal(found, scale.context(number, level(known), scale.share(hidden)[number - 1]))


def test_the_extremes_of_the_wall_are_exact(weights):
    arrays, about = weights
    model = ConditionalModel.build(arrays, about["config"])
    first, *_ = scripts.web.scale_networks(arrays, model.config)
    for value in (-(2**31), -127, 127, 2**24):
        z = np.full((model.latents.hyper, 2, 2), value, np.int32)
        assert np.array_equal(first(z.astype(np.float32))[0], model.latents.scale(z)[0])


def test_eight_bits_come_near():
    weight = np.random.default_rng(0).normal(0, 1, (5, 4, 3, 3)).astype(np.float32) * np.float32([[[[1e-3]]]])
    numbers, scales = scripts.web_bundle.quantize(weight)
    assert numbers.dtype == np.int8
    assert np.abs(numbers * scales[:, None, None, None] - weight).max() < np.abs(weight).max() / 60


def test_the_noise_has_pythons_quantiles():
    upper = np.cumsum(scripts.web._quantile_steps().astype(np.int64)) / 2**16
    assert np.array_equal(np.concatenate([-upper[::-1], upper]).astype(np.float32), noise._quantiles())


def test_files_hold_what_their_head_says(tmp_path):
    bundle = scripts.web_bundle.Bundle("some")
    rows = np.arange(12, dtype=np.float32).reshape(3, 4) / 3
    assert bundle.add(rows, "f32") == bundle.add(rows.copy(), "f32") == ("some", 0)
    assert bundle.add(rows + 1, "f32") == ("some", 1)
    entry = bundle.write(tmp_path)
    packed = (tmp_path / entry["file"]).read_bytes()
    plain = gzip.decompress(packed)
    assert (len(packed), len(plain)) == (entry["bytes"], entry["unpacked"])
    length = int.from_bytes(plain[:4], "little")
    kind, shape, at = json.loads(plain[4 : 4 + length])["tensors"][1]
    start = -(-(4 + length) // 8) * 8 + at
    assert kind == "f32"
    assert np.array_equal(np.frombuffer(plain, "<f4", 12, start).reshape(shape), rows + 1)


def test_all_graphs_of_the_package_s_weights_are_in_floats():
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as path:
        bundles, _ = scripts.web.bundles(path)
    assert [bundle.name for bundle in bundles] == ["latents", "denoiser", "encoder", "sampler"]
    assert all(b"Conv" in bundle.data for bundle in bundles)
    assert not any(b"QLinearConv" in bundle.data for bundle in bundles)


def test_a_change_of_weights_is_its_factors():
    random = np.random.default_rng(0)
    change = random.normal(0, 1, (40, 2)) @ random.normal(0, 1, (2, 9 * 30))
    left, right = scripts.web_bundle.factors(change.reshape(40, 30, 3, 3))
    assert (left.shape, right.shape) == ((40, 2), (2, 270))
    assert np.abs(left.astype(float) @ right - change).max() < 0.01
    assert scripts.web_bundle.factors(random.normal(0, 1, (40, 30, 3, 3))) is None


def test_weights_for_screens_are_a_small_file_of_what_they_change():
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as base, as_file(scripts.web._screens()) as path:
        fingerprint, change = scripts.web.change(base, path)
        assert fingerprint == path.stem.rpartition("-")[2]
    assert set(change.changes) > {"denoiser", "synthesis", "context1", "scale0"}
    assert set(change.tables) == {"logGain", "offset"}
    assert all(len(numbers) == 1 for name in change.changes if name.startswith("scale") for numbers in
        change.changes[name].values())  # fmt: skip
    assert len(change.data) < 500_000


def test_integers_change_whole():
    def network(kernel):
        graph = Graph({}, "x")
        return graph.network(graph.convolve("x", kernel))

    before = np.random.default_rng(0).integers(-127, 127, (40, 30, 3, 3)).astype(np.float32)
    after = before.copy()
    after[3] = 1 - after[3]
    for start, parts in ((before, 1), (before + np.float32(0.5), 2)):
        change = scripts.web_bundle.Change("some")
        change.graph_change("scale0", network(start), network(after + start - before))
        (numbers,) = change.changes["scale0"].values()
        assert len(numbers) == parts
    exact = scripts.web_bundle.Change("some")
    exact.graph_change("scale0", network(before), network(after))
    assert np.array_equal(np.frombuffer(exact.data, np.int8, after.size).reshape(after.shape), after)
