"""The fast decoder's training: its loss, and that what a run leaves decodes and keeps the file that it came from."""

import numpy as np
import pytest
import torch

import regrain
from lab.training.tiny_student import STUDENT_HEAD, origin, write_student
from regrain import torch_checkpoint
from regrain.diffusion.unet_config import DenoiserConfig
from regrain_lab.trainable.denoisers import Fast
from regrain_lab.trainable.frozen import guides
from regrain_lab.training import loop
from regrain_lab.training.losses.codec import StageWeights
from regrain_lab.training.losses.fast import FastLoss
from regrain_lab.training.recipe import LossConfig

SHAPE = DenoiserConfig(widths=(8, 8, 8), depths=(1, 1, 1), half=4, embedding=8)
RECIPE = (
    STUDENT_HEAD.replace('trains = "student"', 'trains = "fast"')
    + """
[fast]
widths = [8, 8, 8]
depths = [1, 1, 1]
half = 4
embedding = 8

[distill]
teacher = "teacher.safetensors"

[[stage]]
name = "squares"
steps = 3
batch = 2
crop = 64
"""
)
WEIGHTS = StageWeights(rate=1, perceptual=1, continuous=0, freeze_latents=True)


@pytest.fixture
def teacher(tmp_path):
    torch.manual_seed(0)
    return origin(tmp_path)


class Teacher(torch.nn.Module):
    """A fast decoder that is the large one."""

    def __init__(self, codec):
        super().__init__()
        self.codec = codec

    def forward(self, y_hat, quality, realism):
        return guides(self.codec, y_hat, quality, realism)


def test_a_decoder_that_gives_the_teacher_s_pictures_has_no_loss(teacher):
    x = torch.rand(4, 3, 64, 64) * 2 - 1
    torch.manual_seed(1)
    scalars = FastLoss(Teacher(teacher), teacher, LossConfig(), None)(x, WEIGHTS)
    assert float(scalars["gap"]) < 1e-6 < 1 < float(scalars["mse"])
    torch.manual_seed(1)
    other = FastLoss(Fast(teacher, SHAPE), teacher, LossConfig(), None)(x, WEIGHTS)
    assert float(other["loss"].detach()) > float(scalars["loss"]) + 0.01


def test_a_run_leaves_the_file_that_it_came_from_with_a_fast_decoder(tmp_path, shards):
    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    weights = loop.main(write_student(tmp_path, RECIPE), quiet=True) / loop.WEIGHTS
    before, _ = torch_checkpoint.load(tmp_path / "teacher.safetensors")
    after, about = torch_checkpoint.load(weights)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name for name in after if name not in before} == {n for n in after if n.startswith("fast.")} != set()
    assert about["config"]["fast"]["widths"] == [8, 8, 8]
    model = regrain.load(weights)
    file = regrain.encode(np.zeros((40, 24, 3), np.uint8), model=model)
    assert regrain.decode(file, model=model, fast=True).size == (24, 40)
