"""A prior's student takes the few steps of a decode, and nothing else: no file and no other picture changes."""

import numpy as np
import pytest
import torch

import regrain
from progressive.conftest import TINY
from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior
from regrain.diffusion.student import differences
from regrain.errors import ModelError
from regrain_lab.trainable.denoisers import widened


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same prior without a student, and with one that is far from it."""
    torch.manual_seed(0)
    prior, folder = Prior(TINY), tmp_path_factory.mktemp("student")
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    own = {name: tensor.half() for name, tensor in prior.state_dict().items()}
    prior.load_state_dict(own)
    student = widened(prior).requires_grad_(False)
    for parameter in student.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    arrays = (
        {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()} for network in (prior, student)
    )
    packed = {name: torch.from_numpy(array) for name, array in differences(*arrays).items()}
    about = {"kind": "prior", "config": TINY.to_dict(), "recipe": "tiny"}
    for name, tensors in (("alone", own), ("pair", own | packed)):
        torch_checkpoint.save(folder / f"{name}.safetensors", tensors, about)
    return folder / "alone.safetensors", folder / "pair.safetensors"


@pytest.fixture(scope="module")
def models(pair):
    return [regrain.load(path) for path in pair]


@pytest.fixture(scope="module")
def photo():
    row, column = np.mgrid[:40, :56] / 9
    return (127.5 + 90 * np.stack([np.sin(row), np.cos(column), np.sin(row + column)], 2)).astype(np.uint8)


def pixels(data, model, **knobs):
    return np.asarray(regrain.decode(data, model=model, **knobs)).astype(int)


def test_files_are_the_priors_to_the_byte(models, photo):
    alone, both = (regrain.encode(photo, quality=40, model=model) for model in models)
    assert alone == both
    assert models[0].fingerprint == models[1].fingerprint


def test_few_steps_are_the_students_and_all_else_is_the_priors(models, photo):
    data = regrain.encode(photo, quality=40, model=models[0])
    for same in ({"steps": 1}, {"steps": 17}, {"steps": 8, "eta": 1.0}, {"steps": 8, "sampler": "second-order"},
                 {"steps": 8, "realism": 0}):  # fmt: skip
        assert np.array_equal(*(pixels(data, model, **same) for model in models)), same
    for other in ({"steps": 2}, {"steps": 8}, {"steps": 16}):
        assert not np.array_equal(*(pixels(data, model, **other) for model in models)), other


def test_both_runtimes_agree_on_it(pair, models, photo):
    data = regrain.encode(photo, quality=40, model=models[1])
    torch_pixels = pixels(data, regrain.load(pair[1], "cpu"), steps=4)
    assert np.abs(torch_pixels - pixels(data, models[1], steps=4)).max() <= 1


def test_a_broken_student_is_refused(pair, tmp_path):
    tensors, about = torch_checkpoint.load(pair[1])
    tensors["student.leave.weight"] = tensors["student.leave.weight"][:, :4]
    torch_checkpoint.save(tmp_path / "broken.safetensors", tensors, about)
    with pytest.raises(ModelError, match="not weights of this prior"):
        regrain.load(tmp_path / "broken.safetensors")


def test_few_steps_from_noise_are_the_students_too(models):
    def drawn(model, **knobs):
        return regrain.sample(size=(24, 16), model=model, **knobs)

    for same in ({"steps": 1}, {"steps": 17}, {"steps": 8, "eta": 1.0}, {"steps": 8, "sampler": "second-order"},
                 {"steps": 8, "schedule": "cosine"}):  # fmt: skip
        assert np.array_equal(*(drawn(model, **same) for model in models)), same
    for other in ({"steps": 2}, {"steps": 8}, {"steps": 16}):
        assert not np.array_equal(*(drawn(model, **other) for model in models)), other
