"""PieAPP: a case worked out by hand, its invariants, and figures of another program on the same weights."""

import pytest
import torch

from lab.metrics import waves
from regrain.errors import ModelError, UsageError
from regrain_lab.metrics import pieapp
from regrain_lab.metrics.pieapp import PieApp, _patches


def load(monkeypatch, tensors: dict[str, torch.Tensor]) -> PieApp:
    monkeypatch.setattr(pieapp, "read", lambda path: dict(tensors))
    return PieApp.load("PieAPPv0.1.pth")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return waves.weights(waves.pieapp())


def through() -> dict[str, torch.Tensor]:
    """Weights that pass the first channel on, score the first feature of all, and weigh every patch alike."""
    made = {name: torch.zeros(shape) for name, shape in waves.pieapp().items()}
    for n in range(1, 12):
        made[f"conv{n}.weight"][0, 0, 1, 1] = 1
    for name in ("fc1_score.weight", "fc2_score.weight"):
        made[name][0, 0] = 1
    made["fc2_weight.bias"][:] = 1
    made["ref_score_subtract.weight"][:] = 1
    return made


def test_the_layout_is_the_published_one(monkeypatch, tensors):
    model = load(monkeypatch, tensors)
    assert sum(parameter.numel() for parameter in model.parameters()) == 68_376_580
    assert model.fc1_score.in_features == 120_832
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_another_program_has_the_same_figures_to_1e_5(monkeypatch, tensors):
    """piq 0.8.0 at stride 27, given BGR, on these weights: -0.089908674, and -0.178279564 the other way."""
    model = load(monkeypatch, tensors)
    a, b = waves.pictures()
    assert model(a, b).item() == pytest.approx(-0.089908674, rel=1e-5)
    assert model(b, a).item() == pytest.approx(-0.178279564, rel=1e-5)


def test_a_case_by_hand(monkeypatch):
    original, decoded = (torch.zeros(1, 3, 64, 64) for _ in range(2))
    original[:, 2], decoded[:, 2] = 0.6, -0.2
    error = load(monkeypatch, through())(original, decoded)
    assert error.item() == pytest.approx(0.01 * 0.8 * 127.5, rel=1e-5)


def test_each_picture_is_judged_alone_and_in_parts(monkeypatch, tensors):
    model = load(monkeypatch, tensors)
    a, b = waves.pictures()
    both = model(torch.cat([a, b]), torch.cat([b, a]))
    monkeypatch.setattr(pieapp, "_BATCH", 4)
    torch.testing.assert_close(both, torch.cat([model(a, b), model(b, a)]))


def test_equal_pictures_are_one_error_whatever_they_show(monkeypatch, tensors):
    model = load(monkeypatch, tensors)
    a, b = waves.pictures()
    torch.testing.assert_close(model(a, a), model(b, b))


def test_patches_are_every_27th_and_blue_comes_first():
    picture = torch.stack([torch.full((64 + 27, 64 + 53), value) for value in (-1.0, 0.0, 1.0)])
    picture[2, 27, 27] = -1
    found = _patches(picture)
    assert found.shape == (2 * 2, 3, 64, 64)
    assert found[:, :, 1, 1].tolist() == [[255, 127.5, 0]] * 4
    assert (found[:, 0] == 0).nonzero().tolist() == [[0, 27, 27], [1, 27, 0], [2, 0, 27], [3, 0, 0]]


@pytest.mark.parametrize("shape", [(1, 3, 63, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(monkeypatch, shape):
    with pytest.raises(UsageError, match=r"^PieAPP of [^\n]+$"):
        load(monkeypatch, through())(torch.zeros(shape), torch.zeros(shape))


def test_other_tensors_are_a_model_error(monkeypatch):
    with pytest.raises(ModelError, match=r"PieAPP v0\.1: conv3\.bias is missing$"):
        load(monkeypatch, {name: tensor for name, tensor in through().items() if name != "conv3.bias"})
