"""The loss as a CUDA graph, as far as a CPU goes: capture and replay are stood in for by calls."""

from dataclasses import replace

import pytest
import pytorch_msssim
import torch
from torch import nn

from lab.training.tiny import HEAD, STAGES, crops, tiny_codec, write_recipe
from lab.training.tiny_student import STAGES as STUDENT_STAGES
from lab.training.tiny_student import STUDENT_HEAD, origin, shaken, write_student
from regrain import torch_checkpoint
from regrain.errors import UsageError
from regrain_lab.trainable.denoisers import Student
from regrain_lab.training import distill, loop
from regrain_lab.training.graph import FixedShapeDistortion, GraphedLoss
from regrain_lab.training.losses.codec import CodecLoss, Distortion, StageWeights
from regrain_lab.training.losses.distillation import Distillation, DistillationLoss
from regrain_lab.training.recipe import METHODS, DistillConfig, LossConfig, read_recipe

WEIGHTS = StageWeights(1.0, 1.0, 0.5, freeze_latents=False)
CPU = torch.device("cpu")


def replayed(captures=None):
    """A capture whose replay does the work again; `captures` counts them."""

    def capture(work):
        if captures is not None:
            captures.append(work)
        work()
        return work

    return capture


def gradients(network):
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def same(network, loss, graphed, x, weights):
    """Scalars and gradients of both, from the same draws; the views, which are drawn on the CPU, come after them."""
    torch.manual_seed(4)
    network.zero_grad(set_to_none=True)
    eager = loss(x, weights)
    eager["loss"].backward()
    wanted = gradients(network)
    torch.manual_seed(4)
    scalars = graphed(x, weights)
    assert scalars.keys() == eager.keys()
    for name, value in scalars.items():
        torch.testing.assert_close(value, eager[name].detach())
    ours = gradients(network)
    assert ours.keys() == wanted.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, wanted[name])


@pytest.mark.parametrize("freeze", [False, True])
def test_a_codec_has_the_gradients_of_an_eager_step(monkeypatch, freeze):
    monkeypatch.setattr("regrain_lab.training.graph.VIEWS", ("whole",))
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.3))
    codec = tiny_codec()
    eager = CodecLoss(codec, LossConfig(), None)
    graphed = GraphedLoss(CodecLoss(codec, LossConfig(), None), codec, bfloat16=False, capture=replayed())
    weights = replace(WEIGHTS, freeze_latents=freeze)
    for side in (64, 128, 64):
        same(codec, eager, graphed, crops(side=side), weights)


@pytest.mark.parametrize("method", METHODS)
def test_a_student_has_the_gradients_of_an_eager_step(tmp_path, method):
    guided = method in ("guided", "progressive")
    teacher = origin(tmp_path)
    student, copy = Student(teacher, guided=guided), Student(teacher, guided=guided).requires_grad_(False)
    shaken(student)
    models = Distillation(student, copy, DistillConfig(guidance_max=2.0 * guided), LossConfig())
    eager, split = (DistillationLoss(models, teacher, None) for _ in range(2))
    graphed = GraphedLoss(split, student, bfloat16=False, capture=replayed())
    weights = replace(WEIGHTS, method=method, sampling_steps=4, gap=0.5)
    for number in range(3):
        same(student, eager, graphed, crops(2 + number), weights)


def test_a_graph_is_captured_once_a_view_and_anew_when_a_weight_changes():
    codec, captures = tiny_codec(), []
    graphed = GraphedLoss(CodecLoss(codec, LossConfig(), None), codec, bfloat16=False, capture=replayed(captures))
    torch.manual_seed(0)
    for _ in range(24):
        graphed(crops(), WEIGHTS)
    assert len(captures) == 3
    graphed(crops(), replace(WEIGHTS, gap=0.5))
    assert len(captures) == 3
    graphed(crops(), replace(WEIGHTS, freeze_latents=True))
    assert len(captures) == 4


