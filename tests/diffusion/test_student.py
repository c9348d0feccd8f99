"""A student in its prior's file: what differs, in 8 bits."""

import numpy as np
import pytest
import torch

from regrain import torch_checkpoint
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.diffusion.student import PREFIX, differences, restore, without_student
from regrain.errors import ModelError
from regrain_lab.trainable.denoisers import widened

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)


def arrays(network):
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.fixture
def pair():
    """A prior whose weights are float16 numbers, and a student that is a little apart from it."""
    torch.manual_seed(0)
    prior = Prior(TINY)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        parameter.data = parameter.half().float()
    student = widened(prior)
    for parameter in student.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return prior.requires_grad_(False), student.requires_grad_(False)


def test_what_comes_back_is_the_student_but_for_half_a_step(pair):
    prior, student = map(arrays, pair)
    restored = restore(prior | differences(prior, student))
    assert restored.keys() == student.keys()
    for name, array in student.items():
        before = np.zeros(array.shape)
        if array.ndim > 1:
            before[:, : prior[name].shape[1]] = prior[name]
        step = np.abs(array - before).max() / 127 if array.ndim > 1 else 0.002
        assert np.abs(restored[name] - array).max() <= 0.51 * step, name


def test_a_file_has_one_byte_a_weight_for_it_and_names_the_prior_alone(pair):
    prior, student = map(arrays, pair)
    packed = differences(prior, student)
    assert sum(array.nbytes for array in packed.values()) < 0.9 * sum(array.size * 2 for array in student.values())
    assert without_student(prior | packed).keys() == prior.keys()
    assert restore(prior) is None


def test_an_untrained_student_estimates_what_its_prior_does(pair):
    prior, level, leap = pair[0], torch.tensor([1.5]), torch.tensor([3.0])
    x_t = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(widened(prior).denoise(x_t, level, leap), prior.denoise(x_t, level))


def test_a_student_heeds_the_leap(pair):
    x_t, level = torch.randn(1, 3, 16, 16), torch.tensor([1.5])
    one, other, beyond, all_the_way = (
        pair[1].denoise(x_t, level, torch.tensor([leap])) for leap in (1.0, 3.0, 30.0, 10.0)
    )
    assert not torch.equal(one, other)
    assert torch.equal(beyond, all_the_way)


def test_a_pair_is_read_from_a_file_and_so_is_a_prior_alone(pair, tmp_path):
    prior, student = pair
    own = {name: tensor.half() for name, tensor in prior.state_dict().items()}
    packed = {name: torch.from_numpy(array) for name, array in differences(arrays(prior), arrays(student)).items()}
    about = {"kind": "prior", "config": TINY.to_dict()}
    torch_checkpoint.save(tmp_path / "pair.safetensors", own | packed, about)
    torch_checkpoint.save(tmp_path / "alone.safetensors", own, about)
    x_t, level, leap = torch.randn(1, 3, 16, 16), torch.tensor([1.5]), torch.tensor([3.0])
    first, second = Prior.load_pair(tmp_path / "pair.safetensors")
    torch.testing.assert_close(first.denoise(x_t, level), prior.denoise(x_t, level))
    torch.testing.assert_close(
        second.denoise(x_t, level, leap), student.denoise(x_t, level, leap), rtol=0.05, atol=0.05
    )
    assert Prior.load_pair(tmp_path / "alone.safetensors")[1] is None


@pytest.mark.parametrize(
    "broken",
    [
        {PREFIX + "embed.mlp.0.weight": np.zeros((8, 4), np.int8)},
        {PREFIX + "nothing": np.zeros((8, 4), np.int8)},
        {PREFIX + "leave.weight:scale": np.zeros(3, np.float32)},
        {PREFIX + "leave.weight:scale": np.zeros((3, 1, 1, 1), np.float32)},
        {PREFIX + "leave.weight:scale": np.full((12, 1, 1, 1), 3e38, np.float32)},
        {PREFIX + "leave.bias:scale": np.zeros(12, np.float32)},
        {PREFIX + "number": np.zeros((), np.int8), PREFIX + "number:scale": np.zeros((), np.float32)},
    ],
)
def test_what_differs_from_nothing_is_refused(pair, broken):
    prior, student = map(arrays, pair)
    scales = {name + ":scale": np.ones((8, 1), np.float32) for name in broken if ":" not in name}
    with pytest.raises(ModelError):
        restore(prior | differences(prior, student) | broken | scales)
