"""Ranges: of every convolution but those into pixels, and of nothing else."""

import numpy as np
import pytest
import torch

from conditional.tiny import SMALL, arrays, codec, in_floats, shipped
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.decode import reconstruct
from regrain.options import DecodeOptions
from regrain_lab.trainable.codec import freeze
from regrain_lab.trainable.frozen import with_network
from regrain_lab.training.ranges import FLOATS, Case, calibrated


@pytest.fixture(scope="module")
def bare() -> dict[str, np.ndarray]:
    return arrays(freeze(codec(noise=0.05)))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    draw = np.random.default_rng(0)
    return [Case(draw.normal(size=(12, 4, 5)).astype(np.float32), draw.random(), realism) for realism in (0.0, 1.0) * 4]


@pytest.fixture(scope="module")
def ranged(bare, cases) -> dict[str, np.ndarray]:
    return calibrated(bare, SMALL, cases)


def picture(stored, case) -> np.ndarray:
    return ConditionalModel.build(stored, SMALL.to_dict(), "onnx").denoiser.networks.picture(*case)


def test_all_other_arrays_stay(bare, ranged):
    assert all(ranged[name] is array for name, array in bare.items())
    added = ranged.keys() - bare.keys()
    places = {name.removeprefix("ranges.denoiser.").rpartition(".")[0] for name in added}
    kernels = {name.removeprefix("denoiser.").removesuffix(".weight") for name in bare if bare[name].ndim == 4}
    unnamed = {"enter", *FLOATS}
    assert places == {name for name in kernels if f"denoiser.{name}.weight" in bare} - unnamed
    for place in places:
        assert ranged[f"ranges.denoiser.{place}.output"].shape == (2, len(bare[f"denoiser.{place}.weight"]))


def test_bytes_give_nearly_the_picture_of_floats_and_not_the_same(bare, ranged, cases):
    for case in cases:
        floats, bytes_ = picture(bare, case), picture(ranged, case)
        error = np.sqrt(np.square(floats - bytes_).mean())
        assert 0 < error < 0.05 * floats.std()


def test_ranges_are_what_makes_bytes_of_it(bare, ranged, cases):
    """Ranges of a hundredth clip nearly everything."""
    narrow = {name: array / 100 if name.startswith("ranges.") else array for name, array in ranged.items()}
    floats, bytes_ = picture(bare, cases[0]), picture(narrow, cases[0])
    assert np.sqrt(np.square(floats - bytes_).mean()) > 5 * np.sqrt(
        np.square(floats - picture(ranged, cases[0])).mean()
    )


def test_they_are_made_anew_and_not_added_to(ranged, cases):
    again = calibrated(ranged, SMALL, cases)
    assert again.keys() == ranged.keys()
    assert all(np.array_equal(again[name], array) for name, array in ranged.items())


def test_another_denoiser_leaves_them_out(ranged):
    tensors = {name: torch.from_numpy(array) for name, array in ranged.items()}
    assert not any(name.startswith("ranges.") for name in with_network(tensors, "denoiser.", codec().denoiser))
    assert any(name.startswith("ranges.") for name in with_network(tensors, "sampler.", codec().denoiser))


def test_all_decoders_in_the_package_have_them():
    """And of nothing that is not there."""
    stored = shipped("onnx").arrays
    ranges = {name.removeprefix("ranges.").rpartition(".")[0] for name in stored if name.startswith("ranges.")}
    assert {name.partition(".")[0] for name in ranges} == {"denoiser", "fast", "sampler"}
    assert all(f"{name}.weight" in stored for name in ranges)


def test_the_sampler_s_seeds_differ_on_bytes_as_they_do_in_floats():
    y_hat = np.random.default_rng(0).normal(size=(256, 6, 8)).astype(np.float32)

    def drawn(model, seed):
        options = DecodeOptions(steps=3, seed=seed)
        return reconstruct(model.denoiser, y_hat, (96, 128), 7168, options, grey=False).astype(float)

    spreads = [np.std(drawn(model, 1) - drawn(model, 2)) for model in (shipped("onnx"), in_floats())]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
    assert spreads[1] > 1