def test_a_capture_draws_nothing_from_the_run(monkeypatch):
    """A run that goes on from a checkpoint captures where an unbroken one replays, and draws the same."""
    monkeypatch.setattr("regrain_lab.training.graph.VIEWS", ("whole",))
    codec = tiny_codec()
    graphed = GraphedLoss(CodecLoss(codec, LossConfig(), None), codec, bfloat16=False, capture=replayed())
    losses = []
    for _ in range(2):
        torch.manual_seed(7)
        losses.append(graphed(crops(), WEIGHTS)["loss"])
    assert torch.equal(*losses)


class Apart(nn.Module):
    """Mean absolute difference, as a perceptual distance."""

    def forward(self, a, b):
        self.shape = tuple(a.shape)
        return (a - b).abs().mean((1, 2, 3))


@pytest.mark.parametrize(("view", "side"), [("whole", 176), ("half", 88), ("double", 192)])
def test_distances_have_one_shape_and_are_those_of_the_loss(view, side):
    x, rho = crops(3, side=192), torch.tensor([0.5, 0.0, 1.0])
    x_hat = (x + 0.1 * torch.randn_like(x)).requires_grad_()
    eager = Distortion(LossConfig(), Apart())
    fixed = FixedShapeDistortion(eager, CPU)
    fixed.view = view
    distance, structure = fixed.perceptual(x_hat, x, rho), fixed.structure(x_hat, x, rho, 2.0)
    assert fixed.lpips.shape == (3, 3, side, side)
    assert (distance == 0).tolist() == [False, True, False]
    torch.testing.assert_close(structure, eager.structure(x_hat, x, rho, 2.0))
    alike = pytorch_msssim.ms_ssim(x_hat + 1, x + 1, data_range=2.0, size_average=False)
    torch.testing.assert_close(structure, torch.where(rho > 0, 2 * (1 - alike), 0.0))
    if view == "whole":
        torch.testing.assert_close(distance[0], (x_hat - x)[0].abs().mean(), rtol=0.05, atol=0)
    (distance.sum() + structure.sum()).backward()
    assert (x_hat.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, True]


def test_a_recipe_with_a_graph_needs_one_cuda_device(recipe):
    recipe.write_text("graph = true\n" + (HEAD + STAGES).replace("rate = [0.02, 0.2]", ""))
    with pytest.raises(UsageError, match="graph is true, which needs one CUDA device; here are 1 of cpu"):
        loop.main(recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + STAGES, "stage 'warm-up': rate may not change during a stage that is a CUDA graph"),
        (STUDENT_HEAD.replace('"student"', '"sampler"') + STAGES, "trains 'sampler'; only codec or student can be a"),
    ],
)
def test_what_no_graph_can_hold_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_recipe(write_recipe(tmp_path, "graph = true\n" + text))


@pytest.fixture
def stand_in(monkeypatch):
    """A machine that may run graphs, which are calls."""
    monkeypatch.setattr(loop, "_check_machine", lambda *_: None)
    monkeypatch.setattr(loop, "GraphedLoss", lambda *args, **kwargs: GraphedLoss(*args, **kwargs, capture=replayed()))


def test_the_loop_trains_a_codec_by_replays_and_resumes(recipe, stand_in):
    text = "graph = true\n" + (HEAD + STAGES).replace("rate = [0.02, 0.2]", "")
    recipe.write_text(text)
    first = torch_checkpoint.fingerprint(torch_checkpoint.load(loop.main(recipe) / loop.LAST)[0])
    recipe.write_text(
        text.replace('name = "tiny"', 'name = "halves"').replace(
            "steps = 3\nbatch = 2\ncrop = 64\nfreeze", "steps = 1\nbatch = 2\ncrop = 64\nfreeze"
        )
    )
    loop.main(recipe)
    recipe.write_text(text.replace('name = "tiny"', 'name = "halves"'))
    assert torch_checkpoint.fingerprint(torch_checkpoint.load(loop.main(recipe) / loop.LAST)[0]) == first


def test_the_loop_distils_by_replays(tmp_path, shards, stand_in):
    (tmp_path / "shards").symlink_to(shards, target_is_directory=True)
    outcome = distill.main(write_student(tmp_path, "graph = true\n" + STUDENT_HEAD + STUDENT_STAGES))
    assert outcome.student != outcome.teacher
