"""DISTS: closed forms of its two likenesses, its invariants, and a figure of another program on the same weights."""

import math

import pytest
import torch

from lab.metrics import waves
from regrain.errors import ModelError, UsageError
from regrain_lab.metrics import dists
from regrain_lab.metrics import pretrained as weights
from regrain_lab.metrics.dists import Dists, _Pool

VGG16 = waves.weights(waves.vgg16()) | {"classifier.0.weight": torch.zeros(1)}
CHANNELS = 3 + 64 + 128 + 256 + 512 + 512


def mixed(*, alpha: torch.Tensor | None = None, beta: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    none = torch.zeros(1, CHANNELS, 1, 1)
    return {"alpha": none if alpha is None else alpha, "beta": none if beta is None else beta}


def first(*channels: int) -> torch.Tensor:
    """Weight on these channels alone; the first three are the picture's own."""
    weights = torch.zeros(1, CHANNELS, 1, 1)
    weights[:, list(channels)] = 1
    return weights


@pytest.fixture
def load(monkeypatch):
    """DISTS on wave weights, with `alpha` and `beta` as named."""

    def _load(**own: torch.Tensor) -> Dists:
        for module in (dists, weights):
            monkeypatch.setattr(module, "read", lambda path: VGG16 if path == "vgg16" else mixed(**own))
        return Dists.load("vgg16", "own")

    return _load


def usual(load) -> Dists:
    shape = (1, CHANNELS, 1, 1)
    return load(alpha=1 + waves.wave(shape, 0), beta=1 + waves.wave(shape, 1))


def test_the_layout_is_the_published_one(load):
    model = load(alpha=first(0))
    assert sum(tensor.numel() for tensor in model.features.state_dict().values()) == 14_714_688
    assert model.alpha.numel() == model.beta.numel() == 1475
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_another_program_has_the_same_figure_to_1e_5(load):
    """DISTS-pytorch 0.1 in float64 on these weights and pictures: 0.032156232."""
    assert usual(load)(*waves.pictures()).item() == pytest.approx(0.032156232, rel=1e-5)


def test_it_is_a_distance_per_picture(load):
    model = usual(load)
    a, b = (batch[..., :48, :50] for batch in waves.pictures())
    both, swapped = torch.cat([a, b]), torch.cat([b, a])
    distance = model(both, swapped)
    assert distance.shape == (2,)
    assert distance.min() > 0.01
    torch.testing.assert_close(distance[0], distance[1])
    torch.testing.assert_close(model(a, b), distance[:1])
    torch.testing.assert_close(model(both, both), torch.zeros(2), rtol=0, atol=1e-6)


def test_texture_compares_means(load):
    a, b = torch.full((1, 3, 32, 40), 0.6), torch.full((1, 3, 32, 40), -0.2)
    x, y = 0.8, 0.4
    wanted = 1 - (2 * x * y + 1e-6) / (x * x + y * y + 1e-6)
    assert load(alpha=first(0))(a, b).item() == pytest.approx(wanted, rel=1e-5)


def test_structure_compares_what_varies(load):
    a = waves.wave((1, 3, 32, 40))
    half, negative = a.clone(), a.clone()
    half[:, 1] /= 2
    negative[:, 1] *= -1
    model = load(beta=first(1))
    assert model(a, a + 0.5).item() == pytest.approx(0, abs=1e-5)
    assert model(a, half).item() == pytest.approx(1 - 2 * 0.5 / 1.25, rel=1e-4)
    assert model(a, negative).item() == pytest.approx(2, rel=1e-4)


def test_only_the_proportion_of_the_weights_counts(load):
    a, b = waves.pictures()
    one, ten = load(alpha=first(0, 700), beta=first(2)), load(alpha=10 * first(0, 700), beta=10 * first(2))
    torch.testing.assert_close(one(a, b), ten(a, b))


def test_a_pool_halves_a_constant_and_hears_no_sign():
    pool = _Pool()
    flat = torch.full((1, 2, 9, 8), -3.0)
    assert pool(flat).shape == (1, 2, 5, 4)
    torch.testing.assert_close(pool(flat)[..., 1:-1, 1:], torch.full((1, 2, 3, 3), 3.0))
    assert pool(flat)[0, 0, 0, 0].item() == pytest.approx(3 * math.sqrt(9 / 16))
    rough = waves.wave((1, 2, 9, 8))
    torch.testing.assert_close(pool(-rough), pool(rough))


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(load, shape):
    with pytest.raises(UsageError, match=r"^DISTS of [^\n]+$"):
        load(alpha=first(0))(torch.zeros(shape), torch.zeros(shape))


def test_other_tensors_are_a_model_error(load):
    with pytest.raises(ModelError, match=r"^vgg16 and own are not the weights of DISTS: alpha is \(3,\)"):
        load(alpha=torch.ones(3))
