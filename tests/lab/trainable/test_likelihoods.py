"""Estimated bits are the bits of the distribution that the tables freeze."""

import numpy as np
import pytest
import torch

from regrain.entropy.coder import encode
from regrain.entropy.tables import gaussian_tables, scales
from regrain_lab.trainable.likelihoods import LIKELIHOOD_MIN, HyperPrior, gaussian_bits


@pytest.mark.parametrize("level", [10, 30, 50])
def test_gaussian_bits_are_those_of_the_frozen_table(level):
    table = gaussian_tables()[level]
    k = torch.arange(table.first, table.first + table.size, dtype=torch.float64)
    bits = gaussian_bits(k, torch.full_like(k, float(scales()[level])))
    p = 2.0**-bits
    assert float(p[bits < 15.9].sum()) == pytest.approx(1, abs=3e-3)
    common = table.counts[:-1] > 200
    assert np.abs(bits.numpy() - table.bits()[:-1])[common].max() < 0.02


def test_gaussian_bits_stay_finite_and_push_towards_zero():
    residual = torch.tensor([1e-3, 40.0, -3.0], requires_grad=True)
    scale = torch.tensor([0.11, 0.11, 1.0], requires_grad=True)
    bits = gaussian_bits(residual, scale)
    bits.sum().backward()
    assert float(bits.detach().max()) <= -np.log2(LIKELIHOOD_MIN) + 8
    assert bool(torch.isfinite(residual.grad).all() & torch.isfinite(scale.grad).all())
    assert residual.grad[2] < 0 < bits[2]


def test_hyper_prior_sums_to_one_for_every_channel_and_anchor():
    prior = HyperPrior(3, 4)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    table = prior.tabulate(127)
    assert table.shape == (3, 4, 255)
    np.testing.assert_allclose(table.sum(2), 1, atol=1e-4)
    z = torch.arange(-127.0, 128)[None, None, None].expand(1, 4, 1, -1)
    bits = prior.bits(z, torch.tensor([2]))[0, :, 0]
    likely = table[2] > 1e-4
    np.testing.assert_allclose(bits.detach().numpy()[likely], -np.log2(table[2])[likely], atol=1e-2)


@pytest.mark.parametrize("level", [0, 14, 30, 50])
@pytest.mark.parametrize("beyond", [1, 40, 500])
def test_an_escape_costs_what_the_coder_takes_for_it(level, beyond):
    table = gaussian_tables()[level]
    symbols = np.full(1000, table.size - 1 + table.first + beyond, dtype=np.int32)
    taken = 8 * len(encode([(symbols, np.full(1000, level), gaussian_tables())])) / 1000
    scale = torch.tensor(float(scales()[level]))
    assert float(gaussian_bits(torch.tensor(float(symbols[0])), scale)) == pytest.approx(taken, abs=0.2)
    assert float(gaussian_bits(torch.tensor(float(symbols[0] - beyond)), scale)) <= 16
