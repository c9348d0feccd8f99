"""A distillation ends in the same bits whatever stopped it on the way, and never touches what files depend on."""

import logging
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import regrain
from lab.training.tiny_student import STAGES, STUDENT_HEAD, write_student, write_teacher
from regrain import torch_checkpoint
from regrain.errors import ModelError, UsageError
from regrain_lab.training import distill, loop, tasks
from regrain_lab.training.loop import LAST, WEIGHTS
from regrain_lab.training.losses.distillation import DistillationLoss
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.validation import STEPS as COUNTS

STEPS = 8
GUIDED = """
[distill]
teacher = "teacher.safetensors"
method = "none"
dropout = 0.5
guidance_max = 2.0
guidance = 1.0

[[stage]]
name = "dropout"
steps = 2
batch = 2
crop = 64

[[stage]]
name = "guided"
method = "guided"
steps = 3
batch = 2
crop = 64

[[stage]]
name = "halve"
method = "progressive"
steps = 3
batch = 2
crop = 64
"""
posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


class Killed(BaseException):
    """Stands for a kill that no code of ours can catch."""


@pytest.fixture
def student(tmp_path, shards) -> Path:
    """A recipe and its teacher, `shards` beside them."""
    return placed(tmp_path, shards)


def placed(folder, shards, text=STUDENT_HEAD + STAGES) -> Path:
    (folder / "shards").symlink_to(shards, target_is_directory=True)
    return write_student(folder, text)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, shards) -> distill.Outcome:
    """What a run that nothing stopped gives."""
    return distill.main(placed(tmp_path_factory.mktemp("unbroken"), shards))


