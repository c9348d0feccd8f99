"""Rounding with a straight-through gradient, and clamps that let values come back."""

import torch

from regrain_lab.trainable.quantize import clamp_inward, noisy, straight_through, straight_through_floor


def test_values_are_rounded_and_gradients_pass():
    x = torch.linspace(-3, 3, 61, requires_grad=True)
    for function, wanted in ((straight_through, x.round()), (straight_through_floor, x.floor())):
        x.grad = None
        y = function(x)
        y.sum().backward()
        torch.testing.assert_close(y, wanted)
        assert torch.equal(x.grad, torch.ones_like(x))


def test_clamp_blocks_only_gradients_that_lead_outward():
    x = torch.tensor([-2.0, -2.0, 0.5, 2.0, 2.0], requires_grad=True)
    clamp_inward(x, -1, 1).backward(torch.tensor([1.0, -1.0, 3.0, 1.0, -1.0]))
    assert x.grad.tolist() == [0.0, -1.0, 3.0, 1.0, 0.0]


def test_noise_is_uniform_over_one_bin():
    torch.manual_seed(0)
    noise = noisy(torch.zeros(100_000))
    assert float(noise.min()) >= -0.5
    assert float(noise.max()) <= 0.5
    assert abs(float(noise.var()) - 1 / 12) < 1e-3
