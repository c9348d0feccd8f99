"""Edges are where a step is, and neither where nothing is nor in texture."""

import pytest
import torch

from regrain_lab.training.losses.edges import edge_map


@pytest.mark.parametrize("axis", [2, 3])
def test_a_step_is_an_edge_and_what_is_far_from_it_is_none(axis):
    x = torch.full((1, 3, 48, 48), -0.5)
    x.narrow(axis, 24, 24).fill_(0.5)
    edges = edge_map(x)[0, 0]
    edges = edges if axis == 2 else edges.T
    assert edges.shape == (48, 48)
    assert float(edges[22:26].min()) == pytest.approx(1, abs=0.01)
    assert not edges[:16].any()
    assert not edges[32:].any()


def test_texture_is_no_edge():
    noise = 0.3 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(edge_map(noise).mean()) < 0.05


def test_the_map_has_no_gradient():
    assert not edge_map(torch.zeros(1, 3, 16, 16, requires_grad=True)).requires_grad
