"""The learned log-SNR falls, is log-linear at first, and its two gradients are those of the formulas."""

import pytest
import torch

from experiments.learned_noise.monotone import Learned, MonotoneLogSnr, ScheduleLoss, continuous_bits, end_bits
from regrain.diffusion.prior import Prior, PriorConfig
from regrain.diffusion.sampler import time_grid
from regrain.diffusion.schedule import REACH, LogLinear
from regrain_lab.training.losses.prior import PriorLoss
from regrain_lab.training.recipe import LossConfig

TINY = PriorConfig(widths=(8, 8, 8), depths=(1, 1, 1), embedding=8)
TIMES = torch.linspace(0, 1, 41)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MonotoneLogSnr(free_ends=True)


@pytest.fixture
def prior():
    torch.manual_seed(0)
    prior = Prior(TINY)
    torch.nn.init.normal_(prior.leave.weight, std=0.1)
    return prior


def test_it_begins_near_the_fixed_schedule_and_ends_where_that_does(network):
    log_snr, slope = network(TIMES)
    assert torch.allclose(log_snr, LogLinear().log_snr(TIMES), atol=0.3)
    assert log_snr[[0, -1]].tolist() == pytest.approx([REACH, -REACH], abs=1e-4)
    assert torch.allclose(slope, torch.full_like(slope, -2 * REACH), rtol=0.1)


def test_it_falls_whatever_its_weights_are_and_the_slope_is_the_derivative(network):
    for parameter in (network.slope, network.offset, network.weight):
        torch.nn.init.normal_(parameter, std=3.0)
    network.double()
    times = TIMES.double().requires_grad_()
    log_snr, slope = network(times)
    assert (log_snr.diff() < 0).all()
    (derivative,) = torch.autograd.grad(log_snr.sum(), times)
    assert torch.allclose(derivative, slope, rtol=1e-6)


def test_as_a_schedule_it_serves_one_time_and_many(network):
    schedule = Learned(network)
    assert schedule.log_snr(TIMES).tolist() == pytest.approx([schedule.log_snr_at(float(t)) for t in TIMES], abs=1e-4)
    assert [round(schedule.log_snr_at(t), 3) for t in time_grid(1)] == [-REACH, REACH]


def test_the_estimate_is_that_of_the_house_under_its_schedule(prior):
    x = 2 * torch.rand(4, 3, 16, 16) - 1
    torch.manual_seed(1)
    bits = PriorLoss(prior, LossConfig())(x, None)["bits"]
    torch.manual_seed(1)
    t = 1 - (torch.rand(()) + torch.arange(4) / 4) % 1
    mine, _ = continuous_bits(prior, x, LogLinear().log_snr(t), torch.full((4,), -2 * REACH))
    assert float(mine.detach().mean()) == pytest.approx(float(bits), rel=1e-5)


def test_the_gradient_inside_is_that_of_the_square_and_of_the_ends_that_of_the_bound(prior, network):
    """Against autograd through everything at once."""
    x, config = 2 * torch.rand(4, 3, 16, 16) - 1, LossConfig()
    loss = ScheduleLoss(prior, network, config)
    torch.manual_seed(2)
    loss.backward(x, precise=True)
    passed = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    torch.manual_seed(2)
    t = (torch.rand(()) + torch.arange(4) / 4) % 1
    bits, simple = continuous_bits(prior, x, *network(t))
    whole = bits + config.simple_weight * simple
    inner = [network.slope, network.offset, network.weight]
    gradients = torch.autograd.grad(whole.square().mean(), inner, retain_graph=True)
    for name, gradient in zip(("slope", "offset", "weight"), gradients, strict=True):
        assert torch.allclose(passed[name], gradient, rtol=1e-3, atol=1e-7)
    bound = whole.mean() + end_bits(x, *network.ends * 10.0)
    assert torch.allclose(passed["ends"], torch.autograd.grad(bound, network.ends)[0], rtol=1e-3, atol=1e-5)


def test_ends_that_are_fixed_stay(prior):
    torch.manual_seed(0)
    network = MonotoneLogSnr(free_ends=False)
    ScheduleLoss(prior, network, LossConfig()).backward(2 * torch.rand(4, 3, 16, 16) - 1)
    assert network.ends.grad is None
    assert network.weight.grad is not None