def same(first: Path, second: Path) -> bool:
    ours, theirs = load_file(first), load_file(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def before_step(monkeypatch, number, act):
    """Do something in the middle of a step."""
    forward, count = DistillationLoss.forward, [0]

    def acting(self, x, rules):
        if count[0] == number:
            act()
        count[0] += 1
        return forward(self, x, rules)

    monkeypatch.setattr(DistillationLoss, "forward", acting)


def kill():
    raise Killed


def test_a_run_leaves_weights_whose_latents_are_the_teachers(unbroken):
    ours, before = (
        load_file(path) for path in (unbroken.folder / WEIGHTS, unbroken.folder.parents[1] / "teacher.safetensors")
    )
    assert ours.keys() == before.keys()
    changed = {name for name in ours if not torch.equal(ours[name], before[name])}
    assert changed
    assert all(name.startswith("denoiser.") for name in changed)
    about = torch_checkpoint.load_metadata(unbroken.folder / WEIGHTS)
    assert (about["recipe"], about["step"], about["teacher"]) == ("tiny", STEPS, {"recipe": "teacher", "step": 7})
    assert regrain.load(unbroken.folder / WEIGHTS).fingerprint.hex() == about["latent_fingerprint"]


def test_a_run_ends_in_figures_of_both(unbroken):
    for rows in (unbroken.teacher, unbroken.student):
        assert [row.at for row in rows] == [*COUNTS]
    assert unbroken.teacher != unbroken.student


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_a_killed_run_goes_on_to_the_same_bits(student, unbroken, monkeypatch, step):
    """Kills before the first checkpoint, with the first teacher, at a halving, and after it with a former student's."""
    with monkeypatch.context() as patch:
        before_step(patch, step, kill)
        with pytest.raises(Killed):
            distill.main(student)
    out = student.parent / "runs" / "tiny"
    if step > 1:
        assert torch_checkpoint.load_metadata(out / LAST)["step"] == step // 2 * 2
    outcome = distill.main(student)
    assert same(out / LAST, unbroken.folder / LAST)
    assert same(out / WEIGHTS, unbroken.folder / WEIGHTS)
    assert outcome.student == unbroken.student


@posix
def test_ctrl_c_finishes_the_step_and_writes_it_down(student, unbroken, monkeypatch):
    with monkeypatch.context() as patch:
        before_step(patch, 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            distill.main(student)
    out = student.parent / "runs" / "tiny"
    assert torch_checkpoint.load_metadata(out / LAST)["step"] == 7
    distill.main(student)
    assert same(out / LAST, unbroken.folder / LAST)


def test_the_student_becomes_the_teacher_at_each_halving(student, unbroken, monkeypatch):
    seen = []
    succeed = loop.State.reset_teacher

    def promote(self):
        succeed(self)
        seen.append((self.step, self.teacher.state_dict()["denoiser.leave.weight"].clone()))
        assert all(torch.equal(value, self.average[name]) for name, value in self.teacher.state_dict().items())

    monkeypatch.setattr(loop.State, "reset_teacher", promote)
    distill.main(student)
    assert [step for step, _ in seen] == [2, 5]
    assert not torch.equal(seen[0][1], seen[1][1])
    kept = load_file(unbroken.folder / LAST)
    assert torch.equal(kept["teacher.denoiser.leave.weight"], seen[1][1])


def test_guidance_is_distilled_into_ordinary_weights(tmp_path, shards):
    outcome = distill.main(placed(tmp_path, shards, STUDENT_HEAD + GUIDED))
    regrain.load(outcome.folder / WEIGHTS)
    state = load_file(outcome.folder / LAST)
    assert state["weights.guide.embed.mlp.2.weight"].any()
    shipped = load_file(outcome.folder / WEIGHTS)["denoiser.blocks4.0.film.bias"]
    assert not torch.equal(shipped, state["average.denoiser.blocks4.0.film.bias"].half())
    assert "dropout" not in torch_checkpoint.load_metadata(outcome.folder / WEIGHTS)


def test_dropout_is_written_down_and_guidance_reads_it(tmp_path, shards, monkeypatch):
    head, table, first, rest = STUDENT_HEAD, *GUIDED.partition('[[stage]]\nname = "guided"')[0].partition("[[stage]]")
    blind = "".join([head, table.replace("guidance_max = 2.0\nguidance = 1.0", ""), first, rest])
    path = placed(tmp_path, shards, blind)
    trained = distill.main(path).folder / WEIGHTS
    assert torch_checkpoint.load_metadata(trained)["dropout"] == 0.5
    guided = head + GUIDED.replace("teacher.safetensors", str(trained)).replace(first + rest, "", 1)
    path.write_text(guided, encoding="utf-8")
    tasks.task_for(read_recipe(path), torch.device("cpu"))
    write_teacher(trained)
    with pytest.raises(UsageError, match=r"weights\.safetensors: trained without dropout, which guidance needs"):
        distill.main(path)


def test_what_cannot_run_is_said_before_the_first_step(student, monkeypatch):
    monkeypatch.setattr(DistillationLoss, "forward", lambda *_: pytest.fail("a step was taken"))
    text = student.read_text()
    with pytest.raises(UsageError, match="trains is 'student'; regrain distill runs this recipe"):
        loop.main(student)
    for old, new, kind, message in (
        ('"teacher.safetensors"', '"missing"', ModelError, "missing: no weights there"),
        ('"teacher.safetensors"', '"tiny.toml"', ModelError, "tiny.toml: weights cannot be read"),
        ('"teacher.safetensors"\n', '"teacher.safetensors"\n[model.transform]\nlatent = 16\n', ModelError,
         r"teacher\.safetensors: weights of another shape than the recipe's \[model\]"),
        ("sampling_steps = 4", "sampling_steps = 3", UsageError, "sampling_steps is 3; a power of 2"),
        ("[data]", '[loss]\nlpips = "none.safetensors"\n[data]', ModelError, r"none\.safetensors"),
    ):  # fmt: skip
        student.write_text(text.replace(old, new))
        with pytest.raises(kind, match=message):
            distill.main(student)
    student.write_text(
        text.replace('trains = "student"', "").partition("[distill]")[0] + '[[stage]]\nname = "s"\nsteps = 1\n'
    )
    with pytest.raises(UsageError, match="trains is 'codec'; regrain train runs this recipe"):
        distill.main(student)


def test_a_checkpoint_of_another_teacher_is_refused(student, unbroken):
    out = student.parent / "runs" / "tiny"
    out.mkdir(parents=True)
    (out / LAST).write_bytes((unbroken.folder / LAST).read_bytes())
    tensors, about = torch_checkpoint.load(student.parent / "teacher.safetensors")
    tensors["denoiser.leave.bias"] = tensors["denoiser.leave.bias"] + 1
    torch_checkpoint.save(student.parent / "teacher.safetensors", tensors, about)
    with pytest.raises(ModelError, match="a checkpoint of another"):
        distill.main(student)


def test_a_run_without_held_out_pictures_has_no_rows(student, caplog):
    caplog.set_level(logging.INFO)
    student.write_text(student.read_text().replace('holdout = ["held/out"]', "holdout = []"))
    outcome = distill.main(student)
    assert outcome.teacher == outcome.student == ()
    assert "psnr" not in caplog.text
