"""The student of a prior: trained in its file, resumed to the bit, and refused where it makes no sense."""

import pytest
import torch
from safetensors.torch import load_file

import regrain
from lab.training.tiny_student import STUDENT_HEAD, shaken
from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.errors import UsageError
from regrain_lab.training import distill, loop
from regrain_lab.training.loop import LAST, WEIGHTS
from regrain_lab.training.losses.leaps import LeapLoss
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.validation import FINISH_STEPS

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)
RECIPE = (
    STUDENT_HEAD.replace('"student"', '"prior-student"')
    + """
[distill]
teacher = "prior.safetensors"
method = "progressive"

[[stage]]
name = "8 to 4"
steps = 3
batch = 2
crop = 64
sampling_steps = 4

[[stage]]
name = "4 to 2"
steps = 3
batch = 2
crop = 64
sampling_steps = 2
"""
)


class Killed(BaseException):
    """Stands for a kill that no code of ours can catch."""


def placed(folder, shards, text=RECIPE):
    """The recipe, with its shards and its teacher beside it."""
    (folder / "shards").symlink_to(shards, target_is_directory=True)
    torch.manual_seed(0)
    prior = Prior(TINY)
    shaken(prior)
    tensors = {name: tensor.detach().half() for name, tensor in prior.state_dict().items()}
    about = {"kind": "prior", "config": TINY.to_dict(), "recipe": "tiny-prior", "step": 5, "psnr": [10.0]}
    torch_checkpoint.save(folder / "prior.safetensors", tensors, about)
    (folder / "tiny.toml").write_text(text, encoding="utf-8")
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, shards):
    return distill.main(placed(tmp_path_factory.mktemp("unbroken"), shards))


def test_the_file_is_the_teachers_with_a_student_in_it(unbroken):
    path, teacher = unbroken.folder / WEIGHTS, unbroken.folder.parents[1] / "prior.safetensors"
    ours, before = load_file(path), load_file(teacher)
    assert all(torch.equal(ours[name], tensor) for name, tensor in before.items())
    assert {name.partition(".")[0] for name in ours.keys() - before.keys()} == {"student"}
    assert regrain.load(path).fingerprint == regrain.load(teacher).fingerprint
    about = torch_checkpoint.load_metadata(path)
    assert (about["recipe"], about["step"], about["student"]) == ("tiny-prior", 5, {"recipe": "tiny"})
    assert regrain.load(path).student is not None
    assert regrain.load(teacher).student is None


def test_the_student_learned_and_both_are_measured(unbroken):
    prior, student = Prior.load_pair(unbroken.folder / WEIGHTS)
    x_t, level, leap = torch.randn(1, 3, 64, 64), torch.tensor([0.0]), torch.tensor([5.0])
    assert not torch.equal(student.denoise(x_t, level, leap), prior.denoise(x_t, level))
    for rows in (unbroken.teacher, unbroken.student):
        assert [row.at for row in rows] == [*FINISH_STEPS]
    assert unbroken.teacher != unbroken.student


@pytest.mark.parametrize("step", [2, 5])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, shards, unbroken, monkeypatch, step):
    recipe, forward, count = placed(tmp_path, shards), LeapLoss.forward, [0]

    def acting(self, x, rules):
        count[0] += 1
        if count[0] == step + 1:
            raise Killed
        return forward(self, x, rules)

    with monkeypatch.context() as patch:
        patch.setattr(LeapLoss, "forward", acting)
        with pytest.raises(Killed):
            distill.main(recipe)
    outcome = distill.main(recipe)
    for name in (LAST, WEIGHTS):
        ours, theirs = (load_file(folder / name) for folder in (outcome.folder, unbroken.folder))
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_distillation_goes_on_from_a_file_that_has_a_student(unbroken, tmp_path, shards):
    text = RECIPE.replace("prior.safetensors", str(unbroken.folder / WEIGHTS))
    again = distill.main(placed(tmp_path, shards, text))
    assert again.student != unbroken.student
    assert again.teacher == unbroken.teacher


def test_by_the_path_the_student_so_far_teaches_beside_the_prior(unbroken, tmp_path, shards):
    text = RECIPE.replace("prior.safetensors", str(unbroken.folder / WEIGHTS)).replace('"progressive"', '"path"')
    outcome = distill.main(placed(tmp_path, shards, text))
    former = Prior.load_pair(unbroken.folder / WEIGHTS)[1]
    student = Prior.load_pair(outcome.folder / WEIGHTS)[1]
    x_t, level, leap = torch.randn(1, 3, 64, 64), torch.tensor([0.0]), torch.tensor([5.0])
    assert not torch.equal(student.denoise(x_t, level, leap), former.denoise(x_t, level, leap))
    (tmp_path / "plain").mkdir()
    plain = distill.main(placed(tmp_path / "plain", shards, text.replace('"path"', '"progressive"')))
    other = Prior.load_pair(plain.folder / WEIGHTS)[1]
    assert not torch.equal(student.denoise(x_t, level, leap), other.denoise(x_t, level, leap))


def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, shards):
    recipe = placed(tmp_path, shards, RECIPE.replace('"progressive"', '"direct"'))
    with pytest.raises(UsageError, match="progressive"):
        read_recipe(recipe)
    recipe.write_text(RECIPE.replace('trains = "prior-student"', 'trains = "student"').replace(
        '"progressive"', '"path"'), encoding="utf-8")  # fmt: skip
    with pytest.raises(UsageError, match='"path" is for the student of a prior alone'):
        read_recipe(recipe)
    recipe.write_text(RECIPE.replace("sampling_steps = 2", "sampling_steps = 1"), encoding="utf-8")
    with pytest.raises(UsageError, match="sampling_steps is 1 after 4; 2 is allowed"):
        read_recipe(recipe)
    recipe.write_text(RECIPE, encoding="utf-8")
    with pytest.raises(UsageError, match="regrain distill"):
        loop.main(recipe)
