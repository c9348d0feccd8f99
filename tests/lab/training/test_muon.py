"""Orthogonalised momentum: singular vectors kept, singular values about 1."""

import pytest
import torch

from regrain_lab.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 72), (40, 12), (16, 16)])
def test_singular_values_come_to_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ orthogonalise(matrix) @ v.T
    values = core.diagonal()
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
    assert float((core - torch.diag(values)).abs().max()) < 1e-3


def test_kernels_move_by_the_stated_size_and_all_else_by_adam():
    kernel, bias = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 4, 3, 3), (8,)))
    reference = torch.nn.Parameter(torch.zeros(8))
    ours, adam = Muon([kernel, bias]), torch.optim.Adam([reference], betas=(0.9, 0.99))
    for group in (*ours.param_groups, *adam.param_groups):
        group["lr"] = 0.01
    kernel.grad, bias.grad = torch.randn(8, 4, 3, 3), torch.arange(8.0)
    reference.grad = bias.grad.clone()
    ours.step()
    adam.step()
    assert torch.equal(bias, reference)
    assert float(kernel.detach().square().mean().sqrt()) == pytest.approx(0.01 * 0.2, rel=0.25)


def test_kernels_of_one_size_move_as_if_each_were_alone():
    shapes = [(8, 4, 3, 3), (8, 4, 3, 3), (8, 36, 1, 1), (40, 4, 1, 1)]
    together, apart = ([torch.nn.Parameter(torch.zeros(shape)) for shape in shapes] for _ in range(2))
    optimisers = [Muon(together), *(Muon([kernel]) for kernel in apart)]
    for step in range(2):
        for number, pair in enumerate(zip(together, apart, strict=True)):
            gradient = torch.randn(shapes[number], generator=torch.Generator().manual_seed(10 * step + number))
            for kernel in pair:
                kernel.grad = gradient.clone()
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 0.01
            optimiser.step()
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other)
