"""Distances between sets of features: closed forms of Gaussians and of small sets, and what leaves them as they are."""

import math

import pytest
import torch

from regrain.errors import UsageError
from regrain.evaluation import frechet as room
from regrain.evaluation.frechet import frechet, kernel


def draw(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exactly(mean: list[float], factor: list[list[float]], rows: int = 50, seed: int = 0) -> torch.Tensor:
    """Rows whose own mean is `mean` and whose own covariance is `factor` times its transpose."""
    rough = draw(rows, len(mean), seed)
    rough -= rough.mean(dim=0)
    white = rough @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(rough.T))).T
    return white @ torch.tensor(factor, dtype=torch.float64).T + torch.tensor(mean, dtype=torch.float64)


def test_frechet_of_gaussians_whose_covariances_commute():
    """|m|^2 + sum (s_i - t_i)^2, to 1e-9."""
    a = exactly([0, 0, 0], [[2, 0, 0], [0, 3, 0], [0, 0, 1]])
    b = exactly([1, -2, 0], [[1, 0, 0], [0, 5, 0], [0, 0, 1]], rows=80, seed=1)
    assert frechet(a, b) == pytest.approx(5 + 1 + 4 + 0, rel=1e-9)


def test_frechet_of_two_dimensions_has_a_closed_form():
    """tr M^(1/2) of a 2 x 2 matrix is sqrt(tr M + 2 sqrt(det M)); to 1e-9."""
    left, right = [[1.0, 0.0], [2.0, 1.5]], [[3.0, 0.0], [-1.0, 0.5]]
    first, second = (torch.tensor(f, dtype=torch.float64) for f in (left, right))
    product = (first @ first.T) @ (second @ second.T)
    root = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    wanted = float(first.square().sum() + second.square().sum()) - 2 * root
    assert frechet(exactly([0, 0], left), exactly([0, 0], right, seed=1)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(10, 40), (40, 10)])
def test_frechet_is_symmetric_and_blind_to_rotation_and_to_empty_features(rows, width):
    a, b = draw(rows, width), 0.3 + draw(rows, width, 1)
    value = frechet(a, b)
    assert value > 1
    assert frechet(b, a) == pytest.approx(value, rel=1e-9)
    turn = torch.linalg.qr(draw(width, width, 2)).Q
    assert frechet(a @ turn, b @ turn) == pytest.approx(value, rel=1e-9)
    wider = torch.nn.functional.pad(a, (0, 30)), torch.nn.functional.pad(b, (0, 30))
    assert frechet(*wider) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(10, 40), (40, 10)])
def test_equal_sets_are_at_0(rows, width):
    a = draw(rows, width).float()
    assert frechet(a, a) == pytest.approx(0, abs=1e-9 * rows * width)
    assert kernel(a, a) == pytest.approx(0, abs=1e-9)


def test_kernel_of_two_pairs_by_hand():
    """k(1, 0) = k(0, 0) = 1 and k(1, 1) = 8: (2 + 2 - 2 (8 + 1)) / 2."""
    assert kernel(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])) == pytest.approx(-7)


@pytest.mark.parametrize(("shift", "wanted"), [(0.0, 0.0), (1.0, 22.0)])
def test_kernel_is_unbiased_however_few_the_rows(shift, wanted):
    """Of x ~ N(0, 1) and y ~ N(1, 1): 3 (E x - E y)^2 + 3 (E x^2 - E y^2)^2 + (E x^3 - E y^3)^2 = 3 + 3 + 16."""
    pairs = [(draw(8, 1, 2 * seed), shift + draw(8, 1, 2 * seed + 1)) for seed in range(3000)]
    values = torch.tensor([kernel(a, b) for a, b in pairs])
    assert abs(values.mean() - wanted) < 4 * values.std() / math.sqrt(len(values))


def test_kernel_is_unbiased_where_rows_belong_together():
    """Pairs that are nearly equal, as a picture and its copy, of one distribution: the expectation is 0."""
    firsts = [draw(8, 2, seed) for seed in range(2000)]
    values = torch.tensor([kernel(a, 0.8 * a + 0.6 * draw(8, 2, 9999 + n)) for n, a in enumerate(firsts)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))


def test_kernel_is_the_same_in_parts_and_in_any_order(monkeypatch):
    a, b = draw(20, 5), draw(20, 5, 1)
    value = kernel(a, b)
    assert kernel(b.flip(0), a.flip(0)) == pytest.approx(value, rel=1e-9)
    monkeypatch.setattr(room, "_AT_ONCE", 3)
    assert kernel(a, b) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [((1, 3), (1, 3)), ((4, 3), (4, 2)), ((4,), (4,)), ((0, 3), (4, 3))])
def test_other_sets_are_refused(first, second):
    for distance in (frechet, kernel):
        with pytest.raises(UsageError, match=r"^features are [^\n]+$"):
            distance(torch.zeros(first), torch.zeros(second))


def test_rows_without_a_partner_are_refused_by_kernel_alone():
    with pytest.raises(UsageError, match="in pairs"):
        kernel(draw(4, 2), draw(5, 2))
    assert frechet(draw(4, 2), draw(5, 2)) > 0
