"""Pictures of 32 x 32: a shard that the training room reads, and bits that are those of files."""

import sys
from importlib import import_module

import numpy as np
import pytest

from experiments.cifar import shard
from regrain import registry
from regrain.conditional.encode import tile_parts
from regrain.conditional.grid import Region
from regrain.entropy.coder import ideal_bits
from regrain_lab.training.data import members
from regrain_lab.training.recipe import DataConfig

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.setitem(sys.modules, "shard", shard)
    return import_module("experiments.cifar.measure")


def test_every_tenth_picture_is_held_out(tmp_path):
    np.save(tmp_path / "pictures.npy", PICTURES)
    shard.main(tmp_path / "pictures.npy", tmp_path / "shard")
    config = DataConfig("", holdout=("held out",))
    held_out, training = (members(tmp_path / "shard", config, held_out=flag) for flag in (True, False))
    assert [int(member.name[:5]) for member in held_out] == [0, 10]
    assert len(training) == 18
    assert (held_out[1].read() == PICTURES[10]).all()


def test_bits_are_those_of_a_file_and_another_z_costs_more(measure):
    codec = registry.load()
    smooth = np.full((2, 32, 32, 3), 30, np.uint8)
    smooth[1] = PICTURES[1] // 4 + 100
    latents = [codec.prepare(pixels, 64).y for pixels in smooth]
    hypers = [measure.hyper_latents(codec.latents, y, 50) for y in latents]
    for y, z, other in zip(latents, hypers, hypers[::-1], strict=True):
        parts, *_ = tile_parts(codec.latents, Region(0, 2, 0, 2), y, 12800)
        own = measure.y_bits(codec.latents, y, z, 50)
        assert own == pytest.approx(sum(float(ideal_bits(part).sum()) for part in parts[1:]))
        assert measure.z_cost(codec.latents, z, 50) == pytest.approx(float(ideal_bits(parts[0]).sum()))
        assert measure.y_bits(codec.latents, y, other, 50) > own


def test_pictures_that_nobody_took_differ_by_seed(measure):
    first, again, other = (measure.invented(registry.load(), 50, seed) for seed in (1, 1, 2))
    assert first.shape == (32, 32, 3)
    assert (first == again).all()
    assert (first != other).any()
